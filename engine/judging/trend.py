"""Where a run's losses went: falling still, rising again, off for good. Each trend holds the figures that show it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from engine.judging.evidence import Point

FEWEST_POINTS = 8
"""Of the training loss; fewer show no trend, one batch being so unlike another."""
SMALL = 0.05
"""Nats: what moves less than this changes no answer."""


@dataclass(frozen=True)
class Move:
    """A loss that went from `first` to `last`."""

    first: float
    last: float
    points: int = 1
    """How many steps each of the two is the mean of."""


@dataclass(frozen=True)
class Turn:
    """Held-out loss that was lowest at one check and rose after it."""

    best: Point
    last: Point


def overall(train: Sequence[Point]) -> Move | None:
    """Mean training loss of the first and the last tenth of the steps that were told; None where there is one step."""
    if len(train) < 2:
        return None
    count = max(1, len(train) // 10)
    return Move(_mean(train[:count]), _mean(train[-count:]), count)


def diverging(train: Sequence[Point]) -> Move | None:
    """A training loss that ends well above where it began, or far above where it had been."""
    if len(train) < FEWEST_POINTS:
        return None
    ends = overall(train)
    count = max(1, len(train) // 10)
    tenths = [train[start : start + count] for start in range(0, len(train) - count + 1, count)]
    lowest = min(map(_mean, tenths))
    if ends is None:
        return None
    if ends.last > 1.1 * ends.first + SMALL and ends.last - ends.first > 2 * _error(train[:count], train[-count:]):
        return ends
    if ends.last > 2 * lowest + 0.5 and ends.last - lowest > 2 * _error(train[-count:], train[-count:]):
        return Move(lowest, ends.last, count)
    return None


def overfitting(held: Sequence[Point]) -> Turn | None:
    """Held-out loss that ends clearly above its best: by a twentieth, or a tenth where only one check came after it.

    The checks score the same rows each time, so that chance in the choice of rows plays no part in the difference.
    """
    if len(held) < 2:
        return None
    best, last = min(held, key=lambda point: point.loss), held[-1]
    after = sum(point.step > best.step for point in held)
    rise = 1.05 if after > 1 else 1.1
    if not after or last.loss < rise * best.loss or last.loss - best.loss < SMALL:
        return None
    return Turn(best, last)


def still_falling(train: Sequence[Point], held: Sequence[Point]) -> Move | None:
    """A training loss that fell by a tenth or more towards the end, beyond its noise, with held-out loss at its lowest.

    Without checks of held-out loss the last two eighths of the steps are compared, else the last two quarters: with
    each further pass a model knows more of its rows by heart, and longer windows would reach into the pass before.
    """
    checked = len(held) > 1
    if checked and (held[-1].loss > min(point.loss for point in held) or held[-1].loss > 0.95 * held[-2].loss):
        return None
    count = len(train) // (4 if checked else 8)
    if count < FEWEST_POINTS // 2:
        return None
    former, latter = train[-2 * count : -count], train[-count:]
    fall = _mean(former) - _mean(latter)
    if fall < max(SMALL, 0.1 * _mean(former)) or fall < 2 * _error(former, latter):
        return None
    return Move(_mean(former), _mean(latter), count)


def _mean(points: Sequence[Point]) -> float:
    return statistics.fmean(point.loss for point in points)


def _error(first: Sequence[Point], last: Sequence[Point]) -> float:
    """Standard error of the difference of two means; 0 where there is but one point each."""
    parts = (first, last)
    return math.sqrt(sum(statistics.variance(p.loss for p in part) / len(part) for part in parts if len(part) > 1))
