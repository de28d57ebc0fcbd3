"""What held-out rows were answered, and how well."""

from __future__ import annotations

from dataclasses import dataclass

TEACHER = "teacher"
"""Name, among the scores before training, of those of a model that the run learns from."""
MEAN = "training mean"
"""Name, among them, of those of always answering the mean of the training rows' numbers."""
NUMBER = "number"
"""Name of what a run answers that gives numbers."""


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
    task: str = ""
    """Name of its data set, where each has labels of its own: equal names of two sets are different labels."""

    def named(self, label: str) -> str:
        """One of its labels by a name that no other data set has for another one."""
        return f"{label} ({self.task})" if self.task else label


@dataclass(frozen=True)
class Scores:
    """`metrics` are shares (0 to 1), nats or what the data is measured in; `main` names the one that counts."""

    main: str
    metrics: dict[str, float]
    rows: list[ScoredRow]
    tokens_per_second: float | None = None
    """How fast the model read the rows, where that was measured."""
