"""What a run's page is told beside its course: the figures of its result, and the verdict with its advice."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from engine.errors import UserError
from engine.events import Finished
from engine.measures import measure
from engine.runs import store
from engine.runs.outcome import outcome


def result(run: store.Run) -> dict[str, Any] | None:
    """Scores and costs of a finished run; None for another.

    measures: title and meaning of each score, by its name in the metrics.
    """
    done = next((event for event in reversed(run.last_events()) if isinstance(event, Finished)), None)
    if done is None or run.state != "finished":
        return None
    record = asdict(done)
    names = [name for name in done.metrics.get("after") or {} if not name.endswith(("_low", "_high"))]
    record["measures"] = {name: asdict(measure(name)) for name in names}
    record["talks"] = _talks(run)
    return record


def _talks(run: store.Run) -> bool:
    try:
        return "answers" in run.spec().objective.gives
    except UserError:  # settings of another version; the scores can be shown all the same
        return False


def verdict(run: store.Run) -> dict[str, Any] | None:
    """What the run came to, in sentences, with rows and advice; None while it is on its way."""
    found = outcome(run)
    return found.as_dict() if found else None
