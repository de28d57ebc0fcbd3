"""Scores of answers, with intervals. Plain functions of lists; no model in sight."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from engine.intervals import wilson

RESAMPLES = 1000
SEED = 0
"""Intervals of equal scores are equal."""


def interval(name: str, values: Sequence[float]) -> dict[str, float]:
    """Mean of `values` (each 0 to 1) with its 95 % interval, as `name`, `name_low` and `name_high`.

    Percentile bootstrap over rows. Where all rows scored alike a bootstrap has no width, so the Wilson
    interval stands in its place.
    """
    scores = np.asarray(values, dtype=float)
    mean = float(scores.mean())
    if scores.min() == scores.max() and mean in (0.0, 1.0):
        low, high = wilson(mean, len(scores))
    else:
        draws = np.random.default_rng(SEED).integers(0, len(scores), (RESAMPLES, len(scores)))
        low, high = np.percentile(scores[draws].mean(axis=1), (2.5, 97.5))
    return {name: mean, f"{name}_low": float(low), f"{name}_high": float(high)}


def macro_f1(expected: Sequence[str], given: Sequence[str]) -> dict[str, float]:
    """F1 averaged over the classes that occur in `expected`, with its bootstrap interval over rows."""
    classes = sorted(set(expected))
    number = {label: index for index, label in enumerate(classes)}
    truth = np.array([number[label] for label in expected])
    guess = np.array([number.get(label, -1) for label in given])

    def score(rows: np.ndarray) -> float:
        hits = np.bincount(truth[rows][truth[rows] == guess[rows]], minlength=len(classes))
        wanted = np.bincount(truth[rows], minlength=len(classes))
        named = np.bincount(guess[rows][guess[rows] >= 0], minlength=len(classes))
        present = wanted > 0
        return float((2 * hits[present] / (wanted + named)[present]).mean())

    return _bootstrapped("macro_f1", score, len(truth))


def word_overlap(answer: str, expected: str) -> float:
    """F1 of the words of two texts, case and punctuation aside (as in SQuAD, Rajpurkar et al. 2016)."""
    given, wanted = (Counter(re.findall(r"\w+", text.casefold())) for text in (answer, expected))
    if not given or not wanted:
        return float(given == wanted)
    shared = sum((given & wanted).values())
    return 2 * shared / (given.total() + wanted.total())


def ratio(name: str, over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    """Sum of `over` by sum of `under`, one of each for a row, with its bootstrap interval over rows; 0 by 0 is 0."""
    above, below = np.asarray(over, dtype=float), np.asarray(under, dtype=float)

    def share(rows: np.ndarray) -> float:
        whole = float(below[rows].sum())
        return float(above[rows].sum()) / whole if whole else 0.0

    return _bootstrapped(name, share, len(above))


def _bootstrapped(name: str, score: Callable[[np.ndarray], float], rows: int) -> dict[str, float]:
    draws = np.random.default_rng(SEED).integers(0, rows, (RESAMPLES, rows))
    low, high = np.percentile([score(draw) for draw in draws], (2.5, 97.5))
    return {name: score(np.arange(rows)), f"{name}_low": float(low), f"{name}_high": float(high)}
