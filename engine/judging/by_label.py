"""How a classifier does label by label on the held-out rows: precision, recall, F1, and which it takes for which.

Made from the rows that a run keeps with their answers (`engine.judging.evidence`), all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from engine.data.example import Mark
from engine.data.rows import counted
from engine.judging.intervals import wilson
from engine.judging.measures import share
from engine.judging.scores import ScoredRow

MOST_IN_GRID = 12
"""Labels up to which every pair has a cell; with more, the pairs that are mixed up most are told."""
MOST_MISTAKES = 20
MOST_LABELS = 300
"""Labels that are told singly: those with the most rows."""
NONE, OTHER_EDGES = "(no mark)", "other edges"
"""Of marked words: what is expected where nothing is, or given; and a mark that shares some words with another."""
MOST_LINES = 20
"""Labels that a terminal shows."""


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        low, high = (share(end).removesuffix(" %") for end in (self.low, self.high))
        return f"{share(self.value)} ({low} to {high})"


@dataclass(frozen=True)
class LabelScore:
    label: str
    rows: int
    """Held-out rows that have it (its support)."""
    answered: int
    """Rows that got it as their answer."""
    right: int
    precision: Rate | None
    """Of the rows that got it, those that have it; None where it was never answered."""
    recall: Rate | None
    """Of the rows that have it, those that got it; None where no row has it."""
    f1: Rate


@dataclass(frozen=True)
class Mistake:
    """`rows` of the `of` rows with the label `expected` got `answer`."""

    expected: str
    answer: str
    rows: int
    of: int


@dataclass(frozen=True)
class Scoring:
    """One scoring of the held-out rows. labels: the weakest F1 first."""

    rows: int
    labels: list[LabelScore]
    grid: list[list[int]]
    """Rows by expected label (down) and answer (across), in the order of `ByLabel.labels`; empty if too many.

    Of rows with several labels none is taken for another one, so that there are neither a grid nor mistakes.
    """
    mistakes: list[Mistake]
    """The most frequent first."""
    mistaken: int
    """How many different mistakes there are."""
    several: bool = False
    """Whether a row may have several labels."""
    marks: int | None = None
    """Of marked words how many are expected; labels are counted by these then, and not by rows. A mistake is a mark
    that got another label or other edges, was not set, or was set where none is expected."""


@dataclass(frozen=True)
class ByLabel:
    labels: list[str]
    """In alphabetical order."""
    left_out: int
    """Labels with fewer rows that are not told singly."""
    before: Scoring | None
    after: Scoring

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """The scoring after training, for a terminal."""
        shown = self.after.labels[:MOST_LINES]
        table = [
            ("label", "rows" if self.after.marks is None else "marks", "precision", "recall", "F1"),
            *(
                (_brief(one.label), f"{one.rows:,}", _told(one.precision), _told(one.recall), str(one.f1))
                for one in shown
            ),
        ]
        widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
        rows = counted(self.after.rows, "held-out row", "held-out rows")
        marks = self.after.marks
        over = rows if marks is None else f"{counted(marks, 'mark', 'marks')} of {rows}"
        told = [f"Label by label, on {over} (95 % intervals):"]
        told += [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
        rest = len(self.after.labels) - len(shown) + self.left_out
        told += [f"  and {counted(rest, 'label', 'labels')} more; --json tells them."] if rest else []
        unit = "rows" if marks is None else "marks"
        return told + [
            f"  {one.rows:,} of {one.of:,} {unit} of {_brief(one.expected)!r} were taken for {_brief(one.answer)!r}."
            if unit == "rows"
            else f"  {one.rows:,} of {one.of:,}: expected {_brief(one.expected)}, got {_brief(one.answer)}."
            for one in self.after.mistakes[:MOST_LINES]
        ]


def by_label(before: Sequence[ScoredRow], after: Sequence[ScoredRow]) -> ByLabel | None:
    """None where no row was answered after training."""
    if not after:
        return None
    if after[0].marks is not None:
        return _of_marks(before, after)
    before, after = _told_apart(before, after)
    wanted = Counter(label for row in after for label in _wanted(row))
    every = wanted.keys() | {label for row in (*before, *after) for label in (*_wanted(row), *_given(row))}
    labels = sorted(sorted(every, key=lambda label: (-wanted[label], label))[:MOST_LABELS])
    return ByLabel(
        labels, len(every) - len(labels), _scoring(before, labels) if before else None, _scoring(after, labels)
    )


def _told_apart(*sides: Sequence[ScoredRow]) -> list[Sequence[ScoredRow]]:
    """The rows with the data set's name behind labels that several sets have, where these are different labels."""
    sets: dict[str, set[str]] = {}
    for row in (row for rows in sides for row in rows):
        for label in (*_wanted(row), *_given(row)):
            sets.setdefault(label, set()).add(row.task)
    twice = {label for label, own in sets.items() if len(own) > 1}
    if not twice:
        return list(sides)

    def named(row: ScoredRow) -> ScoredRow:
        def of(label: str) -> str:
            return row.named(label) if label in twice else label

        if row.wanted is not None:
            return replace(row, wanted=list(map(of, _wanted(row))), given=list(map(of, _given(row))))
        return replace(row, expected=of(row.expected), answer=of(row.answer))

    return [[named(row) for row in rows] for rows in sides]


def _scoring(rows: Sequence[ScoredRow], labels: Sequence[str]) -> Scoring:
    several = any(row.wanted is not None for row in rows)
    expected, answered = (Counter(label for row in rows for label in side(row)) for side in (_wanted, _given))
    pairs = Counter((label, label) for row in rows for label in set(_wanted(row)) & set(_given(row)))
    if not several:
        pairs = Counter((row.expected, row.answer) for row in rows)
    found = [_score(label, expected[label], answered[label], pairs[label, label]) for label in labels]
    wrong = sorted((pair for pair in pairs if pair[0] != pair[1]), key=lambda pair: (-pairs[pair], pair))
    whole = not several and len(expected | answered) <= len(labels) <= MOST_IN_GRID
    return Scoring(
        rows=len(rows),
        labels=sorted(found, key=lambda one: (one.f1.value, one.label)),
        grid=[[pairs[label, answer] for answer in labels] for label in labels] if whole else [],
        mistakes=[Mistake(*pair, pairs[pair], expected[pair[0]]) for pair in wrong[:MOST_MISTAKES]],
        mistaken=len(wrong),
        several=several,
    )


def _of_marks(before: Sequence[ScoredRow], after: Sequence[ScoredRow]) -> ByLabel:
    """Of marked words: each mark counts, not each row."""
    wanted = Counter(label for row in after for _, _, label in _side(row, "expected"))
    every = wanted.keys() | {label for row in (*before, *after) for _, _, label in _side(row, "given")}
    labels = sorted(sorted(every, key=lambda label: (-wanted[label], label))[:MOST_LABELS])
    return ByLabel(
        labels,
        len(every) - len(labels),
        _scoring_of_marks(before, labels) if before else None,
        _scoring_of_marks(after, labels),
    )


def _scoring_of_marks(rows: Sequence[ScoredRow], labels: Sequence[str]) -> Scoring:
    expected, given = (Counter(mark[2] for row in rows for mark in _side(row, side)) for side in ("expected", "given"))
    right = Counter(mark[2] for row in rows for mark in set(_side(row, "expected")) & set(_side(row, "given")))
    found = [_score(label, expected[label], given[label], right[label]) for label in labels]
    wrong = Counter(pair for row in rows for pair in _mistaken(row))
    ordered = sorted(wrong, key=lambda pair: (-wrong[pair], pair))
    of = expected | {NONE: given.total()}
    return Scoring(
        rows=len(rows),
        labels=sorted(found, key=lambda one: (one.f1.value, one.label)),
        grid=[],
        mistakes=[Mistake(*pair, wrong[pair], of[pair[0]]) for pair in ordered[:MOST_MISTAKES]],
        mistaken=len(wrong),
        marks=expected.total(),
    )


def _mistaken(row: ScoredRow) -> Iterator[tuple[str, str]]:
    """What was expected and what was given in its place, for each mark that is wrong."""
    expected, given = _side(row, "expected"), _side(row, "given")
    for begin, end, label in expected:
        over = [other for other in given if other[0] < end and begin < other[1]]
        if (begin, end, label) in over:
            continue
        same = next((other for other in over if other[:2] == (begin, end)), None)
        if same is not None:
            yield label, same[2]
        elif any(other[2] == label for other in over):
            yield label, f"{label}, {OTHER_EDGES}"
        else:
            yield label, f"{over[0][2]}, {OTHER_EDGES}" if over else NONE
    for begin, end, label in given:
        if not any(other[0] < end and begin < other[1] for other in expected):
            yield NONE, label


def _side(row: ScoredRow, side: str) -> list[Mark]:
    return [(begin, end, label) for begin, end, label in (row.marks or {}).get(side, [])]


def _wanted(row: ScoredRow) -> Sequence[str]:
    return [row.expected] if row.wanted is None else row.wanted


def _given(row: ScoredRow) -> Sequence[str]:
    return [row.answer] if row.given is None else row.given


def _score(label: str, rows: int, answered: int, right: int) -> LabelScore:
    return LabelScore(
        label, rows, answered, right, _rate(right, answered), _rate(right, rows), _f1(right, rows + answered - right)
    )


def _rate(hits: int, of: int) -> Rate | None:
    return Rate(hits / of, *wilson(hits / of, of)) if of else None


def _f1(right: int, concerned: int) -> Rate:
    """F1 with its interval. concerned: rows that have the label, or got it, or both.

    The right share of these is a share like any other, with Wilson's interval; F1 rises with it and with nothing else
    (F1 = 2s / (1 + s)), so that the interval's ends become those of F1.
    """
    found = _rate(right, concerned) or Rate(0.0, 0.0, 1.0)
    return Rate(*(2 * value / (1 + value) for value in (found.value, found.low, found.high)))


def _told(rate: Rate | None) -> str:
    return "–" if rate is None else str(rate)


def _brief(label: str, most: int = 40) -> str:
    line = " ".join(label.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
