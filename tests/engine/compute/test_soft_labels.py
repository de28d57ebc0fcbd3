"""A classifier that learns what a larger one gives each label: the loss, what is read, and who can be no teacher."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import home
from engine.compute import soft_labels
from engine.compute.classifier import class_scores
from engine.compute.result import load_scores, open_result, save_result
from engine.errors import UserError
from engine.planning.jobs import open_job
from engine.runs.worker import main as work
from engine.specs.spec import RunSpec
from tests import test_matrix
from tests.engine.compute.test_script import alone
from tests.fakes import models, runs

LABELS = sorted(runs.INTENTS)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("base")
    return {
        "encoder": models.tiny_encoder(place / "encoder"),
        "decoder": models.tiny_decoder(place / "decoder"),
        "classifier": models.tiny_classifier(place / "classifier", LABELS[::-1]),
        "other": models.tiny_classifier(place / "other", ["LABEL_0", *LABELS[:2]]),
    }


def spec(student: Path, teacher: Path | str, tuner: str = "lora", **settings: Any) -> RunSpec:
    return runs.spec(student, {"name": "distill-labels", "teacher": str(teacher), **settings}, tuner)


def quiet(done: int, total: int) -> None:
    pass


def test_the_loss_is_made_of_the_teachers_labels_and_the_datas() -> None:
    mine, theirs, labels = torch.randn(5, 3), 2 * torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    batch = {"input_ids": labels, "attention_mask": labels, "labels": labels}
    alone, places = soft_labels.soft_losses(1.5, 0.3)(lambda *_: mine, batch)  # type: ignore[arg-type]
    torch.testing.assert_close(alone, torch.nn.functional.cross_entropy(mine, labels, reduction="none"))
    found, _ = soft_labels.soft_losses(1.5, 0.3)(lambda *_: mine, {**batch, "soft": theirs})  # type: ignore[arg-type]
    p, q = (theirs / 1.5).softmax(-1), (mine / 1.5).softmax(-1)
    torch.testing.assert_close(found, 0.3 * alone + 0.7 * 1.5**2 * (p * (p / q).log()).sum(-1))
    assert places.tolist() == [0, 1, 2, 3, 4]


def test_a_model_is_read_with_its_own_tokenizer_and_by_the_names_of_its_labels(
    base: dict[str, Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    job = open_job(runs.folder(tmp_path / "run", spec(base["encoder"], base["classifier"])), lambda text: None)
    job.objective.prepare(job, quiet)
    tokenizer = AutoTokenizer.from_pretrained(base["classifier"])
    model = AutoModelForSequenceClassification.from_pretrained(base["classifier"], dtype=torch.float32).eval()
    for row in job.examples["train"]:
        with torch.no_grad():
            given = model(**tokenizer(row.text, return_tensors="pt")).logits[0]
        by_name = {model.config.id2label[number]: float(given[number]) for number in range(3)}
        assert soft_labels.of(job.folder, row) == pytest.approx([by_name[label] for label in job.labels], abs=1e-4)
    assert soft_labels.of(job.folder, job.examples["test"][0]) is None
    row = job.objective.row(job, job.examples["train"][0], job.encoded["train"][0])
    assert row["soft"] == soft_labels.of(job.folder, job.examples["train"][0])


def test_rows_are_read_once(base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, asked = soft_labels.read, list[int]()

    def counted(job: Any, teacher: Any, rows: Any, report: Any) -> Any:
        asked.append(len(rows))
        return read(job, teacher, rows, report)

    monkeypatch.setattr(soft_labels, "read", counted)
    folder = runs.folder(tmp_path / "run", spec(base["encoder"], base["classifier"]))
    for _ in range(2):
        job = open_job(folder, lambda text: None)
        job.objective.prepare(job, quiet)
    assert asked == [10]


def test_a_decoder_learns_from_an_encoders_run_and_tells_the_gap(base: dict[str, Path], tmp_path: Path) -> None:
    taught = test_matrix.trained(
        runs.folder(home.runs() / "teacher-run", runs.spec(base["encoder"], "classify", "lora"))
    )
    save_result(taught.job, taught.model)
    folder = runs.folder(tmp_path / "run", spec(base["decoder"], "run:teacher-run", temperature=1.5, data_weight=0.25))
    assert work(folder) == 0
    own, model = open_result(home.runs() / "teacher-run")
    rows = [row for row in runs.examples("labelled") if row.split == "train"]
    theirs = class_scores(own, model, rows, quiet)
    kept = torch.tensor([soft_labels.of(folder, row) for row in rows])
    torch.testing.assert_close(kept, theirs, rtol=1e-4, atol=1e-5)
    scored = load_scores(folder, "before, teacher")
    assert scored is not None and [row.row for row in scored.rows] == [11, 12]
    done = runs.events(folder)[-1]
    assert done["metrics"]["models"]["teacher"]["parameters"] == taught.job.facts.parameters
    ours = [e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]
    _, losses = alone(folder, base["decoder"])
    assert [losses[0], losses[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)


def test_who_can_be_no_teacher_is_refused_with_the_reason(base: dict[str, Path], tmp_path: Path) -> None:
    chat = runs.folder(home.runs() / "chat-run", runs.spec(base["decoder"], "chat", "lora"))
    (chat / "model").mkdir()
    pairs = [replace(row, second="and this") for row in runs.examples("labelled")]
    reads = runs.folder(home.runs() / "one-text", runs.spec(base["encoder"], "classify", "lora"))
    (reads / "model").mkdir()
    (reads / "model" / "classifier.json").write_text(json.dumps({"labels": LABELS}), encoding="utf-8")
    for number, (teacher, rows, problem) in enumerate(
        (
            ("", None, "No teacher is named"),
            (base["other"], None, "it lacks 'transfer fee'; the data lacks 'LABEL_0'"),
            (base["decoder"], None, "is no classifier of texts"),
            ("run:chat-run", None, "is no classifier: its objective is chat"),
            ("run:nowhere", None, "There is no finished run"),
            ("run:one-text", pairs, "reads one text at a time; a row of the data has two texts"),
        )
    ):
        folder = runs.folder(tmp_path / f"run{number}", spec(base["encoder"], teacher), rows)
        with pytest.raises(UserError, match=problem):
            open_job(folder, lambda text: None)


def test_a_pair_of_texts_is_read_as_the_teachers_tokenizer_reads_pairs(base: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    rows = [replace(row, second="and this") for row in runs.examples("labelled")]
    job = open_job(runs.folder(tmp_path / "run", spec(base["encoder"], base["classifier"]), rows), lambda text: None)
    job.objective.prepare(job, quiet)
    tokenizer = AutoTokenizer.from_pretrained(base["classifier"])
    model = AutoModelForSequenceClassification.from_pretrained(base["classifier"], dtype=torch.float32).eval()
    row = job.examples["train"][0]
    with torch.no_grad():
        given = model(**tokenizer(row.text, row.second, return_tensors="pt")).logits[0]
    assert soft_labels.of(job.folder, row) == pytest.approx(given.flip(0).tolist(), abs=1e-4)
