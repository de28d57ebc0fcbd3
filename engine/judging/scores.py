"""What held-out rows were answered, and how well."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

TEACHER = "teacher"
"""Name, among the scores before training, of those of a model that the run learns from."""
MEAN = "training mean"
"""Name, among them, of those of always answering the mean of the training rows' numbers."""
OWN_ANSWERS = "own_answers"
"""Name, among a run's metrics, of the share of rows whose answer the model wrote itself while it learned."""
NUMBER = "number"
"""Name of what a run answers that gives numbers."""


KNOWN_WORDS = "known words"
"""Name, among them, of those of giving each word the tag that it mostly had in the training rows."""


class Marked(NamedTuple):
    """A mark that a model sets in a text: its label, how sure that is, and from which character to which it goes."""

    label: str
    chance: float
    begin: int
    end: int


@dataclass(frozen=True)
class ScoredRow:
    """One held-out row, answered. `loss` in nats a token, or what the objective's loss is told in.

    score: 1 for right, 0 for wrong, or between; where lower is better (`engine.judging.measures`), how far off it is.
    """

    row: int
    prompt: str
    expected: str
    answer: str
    score: float
    loss: float | None = None
    wanted: list[str] | None = None
    """Each expected label of a row that may have several, and so `given` each that it got."""
    given: list[str] | None = None
    marks: dict[str, list[tuple[int, int, str]]] | None = None
    """Of a row whose words are marked: those "expected" and those "given", each with begin, end and label."""
    task: str = ""
    """Name of its data set, where each has labels of its own: equal names of two sets are different labels."""

    @property
    def counts(self) -> tuple[int, int, int] | None:
        """Of marked words: how many marks are right, in begin, end and label; how many are expected, how many given."""
        if self.marks is None:
            return None
        expected, given = ({tuple(mark) for mark in self.marks[side]} for side in ("expected", "given"))
        return len(expected & given), len(expected), len(given)

    def named(self, label: str) -> str:
        """One of its labels by a name that no other data set has for another one."""
        return f"{label} ({self.task})" if self.task else label


@dataclass(frozen=True)
class Scores:
    """`metrics` are shares (0 to 1), nats or what the data is measured in; `main` names the one that counts."""

    main: str
    metrics: dict[str, float]
    rows: list[ScoredRow]
    tokens_per_second: float | None = field(default=None, compare=False)
    """How fast the model read the rows, where that was measured."""
