"""Scores of answers, with intervals. Plain functions of lists; no model in sight."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from engine.judging.intervals import wilson

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


def several_f1(expected: Sequence[Sequence[str]], given: Sequence[Sequence[str]]) -> dict[str, float]:
    """Micro and macro F1 of rows that may have several labels, each with its bootstrap interval over rows.

    Micro: over all labels of all rows together. Macro: averaged over the labels that occur in `expected`.
    """
    names = {
        label: place for place, label in enumerate(sorted({label for own in (*expected, *given) for label in own}))
    }

    def marked(rows: Sequence[Sequence[str]]) -> np.ndarray:
        found = np.zeros((len(rows), len(names)), dtype=bool)
        for row, own in enumerate(rows):
            found[row, [names[label] for label in own]] = True
        return found

    truth, guess = marked(expected), marked(given)
    hits = truth & guess

    def f1(rows: np.ndarray, macro: bool) -> float:
        right, wanted, named = (part[rows].sum(axis=0) for part in (hits, truth, guess))
        if macro:
            present = wanted > 0
            return float((2 * right[present] / (wanted + named)[present]).mean()) if present.any() else 0.0
        whole = (wanted + named).sum()
        return float(2 * right.sum() / whole) if whole else 1.0

    return {
        **_bootstrapped("micro_f1", lambda rows: f1(rows, False), len(truth)),
        **_bootstrapped("macro_f1", lambda rows: f1(rows, True), len(truth)),
    }


def mark_scores(rows: Sequence[Mapping[str, Sequence[Sequence[Any]]]]) -> dict[str, float]:
    """Precision, recall and F1 of marked words, each with its bootstrap interval over rows, as those of CoNLL-2003.

    rows: of each the marks "expected" and "given". A mark is right where begin, end and label are as expected. Macro:
    F1 averaged over the labels that are expected. Where nothing is expected and nothing given, all are 1.
    """
    sides = [[{tuple(mark) for mark in row[side]} for side in ("expected", "given")] for row in rows]
    labels = sorted({mark[2] for both in sides for side in both for mark in side})
    places = {label: place for place, label in enumerate(labels)}

    def counted(each: Sequence[set[tuple[Any, ...]]]) -> np.ndarray:
        found = np.zeros((len(each), len(labels)))
        for row, marks in enumerate(each):
            for mark in marks:
                found[row, places[mark[2]]] += 1
        return found

    wanted, named = (counted([both[side] for both in sides]) for side in (0, 1))
    hits = counted([both[0] & both[1] for both in sides])

    def share(rows: np.ndarray, over: tuple[np.ndarray, ...], twice: int = 1) -> float:
        whole = sum(part[rows].sum() for part in over)
        return float(twice * hits[rows].sum() / whole) if whole else float(not (wanted[rows].sum() + named[rows].sum()))

    def macro(rows: np.ndarray) -> float:
        right, expected, given = (part[rows].sum(axis=0) for part in (hits, wanted, named))
        present = expected > 0
        return (
            float((2 * right[present] / (expected + given)[present]).mean()) if present.any() else share(rows, (named,))
        )

    def told(name: str, score: Callable[[np.ndarray], float]) -> dict[str, float]:
        found = _bootstrapped(name, score, len(sides))
        if found[f"{name}_low"] == found[f"{name}_high"] and found[name] in (0.0, 1.0):  # as in `interval`
            low, high = wilson(found[name], len(sides))
            found |= {f"{name}_low": low, f"{name}_high": high}
        return found

    return {
        **told("entity_f1", lambda rows: share(rows, (wanted, named), 2)),
        **told("entity_precision", lambda rows: share(rows, (named,))),
        **told("entity_recall", lambda rows: share(rows, (wanted,))),
        **told("entity_macro_f1", macro),
    }


def of_numbers(expected: Sequence[float], given: Sequence[float]) -> dict[str, float]:
    """Mean absolute and root mean squared error, Pearson's and Spearman's correlation, with bootstrap intervals.

    A correlation is left out where all numbers on one side are the same, or fewer than three rows tell.
    """
    wanted, found = np.asarray(expected, dtype=float), np.asarray(given, dtype=float)
    errors = found - wanted
    told = {
        **_bootstrapped("mean_absolute_error", lambda rows: float(np.abs(errors[rows]).mean()), len(errors)),
        **_bootstrapped(
            "root_mean_squared_error", lambda rows: float(np.sqrt((errors[rows] ** 2).mean())), len(errors)
        ),
    }
    if len(wanted) < 3 or np.ptp(wanted) == 0 or np.ptp(found) == 0:
        return told
    told |= _bootstrapped("pearson", lambda rows: _correlation(wanted[rows], found[rows]), len(wanted))
    return told | _bootstrapped(
        "spearman", lambda rows: _correlation(_ranks(wanted[rows]), _ranks(found[rows])), len(wanted)
    )


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's; NaN where a side does not vary."""
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / scale if scale else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    """The place of each value, from 0; equal ones share the mean of their places."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[group]


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
    # A draw in which a score is not defined tells nothing of it.
    low, high = np.nanpercentile([score(draw) for draw in draws], (2.5, 97.5))
    return {name: score(np.arange(rows)), f"{name}_low": float(low), f"{name}_high": float(high)}
