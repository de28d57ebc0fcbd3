"""A merge of several runs: the sum that it promises, its scores beside the runs' own, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import home, tuners
from engine.bases import models as model_facts
from engine.errors import SettingError, UserError
from engine.events import Finished, Notice, Writer, read
from engine.planning.jobs import open_job, require_pair
from engine.runs.store import Run
from engine.specs.spec import RunSpec
from tests import test_matrix
from tests.engine.compute.test_stacking import trained
from tests.fakes import models, runs

FIRST, SECOND, SUM = (f"2026010{day}-000000-aaaaaaaa" for day in (1, 2, 3))


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_decoder(tmp_path_factory.mktemp("base") / "decoder")


def merge(model: Path, objective: str = "chat", **settings: Any) -> RunSpec:
    spec = runs.spec(model, objective, "lora").as_dict()
    del spec["tuner"]
    return RunSpec.parse({**spec, "tuner": {"name": "merge", "runs": f"{FIRST} {SECOND}", **settings}})


def done(spec: RunSpec, run_id: str = SUM) -> tuple[Any, Finished, list[str]]:
    """The job of a merge that finished, its last event, its warnings."""
    from engine.compute import combine
    from engine.compute.report import Reporter

    folder = runs.folder(home.runs() / run_id, spec)
    job = open_job(folder, lambda text: None)
    with Writer(folder / "events.jsonl") as writer:
        assert combine.run(job, Reporter(folder, writer))
    events, _ = read(folder / "events.jsonl")
    last = events[-1]
    assert isinstance(last, Finished)
    return job, last, [event.text for event in events if isinstance(event, Notice) and event.level == "warning"]


def changes(folder: Path, base: Path) -> dict[str, Any]:
    """What a result adds to each weight of its base."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    plain = dict(AutoModelForCausalLM.from_pretrained(base).named_parameters())
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).merge_and_unload()
    return {name: tensor.detach() - plain[name].detach() for name, tensor in tuned.named_parameters()}


def test_the_linear_merge_is_the_weighted_sum_of_what_different_tuners_added(decoder: Path) -> None:
    import torch

    for run_id, tuner in ((FIRST, "lora"), (SECOND, "adalora")):
        trained(runs.spec(decoder, "chat", tuner, seed=len(tuner)), run_id)
    job, last, warnings = done(merge(decoder, weights="0.75 -0.5"))
    first, second = (changes(home.runs() / run_id / "model", decoder) for run_id in (FIRST, SECOND))
    found = changes(job.folder / "model", decoder)
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, 0.75 * first[name] - 0.5 * second[name], rtol=1e-4, atol=1e-6)
    assert any(tensor.abs().max() > 1e-4 for tensor in found.values())
    assert set(last.metrics["parts"]) == {FIRST, SECOND} and last.metrics["after"] and last.metrics["before"]
    assert (job.folder / "scores" / f"part, {FIRST}.json").exists()
    assert not warnings


@pytest.mark.parametrize("how", ["svd", "ties", "dare", "dare-ties"])
def test_other_merges_keep_the_rank_that_was_asked_for_and_reload_exactly(how: str, decoder: Path) -> None:
    import torch

    from engine.compute.model import base_model
    from engine.compute.result import open_result

    for run_id, seed in ((FIRST, 1), (SECOND, 2)):
        trained(runs.spec(decoder, "chat", "lora", seed=seed), run_id)
    job, last, _ = done(merge(decoder, how=how, rank=3))
    _, reloaded = open_result(job.folder)
    merged = job.tuner.apply(base_model(job), job.tuner_settings, job.training.seed).eval()
    torch.testing.assert_close(test_matrix.logits(job, reloaded), test_matrix.logits(job, merged))
    added = {name: tensor for name, tensor in changes(job.folder / "model", decoder).items() if tensor.abs().max() > 0}
    assert added and all(torch.linalg.matrix_rank(tensor, rtol=1e-4) <= 3 for tensor in added.values())
    assert last.trainable_parameters == tuners.get("lora").trainable_parameters(
        job.facts, tuners.get("lora").Settings(rank=3)
    )


def test_heads_of_classifiers_are_averaged_and_other_labels_are_refused(decoder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    for run_id, seed in ((FIRST, 1), (SECOND, 2)):
        trained(runs.spec(decoder, "classify", "lora", seed=seed), run_id)
    done(merge(decoder, "classify", weights="3 1"))
    one, two, mean = (load_file(home.runs() / run_id / "model" / "head.safetensors") for run_id in (FIRST, SECOND, SUM))
    torch.testing.assert_close(mean["weight"], 0.75 * one["weight"] + 0.25 * two["weight"])

    label = home.runs() / SECOND / "model" / "classifier.json"
    label.write_text(label.read_text().replace("transfer fee", "something else"))
    with pytest.raises(SettingError, match="labels apart"):
        done(merge(decoder, "classify"), "20260104-000000-aaaaaaaa")


def test_rows_that_a_run_learned_from_are_told_where_they_are_scored(decoder: Path) -> None:
    from engine.data import example as examples_file

    for run_id in (FIRST, SECOND):
        trained(runs.spec(decoder, "chat", "lora"), run_id)
    file = home.runs() / SECOND / "examples.jsonl"
    rows = examples_file.load(file)
    for row in rows:
        object.__setattr__(row, "split", "train")
    examples_file.save(rows, file)
    _, _, warnings = done(merge(decoder))
    assert [text for text in warnings if SECOND in text and "2 of the 2 rows" in text]


def test_what_can_not_be_merged_is_refused_before_the_start(decoder: Path, tmp_path: Path) -> None:
    other = models.tiny_biased_decoder(tmp_path / "other")
    trained(runs.spec(decoder, "chat", "lora"), FIRST)
    trained(runs.spec(other, "chat", "lora"), SECOND)
    facts = model_facts.facts(merge(decoder).model)
    with pytest.raises(UserError, match="the base has to be the same"):
        require_pair(merge(decoder), facts)
    with pytest.raises(UserError, match="There is no finished run"):
        require_pair(merge(decoder, runs=f"{FIRST} 20260109-000000-aaaaaaaa"), facts)
    with pytest.raises(SettingError, match="names 1; a merge is of 2 to 8"):
        tuners.get("merge").settled(merge(decoder, runs=FIRST).tuner_settings, decoder)
    with pytest.raises(SettingError, match="as many weights as runs"):
        merge(decoder, weights="1 2 3")
    with pytest.raises(SettingError, match="weights that are numbers"):
        merge(decoder, weights="much little")
    with pytest.raises(SettingError, match="all 0"):
        tuners.get("merge").settled(merge(decoder, weights="0 0").tuner_settings, decoder)


def test_the_model_card_of_a_merge_claims_no_learning(decoder: Path) -> None:
    from engine.publishing import cards, origin, stories

    for run_id, seed in ((FIRST, 1), (SECOND, 2)):
        trained(runs.spec(decoder, "chat", "lora", seed=seed), run_id)
    job, _, _ = done(merge(decoder))
    run = Run(SUM, job.folder, "local", "sum", 0.0, "finished")
    text = cards.card(stories.read(run, origin.base(job.model)), "me/sum", merged=False)
    assert "nothing learned, what 2 runs had added was made one of" in text
    assert f"Run {FIRST} alone" in text and "Learning rate" not in text
