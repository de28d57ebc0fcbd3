"""Label by label: counts, rates and their intervals, held against scikit-learn and against what is known of them."""

from __future__ import annotations

import pytest

from engine.judging.by_label import MOST_IN_GRID, ByLabel, LabelScore, by_label
from engine.judging.scores import ScoredRow

PAIRS = [("cat", "cat")] * 8 + [("cat", "dog")] * 2 + [("dog", "dog")] * 5 + [("dog", "cat")] + [("owl", "cat")] * 3


def rows(pairs: list[tuple[str, str]]) -> list[ScoredRow]:
    return [
        ScoredRow(number, f"Text {number}", expected, answer, float(expected == answer))
        for number, (expected, answer) in enumerate(pairs, start=1)
    ]


def found(pairs: list[tuple[str, str]] = PAIRS, before: list[tuple[str, str]] | None = None) -> ByLabel:
    told = by_label(rows(before or []), rows(pairs))
    assert told is not None
    return told


def label(name: str) -> LabelScore:
    return next(one for one in found().after.labels if one.label == name)


def test_precision_recall_and_f1_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import precision_recall_fscore_support

    names = ["cat", "dog"]
    expected, answers = zip(*PAIRS, strict=True)
    theirs = precision_recall_fscore_support(expected, answers, labels=names, zero_division=0)
    for place, name in enumerate(names):
        ours = label(name)
        assert ours.precision and ours.recall
        given = (ours.precision.value, ours.recall.value, ours.f1.value, ours.rows)
        assert given == pytest.approx(tuple(part[place] for part in theirs))


def test_a_label_that_is_never_answered_has_no_precision() -> None:
    owl = label("owl")
    assert owl.precision is None
    assert (owl.recall, owl.f1.value) == (owl.recall, 0.0)
    assert owl.recall is not None and owl.recall.value == 0.0


def test_an_interval_of_recall_is_wilsons() -> None:
    from scipy.stats import binomtest

    recall = label("cat").recall
    theirs = binomtest(8, 10).proportion_ci(0.95, method="wilson")
    assert recall is not None
    assert (recall.low, recall.high) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_the_interval_of_f1_holds_the_true_one_95_times_in_100() -> None:
    import numpy as np

    from engine.judging.by_label import _f1

    random = np.random.default_rng(0)
    chances = [0.2, 0.05, 0.1, 0.65]  # right, wrongly answered, missed, neither
    true = 2 * 0.2 / (2 * 0.2 + 0.05 + 0.1)
    held = 0
    for right, wrong, missed, _ in random.multinomial(100, chances, size=2000):
        one = _f1(int(right), int(right + wrong + missed))
        held += one.low <= true <= one.high
    assert 0.93 < held / 2000 < 0.97


def test_an_f1_of_all_right_is_not_certain_on_few_rows() -> None:
    (one,) = found([("cat", "cat")] * 5).after.labels
    assert one.f1.value == 1.0 and one.f1.low < 0.8


def test_the_weakest_label_stands_first_and_the_grid_counts_every_row() -> None:
    told = found()
    assert [one.label for one in told.after.labels] == ["owl", "cat", "dog"]
    assert told.labels == ["cat", "dog", "owl"]
    assert told.after.grid == [[8, 2, 0], [1, 5, 0], [3, 0, 0]]


def test_mistakes_are_counted_the_most_frequent_first() -> None:
    told = found().after
    assert [(one.expected, one.answer, one.rows, one.of) for one in told.mistakes] == [
        ("owl", "cat", 3, 3),
        ("cat", "dog", 2, 10),
        ("dog", "cat", 1, 6),
    ]


def test_many_labels_have_no_grid() -> None:
    names = [f"label {number:02}" for number in range(MOST_IN_GRID + 1)]
    assert found([(name, name) for name in names]).after.grid == []
    assert len(found([(name, name) for name in names[1:]]).after.grid) == MOST_IN_GRID


def test_before_and_after_have_the_same_labels() -> None:
    told = found([("cat", "cat")], before=[("cat", "dog")])
    assert told.before is not None
    assert told.labels == ["cat", "dog"] and told.before.grid == [[0, 1], [0, 0]]


def test_beyond_some_hundred_labels_those_with_few_rows_are_left_out() -> None:
    told = found([(f"label {number}", "common") for number in range(400)] + [("common", "common")] * 3)
    assert (len(told.labels), told.left_out) == (300, 101)
    assert "common" in told.labels


def test_without_scored_rows_there_is_nothing_to_tell() -> None:
    assert by_label([], []) is None


def test_a_terminal_gets_aligned_columns() -> None:
    lines = found().lines()
    assert lines[0] == "Label by label, on 19 held-out rows (95 % intervals):"
    assert lines[1].split() == ["label", "rows", "precision", "recall", "F1"]
    assert lines[3].startswith("  cat    10    66.7 % (39.1 to 86.2)  80.0 % (49.0 to 94.3)")
    assert lines[-3] == "  3 of 3 rows of 'owl' were taken for 'cat'."
