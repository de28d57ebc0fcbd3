"""A temperature makes chances hold: found on validation rows, kept with the result, used where chances are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.data.example import Example
from engine.judging import calibration
from engine.judging.temperature import log_chances, temperature
from engine.runs.worker import main as work
from tests.fakes import models, runs


def overconfident(rows: int = 4000, factor: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `factor` times what they should be, and classes drawn by the chances as they should be."""
    random = np.random.default_rng(1)
    true = random.normal(0, 1.5, (rows, 4))
    chances = np.exp(log_chances(true))
    return true * factor, (chances.cumsum(axis=1) > random.random((rows, 1))).argmax(axis=1)


def test_the_temperature_undoes_what_made_scores_too_sure() -> None:
    scores, classes = overconfident()
    assert temperature(scores, classes) == pytest.approx(3.0, rel=0.06)


def test_it_is_that_of_the_lowest_loss() -> None:
    scores, classes = overconfident(500)
    found = temperature(scores, classes)
    losses = [
        calibration.measured(scores, classes, degree)["calibrated_loss"] for degree in (found / 1.1, found, found * 1.1)
    ]
    assert losses[1] < losses[0] and losses[1] < losses[2]


def test_few_rows_that_are_all_right_make_it_no_surer_than_they_allow() -> None:
    scores = np.tile([4.0, 0.0], (12, 1))
    found = temperature(scores, np.zeros(12, dtype=int))
    chance = np.exp(log_chances(scores, found))[0, 0]
    assert 0.9 < chance < 0.99


def test_the_error_is_the_gap_between_chance_and_share_right() -> None:
    chances, right = np.full(300, 0.9), np.arange(300) % 10 < 6
    assert calibration.error(chances, right) == pytest.approx(0.3)
    assert calibration.error(np.full(1, 0.7), np.array([True])) == pytest.approx(0.3)


def test_the_error_is_measured_group_by_group() -> None:
    # Too sure of half of the rows as much as too doubtful of the other half: on the whole that cancels out.
    chances = np.concatenate([np.full(150, 0.6), np.full(150, 0.8)])
    right = np.concatenate([np.arange(150) % 10 < 8, np.arange(150) % 10 < 6])
    assert calibration.error(chances, right) == pytest.approx(0.2, abs=0.02)


def test_a_temperature_lowers_error_and_loss_of_other_rows() -> None:
    scores, classes = overconfident()
    degree = temperature(scores[:2000], classes[:2000])
    told = calibration.measured(scores[2000:], classes[2000:], degree)
    plain = -log_chances(scores[2000:])[np.arange(2000), classes[2000:]].mean()
    assert told["calibrated_error"] < 0.05 < 0.15 < told["calibration_error"]
    assert told["calibrated_loss"] < plain - 0.3


def test_a_class_that_is_not_known_is_never_right() -> None:
    told = calibration.measured(np.array([[2.0, 0.0]] * 4), np.array([-1] * 4), 1.0)
    chance = 1 / (1 + np.exp(-2))
    assert told["calibrated_error"] == pytest.approx(chance)
    assert told["calibrated_loss"] == pytest.approx(-np.log(1 - chance))


def rows(validation: int) -> list[Example]:
    counts = {"train": 8, "validation": validation, "test": 4}
    splits = [split for split, count in counts.items() for _ in range(count)]
    texts = [("early", "Good morning"), ("late", "Good night")]
    return [
        Example(number, split, text=f"{texts[number % 2][1]}, number {number}.", label=texts[number % 2][0])  # type: ignore[arg-type]
        for number, split in enumerate(splits, start=1)
    ]


def test_a_run_keeps_its_temperature_tells_it_and_divides_by_it(tmp_path: Path) -> None:
    import torch

    from engine.compute.result import open_result

    spec = runs.spec(models.tiny_encoder(tmp_path / "base"), "classify", "full")
    folder = runs.folder(tmp_path / "run", spec, rows(validation=12))
    assert work(folder) == 0
    kept = json.loads((folder / "model" / "classifier.json").read_text(encoding="utf-8"))
    assert kept["calibrated_on"] == 12 and kept["temperature"] > 0
    events = runs.events(folder)
    assert any("Scores are divided by" in event["text"] for event in events if event["type"] == "notice")
    before, after = (events[-1]["metrics"][when] for when in ("before", "after"))
    assert "calibrated_error" not in before and before["calibration_error"] >= 0
    assert {"calibration_error", "calibrated_error", "calibrated_loss"} <= after.keys()
    assert calibration.told(folder / "model") == "Chances are calibrated on 12 validation rows."

    job, model = open_result(folder)
    assert model.temperature == pytest.approx(kept["temperature"])
    ids = torch.tensor([job.tokens.encode_text("Good night.", 64).ids])
    with torch.no_grad():
        expected = torch.softmax(model(ids, torch.ones_like(ids))[0] / kept["temperature"], dim=-1).tolist()
    assert dict(job.objective.chances(job, model, Example(1, text="Good night."))) == pytest.approx(
        dict(zip(job.labels, expected, strict=True))
    )


def test_too_few_validation_rows_are_told_and_change_nothing(tmp_path: Path) -> None:
    spec = runs.spec(models.tiny_encoder(tmp_path / "base"), "classify", "full")
    folder = runs.folder(tmp_path / "run", spec, rows(validation=0))
    assert work(folder) == 0
    assert "temperature" not in json.loads((folder / "model" / "classifier.json").read_text(encoding="utf-8"))
    notices = [event["text"] for event in runs.events(folder) if event["type"] == "notice"]
    assert any("not calibrated: 0 rows watched the training, and at least 10 are needed" in text for text in notices)
    assert "calibrated_error" not in runs.events(folder)[-1]["metrics"]["after"]
    assert calibration.told(folder / "model").startswith("Chances are not calibrated: too few rows")


def test_of_a_result_from_before_there_were_temperatures_no_reason_is_made_up(tmp_path: Path) -> None:
    (tmp_path / "classifier.json").write_text('{"labels": ["a"]}')
    assert calibration.told(tmp_path) == "Chances are not calibrated. The order of the labels holds all the same."
    assert calibration.told(tmp_path / "nowhere") == ""


def test_labels_that_a_row_can_not_have_change_nothing() -> None:
    """As where each of several data sets has labels of its own."""
    draws = np.random.default_rng(3)
    scores, classes = 4 * draws.normal(size=(40, 3)), draws.integers(0, 3, 40)
    wide = np.hstack([scores, np.full((40, 5), -np.inf)])
    assert temperature(wide, classes) == pytest.approx(temperature(scores, classes))
    unseen = np.where(np.arange(40) < 4, -1, classes)
    assert calibration.measured(wide, unseen, 2.0) == pytest.approx(calibration.measured(scores, unseen, 2.0))
