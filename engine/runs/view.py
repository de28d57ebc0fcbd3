"""A run at a glance, for the page and the command line alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.events import Event, Failed, Finished, Progress, tail
from engine.judging.measures import measure
from engine.runs.store import Run


def summary(run: Run) -> dict[str, Any]:
    """Plain values: what a run is, how far it is, what it found, what is said of it. What isn't known is None.

    seconds: training time so far. eta_seconds: left, at the latest pace. before, after: the main score, 0 to 1.
    """
    path = run.folder / "events.jsonl"
    try:
        facts = path.stat()
        told = _told(path, run.state, facts.st_size, facts.st_mtime_ns)
    except OSError:
        told = _course([], run.state)
    said = {"id": run.id, "name": run.name, "state": run.state, "created": run.created}
    return {**said, **told, "note": run.note, "tags": list(run.tags), **asdict(run.about)}


@lru_cache(maxsize=4096)
def _told(path: Path, state: str, size: int, changed: int) -> dict[str, Any]:
    """What the events say. Pages ask each second for all runs, of which few have anything new to tell."""
    return _course(tail(path, _trained), state)


def _course(events: Sequence[Event], state: str) -> dict[str, Any]:
    steps = [event for event in events if isinstance(event, Progress)]
    trained = _trained(events)
    newest = trained[-1] if trained else None
    record: dict[str, Any] = {
        "phase": steps[-1].phase if steps else None,
        "phase_done": steps[-1].step if steps else None,
        "phase_total": steps[-1].total_steps if steps else None,
        "step": newest.step if newest else None,
        "total_steps": newest.total_steps if newest else None,
        "percent": round(100 * newest.step / newest.total_steps, 1) if newest else None,
        "seconds": newest.seconds if newest else None,
        "eta_seconds": _left(_going(steps) or trained) if state == "running" else None,
        "tokens_per_second": newest.tokens_per_second if newest else None,
        "memory_bytes": newest.memory_bytes if newest else None,
        "loss": next((event.loss for event in reversed(trained) if event.loss is not None), None),
        "main": None,
        "unit": None,
        "before": None,
        "after": None,
        "artifact_bytes": None,
        "problem": None,
        "fix": None,
    }
    last = next((event for event in reversed(events) if isinstance(event, (Finished, Failed))), None)
    if isinstance(last, Finished) and state == "finished":
        record |= _found(last)
    elif isinstance(last, Failed) and state == "failed":
        record |= {"problem": last.problem, "fix": last.fix}
    return record


def _trained(events: Sequence[Event]) -> list[Progress]:
    return [e for e in events if isinstance(e, Progress) and e.phase == "train" and e.total_steps]


def _going(steps: Sequence[Progress]) -> list[Progress]:
    """Steps of the features that are computed at the moment."""
    going = bool(steps) and steps[-1].phase == "features"
    return [event for event in steps if event.phase == "features"] if going else []


def _left(trained: Sequence[Progress]) -> float | None:
    """Seconds of training to come, at the pace of the latest steps, or of all where there are too few."""
    if not trained or not trained[-1].step:
        return None
    newest = first = trained[-1]
    for event in reversed(trained[:-1]):
        if event.step >= first.step or event.seconds >= first.seconds:
            break  # the run was taken up again here, from an earlier step
        first = event
    steps, seconds = newest.step - first.step, newest.seconds - first.seconds
    pace = seconds / steps if steps else newest.seconds / newest.step
    return round(pace * (newest.total_steps - newest.step), 1)


def _found(done: Finished) -> dict[str, Any]:
    main = done.metrics.get("main")
    before, after = done.metrics.get("before") or {}, done.metrics.get("after") or {}
    return {
        "main": main,
        "unit": measure(str(main)).unit,
        "before": before.get(main),
        "after": after.get(main),
        "seconds": done.seconds,
        "memory_bytes": done.peak_memory_bytes,
        "artifact_bytes": done.artifact_bytes,
    }
