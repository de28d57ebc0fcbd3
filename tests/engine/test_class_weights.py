"""What a label counts, by how many rows it has; and that it counts so where the model learns, and nowhere else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engine.bases.models import facts
from engine.data.example import Example
from engine.errors import SettingError
from engine.events import Writer
from engine.methods import class_weights
from engine.planning.jobs import open_job, require_pair
from engine.specs.spec import RunSpec
from tests.fakes import models, runs, scripts

LEARNED = ["ham"] * 16 + ["spam"] * 4


@pytest.fixture(autouse=True)
def _unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast the machine is takes half a minute to measure, and tells nothing here."""
    from engine.compute import speed

    monkeypatch.setattr(speed, "of_machine", lambda *_, **__: None)


def spec(model: Path, scheme: str, tuner: str | dict[str, Any] = "full") -> RunSpec:
    values = runs.spec(model, "classify", "full").as_dict()
    return RunSpec.parse({**values, "objective": {"name": "classify", "class_weights": scheme}, "tuner": tuner})


def test_balanced_labels_count_alike_together_and_rows_one_on_average() -> None:
    ham, spam = class_weights.weights("balanced", ["ham", "spam"], LEARNED) or []
    assert (16 * ham, 4 * spam) == (pytest.approx(10), pytest.approx(10))


def test_the_square_root_lies_half_way() -> None:
    ham, spam = class_weights.weights("square root", ["ham", "spam"], LEARNED) or []
    assert spam / ham == pytest.approx(2)
    assert 16 * ham + 4 * spam == pytest.approx(20)


def test_a_label_without_rows_to_learn_from_stands_aside() -> None:
    assert class_weights.weights("balanced", ["eggs", "ham", "spam"], ["ham", "spam"]) == [1.0, 1.0, 1.0]


def test_without_a_scheme_there_are_no_weights() -> None:
    assert class_weights.weights("none", ["ham", "spam"], LEARNED) is None


def test_rows_to_learn_from_are_weighed_and_held_out_ones_are_not(tmp_path: Path) -> None:
    from engine.compute.report import Reporter
    from engine.compute.train import _fresh, build

    base = models.tiny_encoder(tmp_path / "base")
    losses: dict[str, list[list[float]]] = {}
    for scheme in ("none", "balanced"):
        folder = runs.folder(tmp_path / scheme.replace(" ", "-"), spec(base, scheme))
        job = open_job(folder, lambda text: None)
        with Writer(folder / "events.jsonl") as writer:
            reporter = Reporter(folder, writer)
            trainer = build(job, _fresh(job, reporter).eval(), reporter)
            for rows in (trainer.train_dataset, trainer.eval_dataset):
                batch = job.objective.batch(job, [rows[index] for index in range(len(rows))])
                losses.setdefault(scheme, []).append(job.objective.losses(job)(trainer.model, batch)[0].tolist())
    (train, held), (weighed, unweighed) = losses["none"], losses["balanced"]
    assert held == unweighed
    labels = [row.label for row in job.examples["train"]]
    counts = Counter(labels)
    assert weighed == pytest.approx(
        [loss * len(labels) / len(counts) / counts[label] for loss, label in zip(train, labels, strict=True)]
    )


def test_nearest_neighbours_are_refused_with_the_reason(tmp_path: Path) -> None:
    run = spec(models.tiny_encoder(tmp_path / "base"), "balanced", {"name": "head", "classifier": "knn"})
    with pytest.raises(SettingError, match="each with one vote, and can't let labels count by class weights"):
        require_pair(run, facts(run.model))


def test_the_plan_says_that_labels_count_differently(tmp_path: Path) -> None:
    base = models.tiny_encoder(tmp_path / "base")
    plan = open_job(runs.folder(tmp_path / "run", spec(base, "square root")), lambda text: None).plan
    assert any("Rows of rare labels count more" in reason for reason in plan.reasons)


def test_a_fitted_classifier_lets_rare_labels_count_in_its_script_too(tmp_path: Path) -> None:
    from engine.export import export
    from engine.runs import worker

    rows = [
        Example(number, split, text=f"Good {label}, number {number}", label=label)
        for number, (split, label) in enumerate(
            [("train", "night")] * 12 + [("train", "day")] * 4 + [("test", "day")] * 2, start=1
        )
    ]  # type: list[Any]
    base = models.tiny_encoder(tmp_path / "base")
    folder = runs.folder(tmp_path / "run", spec(base, "balanced", "head"), rows)
    assert worker.main(folder) == worker.FINISHED
    events = runs.events(folder)
    assert "knn" not in events[-1]["metrics"]["cross_validation"]["accuracy"]
    told = [event["text"] for event in events if event["type"] == "notice"]
    assert "Not tried: nearest neighbours, which can't let labels count by class weights." in told
    assert "A row counts there as much as its label does (class weights)." in told
    place = export(folder, "script", tmp_path / "alone")
    scripts.run(place, base)
    assert (place / "result" / "head.safetensors").read_bytes() == (folder / "model" / "head.safetensors").read_bytes()
