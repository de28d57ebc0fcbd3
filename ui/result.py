"""What a run's page is told beside its course: the figures of its result, and the verdict with its advice."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from engine.bases import lineage, parts
from engine.errors import UserError
from engine.events import Finished
from engine.judging.measures import measure
from engine.planning import stacking
from engine.runs import store
from engine.runs.outcome import outcome
from engine.texts import text_pairs
from ui import owner


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
    return record | _further(run, list(done.metrics.get("parts") or {}))


def _further(run: store.Run, merged: list[str]) -> dict[str, Any]:
    """What can be done with the result, and what its figures mean.

    talks: whether it answers; labels: whether it chooses a label for a text; pairs: for two texts at a time; on_top,
    goes_on: whether another run can learn on top of it, or go on with what it added; onward: settings that such a run
    has otherwise, by their dotted names; merged: names of the runs that it
    is the merge of, by their ids.
    """
    try:
        spec = run.spec()
    except UserError:  # settings of another version; the scores can be shown all the same
        return {"talks": False, "labels": False, "pairs": False, "on_top": False, "goes_on": False, "merged": None}
    try:
        left = lineage.parent(f"{lineage.PREFIX}{run.id}")
    except UserError:  # its files are not whole
        left = None
    return {
        "talks": "answers" in spec.objective.gives and not (run.folder / "model" / parts.MASKED_FILE).exists(),
        "labels": "class scores" in spec.objective.gives,
        "pairs": text_pairs.of_result(run.folder / "model"),
        # A head that began anew is there now.
        "onward": {"objective.new_head": False} if getattr(spec.objective_settings, "new_head", False) else {},
        "on_top": left is not None and stacking.on_top(left) is None,
        "goes_on": left is not None and stacking.goes_on(left) is None,
        "merged": {run_id: _name(run_id) for run_id in merged} if spec.tuner.kind == "merge" else None,
    }


def _name(run_id: str) -> str:
    try:
        return owner.own(run_id).name
    except UserError:
        return run_id


def verdict(run: store.Run) -> dict[str, Any] | None:
    """What the run came to, in sentences, with rows and advice; None while it is on its way."""
    found = outcome(run)
    return found.as_dict() if found else None
