"""What earlier runs on this machine took, against what was predicted for them."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from engine import home
from engine.events import Finished, Progress, read
from engine.files import read_json

WITHIN_CALIBRATED, WITHIN_OTHERS, WITHIN_LIKE = 1.5, 1.35, 1.2
"""The true time lies within this factor of the prediction: from the calibration alone, after other runs on this
machine, after a run of the same model, objective and tuner."""
MOST_RUNS = 30
"""Of earlier runs, the newest, that are looked at."""


def corrections(alike: Sequence[str]) -> tuple[dict[str, float], float]:
    """Measured over predicted, by part, from earlier runs here; and the factor that the prediction is then good for."""
    here = [(kind, factors) for where, kind, factors in _history() if where == alike[0]]
    same = [factors for kind, factors in here if kind == alike[1]]
    chosen, within = (same[:5], WITHIN_LIKE) if same else ([factors for _, factors in here], WITHIN_OTHERS)
    if not chosen:
        return {}, WITHIN_CALIBRATED
    names = {name for factors in chosen for name in factors}
    return {name: statistics.median(f[name] for f in chosen if name in f) for name in names}, within


def _history() -> list[tuple[str, str, dict[str, float]]]:
    """Of the newest finished runs of this home: machine, kind of run, and measured over predicted by part."""
    try:
        folders = sorted((entry.path for entry in os.scandir(home.runs()) if entry.is_dir()), reverse=True)
    except OSError:
        return []
    found = []
    for path in folders[: 4 * MOST_RUNS]:
        exit_file = Path(path) / "exit.json"
        if exit_file.exists():
            learned = _factors(Path(path), exit_file.stat().st_mtime_ns)
            found += [learned] if learned else []
        if len(found) == MOST_RUNS:
            break
    return found


@lru_cache(maxsize=500)
def _factors(run: Path, changed: int) -> tuple[str, str, dict[str, float]] | None:
    plan = read_json(run / "plan.json") or {}
    took = measured(run)
    try:
        where, kind = plan["alike"]
        raw = {part["name"]: float(part["calibrated"]) for part in plan["seconds"]}
    except (LookupError, TypeError, ValueError):
        return None
    factors = {name: took[name] / seconds for name, seconds in raw.items() if name in took and seconds > 0}
    return (where, kind, factors) if factors else None


def planned(run: Path, phase: str) -> int | None:
    """Seconds of a part as the run's plan has it; None where it was not planned."""
    path = run / "plan.json"
    try:
        return _planned(path, path.stat().st_mtime_ns).get(phase)
    except OSError:
        return None


@lru_cache(maxsize=500)
def _planned(path: Path, changed: int) -> dict[str, int]:
    parts = (read_json(path) or {}).get("seconds") or []
    return {str(part["name"]): round(part["seconds"]) for part in parts if isinstance(part, dict)}


def measured(run: Path) -> dict[str, float]:
    """Seconds by part that a finished run took, from its events. Empty where it was interrupted, or did not finish."""
    events, _ = read(run / "events.jsonl", 0)
    told = [event for event in events if isinstance(event, (Progress, Finished))]
    starts = [event for event in told if isinstance(event, Progress) and event.phase == "prepare"]
    if not told or not isinstance(told[-1], Finished) or len(starts) != 1:
        return {}
    found: dict[str, float] = {}
    for earlier, later in pairwise(told):
        name = _part(earlier, later)
        found[name] = found.get(name, 0.0) + max(0.0, later.time - earlier.time)
    return found


def _part(earlier: Progress | Finished, later: Progress | Finished) -> str:
    """Whose time lies between two events: a score's events come as its rows are done, other phases tell their start."""
    if isinstance(later, Progress) and later.step and later.phase != "load":
        return later.phase
    phase = earlier.phase if isinstance(earlier, Progress) else ""
    return "load" if phase == "prepare" else phase
