from __future__ import annotations

import pytest

from engine.compute.score import interval, macro_f1, word_overlap


def test_an_interval_holds_the_mean_and_narrows_with_more_rows() -> None:
    few, many = interval("m", [1, 0] * 10), interval("m", [1, 0] * 200)
    assert few["m_low"] < few["m"] == 0.5 < few["m_high"]
    assert many["m_high"] - many["m_low"] < (few["m_high"] - few["m_low"]) / 2


def test_equal_scores_give_equal_intervals() -> None:
    assert interval("m", [1, 0, 0, 1, 1]) == interval("m", [1, 0, 0, 1, 1])


@pytest.mark.parametrize(("value", "low", "high"), [(0.0, 0.0, 0.0311), (1.0, 0.9689, 1.0)])
def test_all_right_or_all_wrong_still_has_a_width(value: float, low: float, high: float) -> None:
    found = interval("m", [value] * 120)
    assert (found["m_low"], found["m_high"]) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))


def test_macro_f1_equals_scikit_learns() -> None:
    from sklearn.metrics import f1_score

    expected, given = list("aabbccccdd"), list("abbbcccade")
    theirs = f1_score(expected, given, labels=sorted(set(expected)), average="macro", zero_division=0)
    assert macro_f1(expected, given)["macro_f1"] == pytest.approx(theirs)


@pytest.mark.parametrize(
    ("answer", "expected", "overlap"),
    [
        ("card arrival", "card arrival", 1.0),
        ("Card arrival.", "card arrival", 1.0),
        ("card", "card arrival", 2 / 3),
        ("", "x", 0.0),
        ("", "", 1.0),
    ],
)
def test_word_overlap_leaves_case_and_punctuation_aside(answer: str, expected: str, overlap: float) -> None:
    assert word_overlap(answer, expected) == pytest.approx(overlap)
