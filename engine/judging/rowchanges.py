"""Which held-out rows training changed: those that got better, those that got worse, and those that stayed wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.judging.scores import ScoredRow

MOST_TELLING = 5
"""Rows that are shown of each kind; all are counted."""
LONGEST_TEXT = 4000
"""Characters of a row's text that are passed on."""
Pair = tuple[ScoredRow, ScoredRow]
"""A row as it was answered before and after."""


@dataclass(frozen=True)
class RowChange:
    row: int
    prompt: str
    expected: str
    before: str
    after: str
    marks: dict[str, list[tuple[int, int, str]]] | None = None
    """Of marked words: those that are "expected", and those "before" and "after"."""


@dataclass(frozen=True)
class RowChanges:
    """Held-out rows by what became of them; the counts are of all, the lists hold the most telling."""

    better: list[RowChange]
    worse: list[RowChange]
    still_wrong: list[RowChange]
    counts: dict[str, int]
    """Of better, worse, still_wrong and right (before and after)."""


def row_changes(pairs: Sequence[Pair], by_loss: bool, best: float = 1.0) -> RowChanges:
    """best: the score of a row that is wholly right."""
    gained = _fall if by_loss else _gain
    better = [pair for pair in pairs if gained(pair) > 0]
    worse = [pair for pair in pairs if gained(pair) < 0]
    equal = [pair for pair in pairs if gained(pair) == 0]
    wrong = [pair for pair in equal if pair[1].score != best]
    counts = {
        "better": len(better),
        "worse": len(worse),
        "still_wrong": len(wrong),
        "right": len(equal) - len(wrong),
    }
    # A high loss after training: the model is sure of something else. A great fall: it was, and isn't any more.
    return RowChanges(_telling(better, _fall), _telling(worse, _left), _telling(wrong, _left), counts)


def _gain(pair: Pair) -> float:
    return pair[1].score - pair[0].score


def _fall(pair: Pair) -> float:
    before, after = pair
    return before.loss - after.loss if before.loss is not None and after.loss is not None else 0.0


def _left(pair: Pair) -> float:
    return pair[1].loss or 0.0


def _telling(pairs: Sequence[Pair], telling: Callable[[Pair], float]) -> list[RowChange]:
    """The most telling, of as many expected answers as there are: five times the same case tells little."""
    ordered = sorted(pairs, key=lambda pair: (-telling(pair), pair[1].row))
    firsts: dict[str, Pair] = {}
    for pair in ordered:
        firsts.setdefault(pair[1].expected, pair)
    others = [pair for pair in ordered if firsts[pair[1].expected] is not pair]
    chosen = [*firsts.values(), *others][:MOST_TELLING]
    return [
        RowChange(
            after.row,
            _brief(after.prompt),
            _brief(after.expected),
            _brief(before.answer),
            _brief(after.answer),
            _marks(before, after),
        )
        for before, after in sorted(chosen, key=lambda pair: (-telling(pair), pair[1].row))
    ]


def _marks(before: ScoredRow, after: ScoredRow) -> dict[str, list[tuple[int, int, str]]] | None:
    if before.marks is None or after.marks is None:
        return None
    return {"expected": after.marks["expected"], "before": before.marks["given"], "after": after.marks["given"]}


def _brief(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} … ({len(text):,} characters)"
