"""Which objectives can learn from data as it stands, and what the others miss in it.

Each is tried on the first rows, by the same steps as a run's preparation, so that what is said here holds there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from engine import objectives
from engine.data import examples, targets
from engine.data.rows import RowProblem, Table, counted
from engine.errors import DataError, SettingError, UserError
from engine.method import AskedKind
from engine.methods.objective import Objective
from engine.specs.sections import Data
from engine.texts import label_words

ROWS = 1000
"""So many are looked at."""


@dataclass(frozen=True)
class Suit:
    """An objective and data. missing: why it can't learn from it, in a sentence; else empty."""

    name: str
    title: str
    how: str = ""
    """What has to be set for it, or which rows are in its way; else empty."""
    missing: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def suits(read: Table, entry: Data) -> list[Suit]:
    """All objectives in their order. Those that can learn from the data have nothing missing."""
    few = read.first(ROWS)
    tried: dict[tuple[Any, ...], Suit] = {}
    found = []
    for objective in objectives.all():
        title = objective.title.partition(" (")[0]
        kind = objective.kind(objective.Settings())
        key = (objective.wants, kind, objective.fills_slot)
        if key not in tried:
            tried[key] = _suit(few, entry, objective, kind)
        found.append(replace(tried[key], name=objective.name, title=title))
    return found


def _suit(few: Table, entry: Data, objective: Objective, asked: AskedKind) -> Suit:
    try:
        problems = _problems(few, entry, objective, asked)
    except UserError as error:
        if asked == "auto" and _learns(few, entry, objective, "number"):
            return Suit("", "", how="with the kind of answer 'number'")
        problem = error.problems[0] if isinstance(error, SettingError) else error.problem
        return Suit("", "", missing=problem)
    if not problems:
        return Suit("", "")
    among = f" of the first {ROWS:,}" if len(few.rows) == ROWS else ""
    return Suit(
        "", "", how=f"but for {counted(len(problems), 'row', 'rows')}{among}: {problems[0].problem.rstrip('.')}"
    )


def _learns(few: Table, entry: Data, objective: Objective, kind: AskedKind) -> bool:
    try:
        _problems(few, entry, objective, kind)
    except UserError:
        return False
    return True


def _problems(few: Table, entry: Data, objective: Objective, asked: AskedKind) -> list[RowProblem]:
    """Rows that are no use to it. Raises UserError where nothing can be learned from the data so."""
    if objective.wants != "labelled":
        return examples.build(few, entry, objective.wants).problems
    found = examples.answers(few, entry)
    if asked == "one label" and found.kind == "several labels":
        raise DataError(f"{found.several.rstrip('.')}, and it learns one label a row.", "")
    kind = targets.settled(asked, [found])
    built = examples.build(few, entry, "labelled", kind=kind)
    targets.reading(kind, found, built.guess).check(built.examples)
    if objective.fills_slot:
        label_words.require_one_text(built.examples)
    return built.problems
