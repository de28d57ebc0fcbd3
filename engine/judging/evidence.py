"""What a run left behind that can be judged: its losses, its scored rows, what was found in its data."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.events import Evaluation, Event, Failed, Finished, Notice, Progress, read
from engine.files import read_json
from engine.judging.scores import ScoredRow
from engine.specs.spec import RunSpec

_CUT = re.compile(r"(\d+) of (\d+) rows to learn from are longer than (\d+) tokens")
"""As `engine.planning.jobs.truncation` tells it."""
PART = "part, "
"""What the names of the scores of runs that were merged begin with."""


@dataclass(frozen=True)
class Point:
    step: int
    loss: float


@dataclass(frozen=True)
class Cut:
    """Rows to learn from that were cut at the end."""

    rows: int
    of: int
    max_tokens: int


@dataclass(frozen=True)
class Evidence:
    state: str
    spec: RunSpec
    train: list[Point]
    """Training loss, of the steps that the result came from."""
    held: list[Point]
    """Checks of the held-out loss."""
    last_step: int
    total_steps: int
    finished: Finished | None
    failed: Failed | None
    cut: Cut | None
    before: list[ScoredRow]
    after: list[ScoredRow]
    baselines: dict[str, list[ScoredRow]] = field(default_factory=dict)
    """Further scores of the untouched model, by name."""
    parts: dict[str, list[ScoredRow]] = field(default_factory=dict)
    """Scores of each run that was merged, by its id."""
    findings: list[dict[str, Any]] = field(default_factory=list)
    """Of the data's audit, as `engine.data.audit.Finding` writes them."""
    counts: dict[str, int] = field(default_factory=dict)
    """Rows by split."""
    learning_rate: float | None = None
    """The one that was used, where the run came to a plan."""

    @property
    def metrics(self) -> dict[str, Any]:
        return self.finished.metrics if self.finished else {}

    @property
    def main(self) -> str:
        return str(self.metrics.get("main") or self.spec.objective.main(self.spec.objective_settings))

    @property
    def best(self) -> Point | None:
        """The check with the lowest held-out loss, the first of equals: its weights are the result."""
        return min(self.held, key=lambda point: point.loss) if self.held else None

    @property
    def loss_unit(self) -> str:
        return self.spec.objective.loss_unit(self.spec.objective_settings)


def gather(folder: Path, state: str) -> Evidence:
    """Read a run's folder. Raises UserError where its spec can't be read; whatever else is missing is left empty."""
    events, _ = read(folder / "events.jsonl")
    train, held, last, total = _course(events)
    cuts = [found for event in events if isinstance(event, Notice) and (found := _CUT.search(event.text))]
    scores = {path.stem: _rows(path) for path in sorted((folder / "scores").glob("[!.]*.json"))}
    plan = read_json(folder / "plan.json") or {}
    rate = plan.get("learning_rate")
    return Evidence(
        state=state,
        spec=RunSpec.load(folder / "spec.yaml"),
        train=train,
        held=held,
        last_step=last,
        total_steps=total,
        finished=_newest(events, Finished) if state == "finished" else None,
        failed=_newest(events, Failed) if state == "failed" else None,
        cut=Cut(*map(int, cuts[-1].groups())) if cuts else None,
        before=scores.get("before", []),
        after=scores.get("after", []),
        baselines={name.removeprefix("before, "): rows for name, rows in scores.items() if name.startswith("before, ")},
        parts={name.removeprefix(PART): rows for name, rows in scores.items() if name.startswith(PART)},
        findings=[found for found in (read_json(folder / "data.json") or {}).get("findings", []) if found.get("count")],
        counts=_counts(folder / "examples.jsonl"),
        learning_rate=float(rate) if isinstance(rate, (int, float)) else None,
    )


def paired(before: Sequence[ScoredRow], after: Sequence[ScoredRow]) -> list[tuple[ScoredRow, ScoredRow]]:
    """Each row as it was answered before and after. A row's number alone does not do: every data entry counts anew."""
    earlier = {(row.row, row.prompt, row.expected): row for row in before}
    return [(earlier[key], row) for row in after if (key := (row.row, row.prompt, row.expected)) in earlier]


def _course(events: Sequence[Event]) -> tuple[list[Point], list[Point], int, int]:
    """Training and held-out loss by step, the last step, and how many were planned.

    A run that was taken up again makes some steps twice; what came after them the first time is no more.
    """
    train: list[Point] = []
    held: list[Point] = []
    last = total = 0
    for event in events:
        if isinstance(event, Progress) and event.phase == "train" and event.total_steps:
            last, total = event.step, event.total_steps
            _until(held, event.step)
            if event.loss is not None:
                _until(train, event.step).append(Point(event.step, event.loss))
        elif isinstance(event, Evaluation) and event.metrics.get("loss") is not None:
            last = max(last, event.step)
            _until(held, event.step).append(Point(event.step, float(event.metrics["loss"])))
    return train, held, last, total


def _until(points: list[Point], step: int) -> list[Point]:
    while points and points[-1].step >= step:
        points.pop()
    return points


def _newest(events: Sequence[Event], kind: type[Any]) -> Any:
    return next((event for event in reversed(events) if isinstance(event, kind)), None)


def _rows(path: Path) -> list[ScoredRow]:
    try:
        return [ScoredRow(**row) for row in (read_json(path) or {})["rows"]]
    except (LookupError, TypeError):
        return []


def _counts(path: Path) -> dict[str, int]:
    try:
        return _counted(path, path.stat().st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=200)
def _counted(path: Path, changed: int) -> dict[str, int]:
    with open(path, encoding="utf-8", newline="\n") as file:
        return dict(Counter(json.loads(line)["split"] for line in file))
