"""Classifiers over several data sets: a head for each on one model, and names before texts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import kinds
from engine.bases import lineage
from engine.bases.models import facts
from engine.compute.chat import Talk
from engine.data.example import Example
from engine.errors import ModelError, SettingError
from engine.judging.by_label import by_label
from engine.judging.scores import ScoredRow
from engine.planning.jobs import open_job, require_pair
from engine.runs.worker import main as work
from engine.scripts import snippets
from engine.specs.spec import RunSpec
from tests import test_matrix
from tests.engine.compute import test_script
from tests.fakes import models, runs

GOLDEN = {
    "encoder": [0.9664527177810669, 0.8360836505889893, 0.9116286039352417, 0.926912248134613],
    "decoder": [0.9267736673355103, 0.8629487752914429, 0.8793014287948608, 0.8871409893035889],
}


def rows(kind: str = "one label") -> list[Example]:
    """Of two sets in turn. Labels of the second are those of the first with one name in common, of another meaning."""
    found = []
    for row in runs.examples("labelled", kind):
        source = (row.row // 2) % 2
        if source and kind == "one label":
            row = replace(row, label="fee" if row.label == "transfer fee" else "card arrival")
        found.append(replace(row, source=source))
    return found


def spec(base: Path, tuner: str = "lora", **objective: Any) -> RunSpec:
    plain = runs.spec(base, {"name": "classify", "heads": "separate", **objective}, tuner).as_dict()
    data = [{"source": "/place/letters.csv"}, {"source": "/place/calls.csv", "task": "phone  calls"}]
    return RunSpec.parse({**plain, "data": data})


def test_each_set_has_its_labels_and_a_row_can_have_none_but_its_own(tmp_path: Path) -> None:
    import torch

    base = models.tiny_encoder(tmp_path / "base")
    job = open_job(runs.folder(tmp_path / "run", spec(base), rows()), str)
    assert job.labels == ["card arrival", "exchange rate", "transfer fee", "card arrival", "fee"]
    assert job.heads == [3, 2] and job.sets == ["letters.csv", "phone calls"]
    assert [job.place("card arrival", task) for task in (0, 1)] == [0, 3] and job.place("fee", 0) == -1
    model = job.objective.load(job).eval()
    made = [job.objective.row(job, e, c) for e, c in zip(job.examples["train"], job.encoded["train"], strict=True)]
    batch = job.objective.batch(job, made)
    losses, _ = job.objective.losses(job)(model, batch)
    # Each head by itself, on the shared trunk.
    pooled = model.features(batch["input_ids"], batch["attention_mask"])
    for features, loss, label, task in zip(pooled, losses, batch["labels"], batch["tasks"], strict=True):
        span = job.span(int(task))
        own = (model.head.weight @ features + model.head.bias)[span.start : span.stop]
        alone = torch.nn.functional.cross_entropy(own, label - span.start)
        torch.testing.assert_close(loss, alone)
    losses.sum().backward()
    assert model.head.weight.grad.isfinite().all()


@pytest.mark.parametrize("kind", GOLDEN)
def test_it_keeps_its_contract(kind: str, tmp_path: Path) -> None:
    base = test_matrix.MODELS[kind](tmp_path / "base")
    run = test_matrix.keeps_its_contract(tmp_path, spec(base), GOLDEN[kind], rows())
    kept = json.loads((run.job.folder / "model" / "classifier.json").read_text(encoding="utf-8"))
    assert kept["tasks"] == [
        {"name": "letters.csv", "before": "", "first": 0, "labels": 3},
        {"name": "phone calls", "before": "", "first": 3, "labels": 2},
    ]
    assert lineage.heads(run.job.folder / "model") == [3, 2]


@pytest.mark.parametrize(
    ("objective", "kind"),
    [({}, "one label"), ({"class_weights": "balanced", "prefix": True}, "one label"), ({}, "several labels")],
)
def test_the_script_learns_the_same(objective: dict[str, Any], kind: str, tmp_path: Path) -> None:
    base = models.tiny_encoder(tmp_path / "base")
    run = spec(base, "biases", kind=kind, **objective)
    before = run.before()
    folder = runs.folder(tmp_path / "run", run, [replace(row, before=before[row.source]) for row in rows(kind)])
    assert work(folder) == 0, runs.events(folder)[-1]
    _, theirs = test_script.alone(folder, base)
    ours = [event["loss"] for event in runs.events(folder) if event["type"] == "progress" and event.get("loss")]
    assert [theirs[0], theirs[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)
    after = runs.events(folder)[-1]["metrics"]["after"]
    main = runs.events(folder)[-1]["metrics"]["main"]
    assert {f"{main}, task {name}" for name in run.tasks()} <= after.keys()


# The card's code leaves closing its files to Python, as short code does.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (models.tiny_encoder, "one label"),
        (models.tiny_encoder, "several labels"),
        (models.tiny_decoder, "one label"),
    ],
)
def test_one_asks_it_as_either_set_and_so_does_the_cards_code(
    make: Callable[[Path], Path],
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = make(tmp_path / "base")
    run = spec(base, "full", kind=kind, prefix=True)
    before = run.before()
    assert before == ["letters.csv: ", "phone calls: "]
    folder = runs.folder(tmp_path / "run", run, [replace(row, before=before[row.source]) for row in rows(kind)])
    assert work(folder) == 0, runs.events(folder)[-1]
    result, talk = folder / "model", Talk()
    kept = json.loads((result / "classifier.json").read_text(encoding="utf-8"))
    source = snippets.Source(str(result), "whole", "", on_hub=False)
    code = snippets.classify(source, kept, 64, kinds.of_result(kept).asked(kept))
    assert '0: "letters.csv", 1: "phone calls"' in code.ask
    hub = SimpleNamespace(hf_hub_download=lambda repo, name: str(result / name))
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    names = [["card arrival", "exchange rate", "transfer fee"], ["card arrival", "fee"]]
    if kind == "several labels":
        names = [["card arrival", "exchange rate", "question", "transfer fee"]] * 2
    for task, own in enumerate(names):
        asked = {"run_folder": str(folder), "base": False, "text": "Write a text here.", "task": task}
        said: list[Any] = []
        talk.handle({**asked, "before": before[task]}, said.append, lambda: False)
        (found,) = said
        assert sorted(label for label, _ in found) == own
        assert kind == "several labels" or sum(chance for _, chance in found) == pytest.approx(1)
        exec(f"{code.load}\n{code.ask}".replace("task = 0", f"task = {task}"), {})
        printed = capsys.readouterr().out.strip().splitlines()[-1]
        if kind == "one label":
            assert printed == found[0][0]
        else:
            assert sorted(eval(printed)) == sorted(label for label, chance in found if chance >= kept["threshold"])


def scored(task: str, expected: str, answer: str) -> ScoredRow:
    return ScoredRow(1, "A text.", expected, answer, float(expected == answer), task=task)


def test_equal_names_of_two_sets_are_told_apart_label_by_label() -> None:
    after = [scored("letters", "other", "other"), scored("calls", "other", "spam"), scored("calls", "spam", "spam")]
    found = by_label([], after)
    assert found is not None and found.labels == ["other (calls)", "other (letters)", "spam"]
    assert {one.label: one.right for one in found.after.labels} == {"other (letters)": 1, "other (calls)": 0, "spam": 1}
    several = by_label([], [replace(row, wanted=[row.expected], given=[row.answer]) for row in after])
    assert several is not None and several.labels == found.labels
    assert by_label([], [replace(row, task="") for row in after]).labels == ["other", "spam"]  # type: ignore[union-attr]


def test_a_classifier_that_is_fitted_and_a_pupil_have_one_head(tmp_path: Path) -> None:
    base = models.tiny_encoder(tmp_path / "base")
    fitted = spec(base, "head")
    with pytest.raises(SettingError, match="heads of their own"):
        require_pair(fitted, facts(fitted.model))
    require_pair(fitted.with_data(fitted.data[:1]), facts(fitted.model))
    from engine.teachers import label_teacher

    folder = tmp_path / "teacher" / "model"
    folder.mkdir(parents=True)
    (folder / "classifier.json").write_text('{"labels": ["a", "b"], "tasks": [{"first": 0}]}', encoding="utf-8")
    parent = SimpleNamespace(id="x", result=folder, model=fitted.model, folder=tmp_path, objective="classify")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_teacher.lineage, "parent", lambda name: parent)
        with pytest.raises(ModelError, match="in a way of its own"):
            label_teacher.gather("run:x", ["a", "b"], str)


def test_with_one_data_set_nothing_is_separate(tmp_path: Path) -> None:
    base = models.tiny_encoder(tmp_path / "base")
    run = spec(base, prefix=True)
    one = run.with_data(run.data[:1])
    assert one.tasks() == [] and one.before() == [""]
    job = open_job(runs.folder(tmp_path / "run", one, runs.examples("labelled")), str)
    assert job.heads == [] and job.labels == sorted(runs.INTENTS)
    assert run.objective.unused(None) == {"heads", "prefix"} and run.objective.unused(facts(one.model), 2) == set()
