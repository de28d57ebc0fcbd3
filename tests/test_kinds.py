"""Classifiers that give a text several labels, or a number: runs from data to result, script, card and page."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import kinds
from engine.bases.models import facts
from engine.compute.score import of_numbers, several_f1
from engine.data.example import Example, SplitName
from engine.data.scale import Scale
from engine.errors import DataError, SettingError
from engine.export import export
from engine.judging.evidence import gather
from engine.methods import class_weights
from engine.planning.jobs import open_job, require_pair
from engine.runs.outcome import _judged
from engine.runs.worker import main as work
from engine.scripts import snippets
from engine.specs.spec import RunSpec
from tests.fakes import models, runs, scripts
from ui.screens import run as run_screen

MADE = {"encoder": models.tiny_encoder, "decoder": models.tiny_decoder}
WORDS = ["card", "fee", "rate"]


@pytest.fixture(autouse=True)
def _unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast the machine is takes half a minute to measure, and tells nothing here."""
    from engine.compute import speed

    monkeypatch.setattr(speed, "of_machine", lambda *_, **__: None)


def rows(kind: str) -> list[Example]:
    splits: list[SplitName] = ["train"] * 40 + ["validation"] * 12 + ["test"] * 12
    drawn = random.Random(1)
    found = []
    for number, split in enumerate(splits, start=1):
        own = [word for word in WORDS if drawn.random() < 0.5]
        text = f"It is about {' '.join(own) or 'nothing'}."
        if kind == "number":
            value = 100.0 * len(own) + 7
            found.append(Example(number, split, text=text, label=f"{value:g}", number=value))
        else:
            found.append(Example(number, split, text=text, label=", ".join(own), labels=own))
    return found


def spec(base: Path, kind: str, tuner: str = "full", **objective: Any) -> RunSpec:
    given = {"name": "classify", "kind": kind, **objective}
    return runs.spec(base, given, tuner, max_steps=40, batch_size=8)


def trained(place: Path, base: Path, kind: str, **objective: Any) -> Path:
    folder = runs.folder(place, spec(base, kind, **objective), rows(kind))
    assert work(folder) == 0, runs.events(folder)[-1]
    return folder


def script_and_run_agree(folder: Path, base: Path, place: Path) -> None:
    alone = export(folder, "script", place)
    theirs = [float(loss) for loss in re.findall(r"loss ([\d.]+)", scripts.run(alone, base))]
    ours = [e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]
    assert [theirs[0], theirs[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)


def card_scores(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the code of the model card prints."""
    kept = json.loads((folder / "model" / "classifier.json").read_text(encoding="utf-8"))
    source = snippets.Source(str(folder / "model"), "whole", "", on_hub=False)
    code = snippets.classify(source, kept, 64, kinds.of_result(kept).asked(kept))
    text = f"{code.load}\n{code.ask}".replace("from huggingface_hub import hf_hub_download", "import os.path")
    capsys.readouterr()
    exec(text.replace("hf_hub_download", "os.path.join"), {})
    return capsys.readouterr().out.strip().splitlines()[-1]


# Several labels


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("base", MADE)
def test_several_labels_are_learned_told_and_repeated_by_script_and_card(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine.compute.result import open_result

    model = MADE[base](tmp_path / "base")
    folder = trained(tmp_path / "run", model, "several labels", class_weights="balanced")
    events = runs.events(folder)
    notices = [event["text"] for event in events if event["type"] == "notice"]
    assert any(text.startswith("Each text gets every label whose chance is high enough") for text in notices)
    assert any("highest micro F1 on 12 validation rows" in text for text in notices)
    after, before = (events[-1]["metrics"][when] for when in ("after", "before"))
    assert {"label_overlap", "micro_f1", "micro_f1_low", "macro_f1", "exact_labels", "exact_labels_high"} <= set(after)
    assert after["loss"] < before["loss"]
    kept = json.loads((folder / "model" / "classifier.json").read_text(encoding="utf-8"))
    assert (kept["kind"], kept["labels"], kept["threshold_rows"]) == ("several labels", WORDS, 12)
    lines = "\n".join(_judged(folder, "finished", ()).lines())
    assert "abel overlap (F1)" in lines and "Label by label, on 12 held-out rows" in lines and "taken for" not in lines
    script_and_run_agree(folder, model, tmp_path / "alone")

    job, reloaded = open_result(folder)
    found = job.objective.chances(job, reloaded, Example(1, text="Write a text here."))
    said = kinds.said(folder / "model", found)
    assert said.given == [label for label, chance in found if chance >= kept["threshold"]]
    if base == "encoder":
        assert card_scores(folder, capsys) == repr([label for label in WORDS if label in said.given])


def test_a_rows_loss_is_that_of_transformers_for_several_labels(tmp_path: Path) -> None:
    import torch

    job = open_job(runs.folder(tmp_path / "run", spec(models.tiny_encoder(tmp_path / "base"), "several labels")), str)
    model = job.objective.load(job).eval()
    made = [job.objective.row(job, e, c) for e, c in zip(job.examples["train"], job.encoded["train"], strict=True)]
    batch = job.objective.batch(job, made)
    losses, places = job.objective.losses(job)(model, batch)
    logits = model(batch["input_ids"], batch["attention_mask"])
    theirs = torch.nn.BCEWithLogitsLoss()(logits, batch["wanted"])  # as transformers' multi_label_classification
    assert losses.mean().item() == pytest.approx(theirs.item(), rel=1e-6) and len(places) == len(made)
    assert batch["labels"].shape == (8,) and batch["wanted"].sum() == sum(
        len(e.labels or []) for e in job.examples["train"]
    )


def test_having_a_label_counts_as_much_as_not_having_it() -> None:
    learned = [["a", "b"], ["b"], ["b"], []]
    assert class_weights.of_each("balanced", ["a", "b", "c"], learned) == [3.0, pytest.approx(1 / 3), 1.0]
    assert class_weights.of_each("square root", ["a"], learned) == [pytest.approx(3**0.5)]
    assert class_weights.of_each("none", ["a"], learned) is None


def test_the_threshold_is_that_of_the_highest_micro_f1_and_the_one_nearest_to_a_half() -> None:
    from engine.compute.several import best_threshold

    wanted = np.array([[True, False], [True, True], [False, False]])
    assert best_threshold(np.array([[0.3, 0.1], [0.25, 0.225], [0.1, 0.2]]), wanted) == pytest.approx(0.22)
    assert best_threshold(np.array([[0.9, 0.1], [0.8, 0.7], [0.1, 0.2]]), wanted) == pytest.approx(0.5)


def test_a_threshold_can_be_said_and_is_refused_where_it_does_nothing(tmp_path: Path) -> None:
    base = models.tiny_encoder(tmp_path / "base")
    folder = trained(tmp_path / "run", base, "several labels", threshold=0.9)
    kept = json.loads((folder / "model" / "classifier.json").read_text(encoding="utf-8"))
    assert (kept["threshold"], kept["threshold_rows"]) == (0.9, 0)
    with pytest.raises(SettingError, match="does nothing where a text gets one label"):
        open_job(runs.folder(tmp_path / "other", spec(base, "one label", threshold=0.9)), str)


def test_micro_and_macro_f1_count_rows_with_several_labels() -> None:
    found = several_f1([["a", "b"], ["a"], []], [["a"], ["a"], ["b"]])
    assert found["micro_f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert found["macro_f1"] == pytest.approx((1.0 + 0.0) / 2)
    assert found["micro_f1_low"] <= found["micro_f1"] <= found["micro_f1_high"]


# Numbers


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("base", MADE)
def test_numbers_are_learned_told_and_repeated_by_script_and_card(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine.compute.result import open_result

    model = MADE[base](tmp_path / "base")
    folder = trained(tmp_path / "run", model, "number")
    learned, held = ([row.number or 0.0 for row in rows("number") if row.split == part] for part in ("train", "test"))
    mean_error = np.abs(np.array(held) - np.mean(learned)).mean()
    metrics = runs.events(folder)[-1]["metrics"]
    after, mean = metrics["after"], metrics["baselines"]["training mean"]
    assert {"mean_absolute_error", "root_mean_squared_error_low", "pearson", "spearman_high", "loss"} <= set(after)
    assert "pearson" not in mean and mean["mean_absolute_error"] == pytest.approx(mean_error)
    found = gather(folder, "finished")
    assert (found.main, found.loss_unit) == ("mean_absolute_error", "squared deviations a row")
    outcome = _judged(folder, "finished", ())
    if base == "encoder":  # the tiny decoder reads these words too late to learn what they are worth
        assert outcome.verdict.kinds[0] == "better" and "Mean absolute error fell from" in outcome.verdict.headline
        assert after["mean_absolute_error"] < mean["mean_absolute_error"]
    assert outcome.by_label is None
    assert any(text.startswith("To say the mean of the training rows each time") for text in outcome.verdict.sentences)
    kept = json.loads((folder / "model" / "classifier.json").read_text(encoding="utf-8"))
    assert (kept["kind"], kept["mean"]) == ("number", pytest.approx(np.mean(learned)))
    script_and_run_agree(folder, model, tmp_path / "alone")

    job, reloaded = open_result(folder)
    said = kinds.said(folder / "model", job.objective.chances(job, reloaded, Example(1, text="Write a text here.")))
    assert said.number is not None and 0 < said.number < 350
    if base == "encoder":
        assert float(card_scores(folder, capsys)) == pytest.approx(said.number, rel=1e-4)


def test_numbers_are_standardised_by_the_rows_to_learn_from_and_undone() -> None:
    scale = Scale.of([1.0, 3.0, 5.0])
    assert scale.standard(3.0) == 0 and scale.undone(scale.standard(7.25)) == pytest.approx(7.25)
    with pytest.raises(DataError, match="All 2 rows to learn from have the number 4"):
        Scale.of([4.0, 4.0])


def test_correlations_and_errors_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    wanted, given = [1.0, 2.0, 2.0, 5.0, 4.0], [1.5, 1.0, 2.5, 4.0, 4.0]
    found = of_numbers(wanted, given)
    assert found["pearson"] == pytest.approx(stats.pearsonr(wanted, given)[0])
    assert found["spearman"] == pytest.approx(stats.spearmanr(wanted, given)[0])
    assert found["mean_absolute_error"] == pytest.approx(0.6)
    assert found["root_mean_squared_error"] == pytest.approx(0.7071, abs=1e-4)


def test_what_has_no_labels_can_not_be_weighed(tmp_path: Path) -> None:
    run = spec(models.tiny_encoder(tmp_path / "base"), "number", class_weights="balanced")
    with pytest.raises(SettingError, match="are for labels; a number"):
        open_job(runs.folder(tmp_path / "run", run, rows("number")), str)


@pytest.mark.parametrize("kind", ["several labels", "number"])
def test_a_fitted_classifier_is_refused_with_the_reason(kind: str, tmp_path: Path) -> None:
    run = spec(models.tiny_encoder(tmp_path / "base"), kind, "head")
    with pytest.raises(SettingError, match="fits a classifier that gives each text one label"):
        require_pair(run, facts(run.model))


# The page


def test_try_it_shows_which_labels_pass_and_numbers_as_numbers(tmp_path: Path) -> None:
    def said(kept: dict[str, Any], found: list[tuple[str, float]]) -> str:
        (tmp_path / "classifier.json").write_text(json.dumps(kept), encoding="utf-8")
        return run_screen.told(kinds.said(tmp_path, found))

    several = {"kind": "several labels", "labels": ["<b>", "late"], "threshold": 0.4, "threshold_rows": 30}
    shown = said(several, [("<b>", 0.7), ("late", 0.3)])
    assert "It gets <b>&lt;b&gt;</b>." in shown and "&lt;b&gt; ✓" in shown and "late ✓" not in shown
    assert "from a chance of 40 % on, which was chosen on 30 validation rows" in shown
    assert "It gets no label." in said(several, [("<b>", 0.2), ("late", 0.1)])
    shown = said({"kind": "number", "labels": [], "mean": 3.0, "deviation": 1.5}, [("number", 1234.567)])
    assert "<p class='ts-lead'>1,235</p>" in shown and "the mean 3 and the standard deviation 1.5" in shown
