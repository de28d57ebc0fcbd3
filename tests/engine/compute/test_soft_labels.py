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
from engine.compute.hidden_match import hidden_distance, layer_pairs
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
        "wide": models.tiny_classifier(place / "wide", LABELS[::-1], like=place / "encoder", width=48),
        "alike": models.tiny_classifier(place / "alike", LABELS[::-1], like=place / "encoder"),
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


def test_hidden_states_are_held_against_each_other_by_their_direction() -> None:
    mine, theirs = [torch.randn(2, 5, 8) for _ in range(3)], [torch.randn(2, 4, 6) for _ in range(7)]
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    project = torch.nn.Linear(8, 6, bias=False).requires_grad_(False)
    assert layer_pairs(2, 6, "last") == [(2, 6)] and layer_pairs(2, 6, "all") == [(1, 3), (2, 6)]
    assert layer_pairs(4, 2, "all") == [(1, 1), (2, 1), (3, 2), (4, 2)]
    for which, pairs in (("last", [(2, 6)]), ("all", [(1, 3), (2, 6)])):
        by_hand = []
        for row, tokens in ((0, 4), (1, 2)):
            cosines = [
                float(torch.nn.functional.cosine_similarity(project(mine[own][row, 1 + at]), theirs[other][row, at], 0))
                for own, other in pairs
                for at in range(tokens)
            ]
            by_hand.append(1 - sum(cosines) / len(cosines))
        found = hidden_distance(mine, theirs, mask, which, project)
        assert found.tolist() == pytest.approx(by_hand, abs=1e-5)
    assert hidden_distance(theirs, [5 * one for one in theirs], mask, "all", torch.nn.Identity()).abs().max() < 1e-5


GOLDEN = {  # as tests/data/golden.json has them of other pairs
    ("lora", "wide"): [3.3041329383850098, 3.233576536178589, 2.997556686401367, 3.018807888031006],
    ("full", "alike"): [2.0122880935668945, 1.9922021627426147, 2.099299192428589, 2.085085153579712],
    ("prompt", "wide"): [3.305638313293457, 3.2346510887145996, 3.025190830230713, 3.1154749393463135],
}


@pytest.mark.parametrize(("tuner", "teacher"), sorted(GOLDEN))
def test_a_run_that_learns_hidden_states_keeps_its_contract_and_its_projection_to_itself(
    tuner: str, teacher: str, base: dict[str, Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    from engine.compute.loop import WEIGHTS_FILE
    from engine.compute.model import parameter_counts
    from engine.runs import checkpoints

    wanted = spec(base["encoder"], base[teacher], tuner, hidden_weight=2.0, hidden_layers="all")
    whole = test_matrix.keeps_its_contract(tmp_path, wanted, GOLDEN[tuner, teacher])
    job, projected = whole.job, teacher == "wide"
    newest, _ = checkpoints.newest_whole(whole.checkpoints)
    assert newest is not None and ("projection.weight" in load_file(newest / WEIGHTS_FILE)) is projected
    left = [
        file for file in (job.folder / "model").rglob("*.safetensors") for name in load_file(file) if "proj" in name
    ]
    assert not left
    assert job.objective.learning_beside(job.facts, job.objective_settings) == (32 * 48 if projected else 0)
    trained = job.tuner.trainable_parameters(job.facts, job.tuner_settings)
    head = job.objective.head_parameters(job.facts, len(job.labels))
    assert parameter_counts(whole.model)[0] >= head + (32 * 48 if projected else 0) and trained > 0
    assert not job.objective_settings.found.is_run and job.objective.beside(job.facts, job.objective_settings).each_step


def test_a_script_learns_the_same_hidden_states(base: dict[str, Path], tmp_path: Path) -> None:
    folder = runs.folder(tmp_path / "run", spec(base["encoder"], base["wide"], hidden_weight=2.0, hidden_layers="all"))
    assert work(folder) == 0
    ours = [e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]
    _, losses = alone(folder, base["encoder"])
    assert [losses[0], losses[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)
    models_told = runs.events(folder)[-1]["metrics"]["models"]
    assert all(models_told[name]["tokens_per_second"] > 0 for name in ("teacher", "before", "after"))


def test_hidden_states_of_a_run_are_those_of_its_body(base: dict[str, Path], tmp_path: Path) -> None:
    taught = test_matrix.trained(runs.folder(home.runs() / "body", runs.spec(base["decoder"], "classify", "lora")))
    save_result(taught.job, taught.model)
    wanted = spec(base["encoder"], "run:body", hidden_weight=1.0)
    trainer = test_matrix.trained(runs.folder(tmp_path / "run", wanted))
    body = trainer.losses.__closure__ is not None
    assert body and len(trainer.reporter.losses) == 4
    plain = test_matrix.trained(runs.folder(tmp_path / "plain", spec(base["encoder"], "run:body")))
    assert trainer.reporter.losses[0] > plain.reporter.losses[0]


def test_teachers_without_hidden_states_to_learn_are_refused_with_the_reason(base: dict[str, Path]) -> None:
    from engine.bases import models as model_facts
    from engine.specs.sections import Model
    from engine.teachers import label_teacher

    facts = model_facts.facts(Model(id=str(base["encoder"])))
    good = label_teacher.gather(str(base["wide"]), LABELS, lambda text: None)
    label_teacher.require_states(good, facts, base["encoder"])
    with pytest.raises(UserError, match="no hidden states that know the labels"):
        label_teacher.require_states(replace(good, fitted=True), facts, base["encoder"])
    other = label_teacher.gather(str(base["classifier"]), LABELS, lambda text: None)
    with pytest.raises(UserError, match="token by token, and the teacher") as told:
        label_teacher.require_states(other, facts, base["encoder"])
    assert "(objective.hidden_weight) to 0" in told.value.fix
