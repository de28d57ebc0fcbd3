"""What a run came to, judged from its folder: the verdict, and what to try next."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.judging.advice import Advice, advise
from engine.judging.by_label import ByLabel, by_label
from engine.judging.evidence import gather
from engine.judging.verdict import JUDGED, Verdict, judge
from engine.runs.store import Run


@dataclass(frozen=True)
class Outcome:
    verdict: Verdict
    advice: list[Advice]
    by_label: ByLabel | None = None
    """Of a run that chose labels."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a page or a program."""
        labels = self.by_label.as_dict() if self.by_label else None
        return self.verdict.as_dict() | {"advice": [asdict(item) for item in self.advice], "by_label": labels}

    def lines(self) -> list[str]:
        """For a terminal."""
        told = [f"{self.verdict.headline}.", *self.verdict.sentences]
        told += self.by_label.lines() if self.by_label else []
        for item in self.advice:
            told += [f"To try next: {item.title}.", f"  {item.reason}"]
        return told


def outcome(run: Run) -> Outcome | None:
    """None while the run is on its way, and where its settings can't be read."""
    if run.state not in JUDGED:
        return None
    files = [run.folder / "events.jsonl", *sorted((run.folder / "scores").glob("*.json"))]
    try:
        return _judged(run.folder, run.state, tuple(path.stat().st_mtime_ns for path in files if path.exists()))
    except (UserError, OSError):
        return None


@lru_cache(maxsize=64)
def _judged(folder: Path, state: str, changed: tuple[int, ...]) -> Outcome:
    found = gather(folder, state)
    verdict = judge(found)
    chooses = state == "finished" and found.spec.objective.tells_labels(found.spec.objective_settings)
    return Outcome(verdict, advise(found, verdict), by_label(found.before, found.after) if chooses else None)
