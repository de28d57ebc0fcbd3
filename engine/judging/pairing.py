"""What changed between two scorings of the same rows: the mean difference, with an interval that pairs row with row.

Intervals of the two means would not do: they take the rows for different ones, and miss most real changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.judging.intervals import Z, wilson
from engine.judging.scores import ScoredRow

RESAMPLES = 2000
SEED = 0
"""Intervals of equal scores are equal."""
MANY_ROWS = 5000
"""From here on the bootstrap's interval and the normal one are the same to the digits that are shown."""
FEWEST_CHANGED = 6
"""With fewer rows that changed no paired test comes to 5 %: of five that all rose, 2 / 2⁵ is 6.25 %."""
TAIL = 0.025


@dataclass(frozen=True)
class Difference:
    """after − before, over rows. low, high: its 95 % interval. up, down: rows that rose and fell."""

    mean: float
    low: float
    high: float
    up: int
    down: int
    rows: int

    @property
    def certain(self) -> bool:
        """Whether its interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def difference(before: Sequence[float], after: Sequence[float]) -> Difference:
    """Paired difference of the scores of the same rows, in the same order.

    Scores of 0 and 1: Newcombe's interval for paired shares (Statistics in Medicine 17, 1998, method 10), which
    reaches 0 wherever McNemar's exact test (Psychometrika 12, 1947) does not exclude chance at 5 %. Other scores and
    losses: percentile bootstrap of the row-wise differences (Efron and Tibshirani, An Introduction to the Bootstrap,
    1993), which reaches 0 wherever too few rows changed.
    """
    earlier, later = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    changes = later - earlier
    rows, up, down = len(changes), int((changes > 0).sum()), int((changes < 0).sum())
    if not rows:
        return Difference(0.0, 0.0, 0.0, 0, 0, 0)
    if np.isin(np.concatenate([earlier, later]), (0.0, 1.0)).all():
        low, high = _newcombe(int((earlier * later).sum()), up, down, rows)
        chance = mcnemar(up, down) >= 2 * TAIL
    else:
        low, high = _bootstrapped(changes)
        chance = up + down < FEWEST_CHANGED
    if chance:
        low, high = min(low, 0.0), max(high, 0.0)
    return Difference(float(changes.mean()), low, high, up, down, rows)


def of_rows(before: Sequence[ScoredRow], after: Sequence[ScoredRow]) -> Difference:
    """Paired difference of the main score of the same rows, in the same order.

    It is the mean of the rows' scores; of marked words the F1 of all their marks, whose interval is a percentile
    bootstrap over rows.
    """
    if not after or any(row.counts is None for row in (*before, *after)):
        return difference([row.score for row in before], [row.score for row in after])
    sides = [np.array([row.counts for row in rows], dtype=float) for rows in (before, after)]
    changes = [later.score - earlier.score for earlier, later in zip(before, after, strict=True)]
    rows, up, down = len(changes), sum(one > 0 for one in changes), sum(one < 0 for one in changes)
    draws = np.random.default_rng(SEED).integers(0, rows, (RESAMPLES, rows))
    earlier, later = (_f1(side[draws].sum(axis=1)) for side in sides)
    low, high = map(float, np.percentile(later - earlier, (100 * TAIL, 100 - 100 * TAIL)))
    if up + down < FEWEST_CHANGED:
        low, high = min(low, 0.0), max(high, 0.0)
    return Difference(figure(after) - figure(before), low, high, up, down, rows)


def figure(rows: Sequence[ScoredRow]) -> float:
    """The main score of rows: the mean of their scores, of marked words the F1 of all their marks."""
    if any(row.counts is None for row in rows):
        return sum(row.score for row in rows) / len(rows)
    return float(_f1(np.array([row.counts for row in rows], dtype=float).sum(axis=0)))


def _f1(counts: np.ndarray) -> np.ndarray:
    """counts: (…, 3) of right, expected and given; 1 where nothing is expected and nothing given."""
    whole = counts[..., 1] + counts[..., 2]
    return np.where(whole > 0, 2 * counts[..., 0] / np.maximum(whole, 1), 1.0)


def mcnemar(up: int, down: int) -> float:
    """Exact two-sided p-value of McNemar's test: of the rows that changed, each went up or down by chance."""
    changed, more = up + down, max(up, down)
    if not changed:
        return 1.0
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, changed + 1)))])
    counts = np.arange(more, changed + 1)
    logs = factorials[changed] - factorials[counts] - factorials[changed - counts] - changed * math.log(2)
    return float(min(1.0, 2 * np.exp(logs).sum()))


def _newcombe(both: int, up: int, down: int, rows: int) -> tuple[float, float]:
    """both: rows right before and after."""
    neither = rows - both - up - down
    before, after = (both + down) / rows, (both + up) / rows
    (low_before, high_before), (low_after, high_after) = wilson(before, rows), wilson(after, rows)
    product = both * neither - up * down
    scale = math.sqrt((both + down) * (up + neither) * (both + up) * (down + neither))
    # With Newcombe's correction: a correlation that is not clearly above 0 narrows nothing.
    correlation = (max(product - rows / 2, 0.0) if product > 0 else product) / scale if scale else 0.0

    def far(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))

    mean = after - before
    return mean - far(after - low_after, high_before - before), mean + far(high_after - after, before - low_before)


def _bootstrapped(changes: np.ndarray) -> tuple[float, float]:
    if len(changes) > MANY_ROWS:
        half = Z * float(changes.std(ddof=1)) / math.sqrt(len(changes))
        return float(changes.mean()) - half, float(changes.mean()) + half
    draws = np.random.default_rng(SEED).integers(0, len(changes), (RESAMPLES, len(changes)))
    low, high = np.percentile(changes[draws].mean(axis=1), (100 * TAIL, 100 - 100 * TAIL))
    return float(low), float(high)
