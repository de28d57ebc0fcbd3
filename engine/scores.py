"""What held-out rows were answered, and how well."""

from __future__ import annotations

from dataclasses import dataclass

TEACHER = "teacher"
"""Name, among the scores before training, of those of a model that the run learns from."""


@dataclass(frozen=True)
class ScoredRow:
    """One held-out row, answered. `score` is 1 for right, 0 for wrong, or between; `loss` in nats a token."""

    row: int
    prompt: str
    expected: str
    answer: str
    score: float
    loss: float | None = None


@dataclass(frozen=True)
class Scores:
    """`metrics` are shares (0 to 1) or nats; `main` names the one that counts."""

    main: str
    metrics: dict[str, float]
    rows: list[ScoredRow]
    tokens_per_second: float | None = None
    """How fast the model read the rows, where that was measured."""
