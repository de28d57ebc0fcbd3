"""Each data set of a run learned by itself, with the same settings, rows and split: do the tasks help each other?

The runs are a chain (`engine.runs.links`) that stands beside the run on all sets: it is stopped, resumed and deleted as
such, and the run on all of them stays what it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from engine.data import mixture
from engine.errors import DataError, RunError, UserError
from engine.runs import comparison, links
from engine.runs.store import Run
from engine.specs.sections import Mixture

if TYPE_CHECKING:
    from engine.data.example import Example
    from engine.data.prepare import Prepared
    from engine.specs.spec import RunSpec


@dataclass(frozen=True)
class Single:
    """A run on one data set alone, yet to be made."""

    name: str
    """Of its data set."""
    spec: RunSpec
    rows: Prepared


def singles(run: Run) -> list[Single]:
    """What each data set's own run would be.

    Raises UserError where there are not several, where one of them can't be learned by itself, or where they are
    compared already.
    """
    from engine.data import example as examples_file

    spec = run.spec()
    if len(spec.data) < 2:
        raise RunError(f"Run {run.id} learns from one data set.", "Compare runs that learn from several.")
    if any(chain.beside == run.id for chain in links.listed(run.owner)):
        raise RunError(f"Run {run.id} is compared with each data set alone already.", "Delete these runs first.")
    rows = examples_file.load(run.folder / "examples.jsonl")
    found = []
    for source, name in enumerate(mixture.names(spec.data)):
        own = [row for row in rows if row.source == source]
        if any(map(spec.objective.answerable, own)):  # text that is read beside answers is no task of its own
            found.append(_single(replace(spec, name=run.name), source, name, own))
    return found


def could_be(run: Run) -> bool:
    """Whether a page offers it: for a run on several sets that are not compared yet."""
    try:
        several = len(run.spec().data) > 1
    except (UserError, OSError):  # settings of another version
        return False
    return several and all(chain.beside != run.id for chain in links.listed(run.owner))


def _single(whole: RunSpec, source: int, name: str, own: list[Example]) -> Single:
    from engine.bases import models
    from engine.data.prepare import Prepared
    from engine.planning import jobs

    rows = [replace(row, source=0, before="") for row in own]
    learned = [row for row in rows if row.split == "train"]
    if not learned:
        raise DataError(f"{name} has no rows to learn from by itself.", "Leave it out of the run, or hold out fewer.")
    spec = replace(whole.with_data([whole.data[source]]), name=f"{whole.name}: {name} alone", mixture=Mixture())
    answers = {(row.label, row.number, str(row.marks)) for row in learned}
    if spec.objective.wants == "labelled" and len(answers) < 2:
        raise DataError(
            f"All rows of {name} have the same answer, {learned[0].label!r}: by itself there is nothing to tell apart.",
            "Compare runs whose data sets have 2 or more labels each.",
        )
    jobs.require_pair(spec, models.facts(spec.model))
    return Single(name, spec, Prepared(rows, [], [], []))


def verdicts(runs: list[Run | None], names: list[str], whole: Run | None) -> list[dict[str, Any]]:
    """Of each data set whose two runs have finished: whether it is better learned with the others.

    runs: on each data set alone. names: of the sets. whole: the run on all of them.
    """
    found = []
    for name, run in zip(names, runs, strict=True):
        if run is None or whole is None or {run.state, whole.state} != {"finished"}:
            continue
        files = (one.folder / "events.jsonl" for one in (run, whole))
        try:
            found.append(_compared(run, whole, name, tuple(path.stat().st_mtime_ns for path in files)))
        except (UserError, OSError):
            continue
    return found


@lru_cache(maxsize=300)
def _compared(run: Run, whole: Run, name: str, changed: tuple[int, ...]) -> dict[str, Any]:
    told = comparison.compare(run, whole, ("the run on it alone", "the run on all data sets"))
    headline = {
        comparison.A: f"{name}: better by itself",
        comparison.B: f"{name}: better with the others",
    }.get(told.better, f"{name}: no difference that can be told from chance")
    if not told.difference:
        headline = f"{name}: can't be compared"
    return {
        "headline": headline,
        "sentence": told.sentence,
        "data": told.data,
        "with": whole.id,
        "without": run.id,
    }
