"""Numbers as a model learns them: how far from the mean of the training rows, in standard deviations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import DataError


@dataclass(frozen=True)
class Scale:
    mean: float
    deviation: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Scale:
        """Of the numbers to learn from. Raises DataError where they are all the same."""
        mean = math.fsum(numbers) / len(numbers)
        deviation = math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / len(numbers))
        if not math.isfinite(deviation) or deviation <= 1e-12 * max(1.0, abs(mean)):
            raise DataError(
                f"All {len(numbers):,} rows to learn from have the number {mean:g}: there is nothing to tell apart.",
                "Give rows with other numbers, too.",
            )
        return cls(mean, deviation)

    def standard(self, number: float) -> float:
        return (number - self.mean) / self.deviation

    def undone(self, standard: float) -> float:
        return standard * self.deviation + self.mean
