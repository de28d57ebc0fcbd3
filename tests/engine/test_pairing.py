"""Paired differences: known values, and that the interval means what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.judging import pairing


def test_a_published_example_comes_out_as_published() -> None:
    """Airway hyper-responsiveness of 21 patients, in Fagerland, Lydersen and Laake, Statistics in Medicine 33 (2014):
    one positive before and after, one before only, seven after only; Newcombe's interval and McNemar's exact test."""
    assert pairing._newcombe(both=1, up=1, down=7, rows=21) == pytest.approx((-0.507, -0.026), abs=5e-4)
    assert pairing.mcnemar(1, 7) == pytest.approx(18 / 256)


def test_an_interval_reaches_0_where_the_exact_test_does_not_exclude_chance() -> None:
    found = pairing.difference([1, 1] + [0] * 7 + [0] * 12, [1, 0] + [1] * 7 + [0] * 12)
    assert found.low == 0.0 and not found.certain


@pytest.mark.parametrize(("up", "down"), [(0, 0), (1, 0), (5, 0), (6, 0), (9, 2), (10, 1), (40, 40), (300, 200)])
def test_mcnemars_p_is_the_binomial_one(up: int, down: int) -> None:
    changed = up + down
    tail = sum(math.comb(changed, count) for count in range(max(up, down), changed + 1)) / 2**changed
    assert pairing.mcnemar(up, down) == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_a_handful_of_rows_is_never_certain_even_where_all_of_them_rose(rows: int) -> None:
    assert not pairing.difference([0.0] * rows, [1.0] * rows).certain
    assert not pairing.difference([2.0] * rows, [1.5] * rows).certain


def test_six_rows_that_all_rose_are() -> None:
    assert pairing.difference([0.0] * 6, [1.0] * 6).certain
    assert pairing.difference([2.0] * 6, [1.5] * 6).certain


def test_rows_that_moved_together_show_what_separate_intervals_would_hide() -> None:
    """40 of 100 before, 50 after, none lost: overlapping intervals, and yet ten rows rose and none fell."""
    found = pairing.difference([1] * 40 + [0] * 60, [1] * 50 + [0] * 50)
    assert found.certain and (found.up, found.down) == (10, 0)


def test_no_rows_have_no_difference() -> None:
    assert pairing.difference([], []) == pairing.Difference(0.0, 0.0, 0.0, 0, 0, 0)


def test_equal_scores_give_equal_intervals() -> None:
    before, after = [0.1, 0.5, 0.9] * 20, [0.2, 0.4, 0.95] * 20
    assert pairing.difference(before, after) == pairing.difference(before, after)


def test_above_many_rows_the_normal_interval_is_that_of_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    after = np.random.default_rng(1).random(3000)
    drawn = pairing.difference([0.5] * 3000, list(after))
    monkeypatch.setattr(pairing, "MANY_ROWS", 100)
    normal = pairing.difference([0.5] * 3000, list(after))
    assert (normal.low, normal.high) == pytest.approx((drawn.low, drawn.high), abs=2e-3)


@pytest.mark.parametrize("binary", [True, False])
def test_about_95_of_100_intervals_hold_the_true_difference(binary: bool) -> None:
    chance = np.random.default_rng(7)
    held = 0
    for _ in range(400):
        before = chance.random(60)
        after = before + chance.normal(0.1, 0.3, 60)
        if binary:  # right where the value passes a bar; the true difference is that of the two shares
            found = pairing.difference((before > 0.5).astype(float), (after > 0.5).astype(float))
            truth = TRUE_SHARES
        else:
            found, truth = pairing.difference(before, after), 0.1
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 400 <= 0.985


def _true_shares() -> float:
    chance = np.random.default_rng(8)
    before = chance.random(2_000_000)
    return float(((before + chance.normal(0.1, 0.3, len(before))) > 0.5).mean() - (before > 0.5).mean())


TRUE_SHARES = _true_shares()
