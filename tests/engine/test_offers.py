"""Base models to choose from, what they cost here, and what suits the data."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from engine import home, machine, offers, tuners
from engine.bases import catalog, models, shapes
from engine.bases.model_search import Found
from engine.machine import Machine
from engine.methods import measured, recommend
from engine.offers import Offer
from engine.runs.store import Run
from tests.fakes import models as fakes
from tests.fakes import runs as made

GB = 10**9
CHAT_LORA = offers.Choice("chat", "lora")
LAPTOP = Machine(
    device="cpu", cores=4, memory_total=16 * GB, memory_available=14 * GB, disk_free=100 * GB, cpu_bfloat16=True
)


@pytest.fixture(autouse=True)
def _laptop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "inspect", lambda: LAPTOP)
    # What measurements change in a recommendation has tests of its own.
    monkeypatch.setattr(measured, "FILE", tmp_path / "nothing.jsonl")


def every(objective: str = "chat", tuner: str = "lora") -> dict[str, Offer]:
    return {offer.id: offer for group in offers.groups(offers.Choice(objective, tuner)) for offer in group.offers}


@pytest.mark.parametrize("entry", catalog.HUB, ids=lambda entry: entry.id)
def test_the_shapes_of_a_catalogued_model_add_up_to_its_parameters(entry: catalog.Known) -> None:
    assert sum(math.prod(shape) for shape in shapes.of(entry).values()) == entry.parameters


@pytest.mark.parametrize("entry", catalog.HUB, ids=lambda entry: entry.id)
def test_a_catalogued_models_facts_need_no_hub(entry: catalog.Known) -> None:
    facts = models.catalog_facts(entry)
    assert (facts.kind, facts.parameters, facts.layers) == (
        entry.kind,
        entry.parameters,
        entry.config["num_hidden_layers"],
    )
    assert facts.linears and facts.license == entry.license


def test_models_that_are_here_stand_before_those_of_the_hub() -> None:
    groups = offers.groups(CHAT_LORA)
    assert [group.title for group in groups] == ["Here already, no Hub needed", offers.TRIED]


def test_a_larger_model_costs_more_and_one_may_not_fit() -> None:
    found = every(tuner="full")
    small, large = found["embedded:smollm2-135m"].cost, found["Qwen/Qwen2.5-7B-Instruct"].cost
    assert small is not None and large is not None
    assert small.fits and not large.fits and large.bytes > 5 * small.bytes


def test_a_model_of_the_other_kind_says_what_it_goes_with() -> None:
    offer = every("chat")["embedded:minilm"]
    assert offer.cost is None and offer.goes_with == "Classify (choose a label)"


def test_the_cost_is_what_the_plan_would_say_for_rows_of_that_length() -> None:
    facts = models.embedded_facts(catalog.SMOLLM2)
    assert every()["embedded:smollm2-135m"].cost == offers.cost(facts, CHAT_LORA, LAPTOP)


def test_folders_of_the_home_are_offered_to_its_owner_alone() -> None:
    folder = fakes.tiny_decoder(home.home() / "models" / "mine")
    own = [group for group in offers.groups(CHAT_LORA, folders=True) if group.title == "Your own"]
    assert [offer.id for group in own for offer in group.offers] == [str(folder)]
    assert all(group.title != "Your own" for group in offers.groups(CHAT_LORA))


@pytest.mark.parametrize(
    ("tuner", "file", "note"),
    [
        ("full", "model.safetensors", "training goes on from it"),
        ("lora", "adapter_model.safetensors", "training goes on from it"),
        ("top-layers", "changed.safetensors", "training goes on from it"),
        ("adapter", "bottleneck.safetensors", "can go on learning"),
        ("p-tuning", "soft_prompt.safetensors", ""),
        ("head", "head.safetensors", ""),
    ],
)
def test_a_runs_result_is_offered_with_what_can_be_done_with_it(tuner: str, file: str, note: str) -> None:
    folder = home.runs() / "20260101-000000-aaaaaaaa"
    base = fakes.tiny_decoder(home.home() / "base")
    shutil.copytree(base, folder / "model")
    (folder / "model" / "model.safetensors").rename(folder / "model" / file)
    made.spec(base, "classify" if tuner == "head" else "chat", tuner).save(folder / "spec.yaml")
    runs = [Run(folder.name, folder, "local", "mine", 0.0, "finished")]
    own = [offer for group in offers.groups(CHAT_LORA, runs) if group.title == "Your own" for offer in group.offers]
    assert [offer.id for offer in own] == ([f"run:{folder.name}"] if note else [])
    assert all(note in offer.note and offer.cost for offer in own)


def test_a_damaged_folder_is_offered_with_what_is_wrong_with_it() -> None:
    folder = home.home() / "models" / "broken"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")
    own = offers.groups(CHAT_LORA, folders=True)[-1]
    assert own.offers[0].refusal and "safetensors" in own.offers[0].refusal


@pytest.mark.parametrize(
    "entry", [entry for entry in catalog.HUB if entry.kind == "decoder"], ids=lambda entry: entry.id
)
def test_a_cost_guessed_from_the_size_is_near_that_from_the_shapes(entry: catalog.Known) -> None:
    item = Found("somebody/else", "decoder", int(entry.parameters * 1.2), "mit", False, 10)
    (guessed,) = offers.found([item], CHAT_LORA)
    exact = every()[entry.id].cost
    assert guessed.cost is not None and exact is not None and guessed.cost.basis == "its size"
    assert 0.6 < guessed.cost.bytes / exact.bytes < 2.0


def test_a_model_of_unknown_size_gets_no_cost() -> None:
    (offer,) = offers.found([Found("a/b", "decoder", None, None, False, None)], CHAT_LORA)
    assert offer.cost is None and offer.refusal is None


DECODER, ENCODER = models.embedded_facts(catalog.SMOLLM2), models.embedded_facts(catalog.MINILM)


def test_a_model_that_writes_is_to_chat_with_lora() -> None:
    found = recommend.recommended(DECODER, 480, True, LAPTOP)
    assert (found.objective, found.tuner) == ("chat", "lora")
    assert "answer with the label" in found.reason and "480 rows" in found.reason


def test_a_model_that_reads_is_to_classify() -> None:
    assert recommend.recommended(ENCODER, 100, True, LAPTOP).objective == "classify"


def test_a_small_model_with_many_rows_learns_as_a_whole() -> None:
    found = recommend.recommended(ENCODER, 5000, True, LAPTOP)
    assert found.tuner == "full" and "5,000 rows" in found.reason


def test_a_small_model_with_many_rows_and_little_memory_does_not_learn_as_a_whole() -> None:
    tight = replace(LAPTOP, memory_available=2 * GB)
    assert recommend.recommended(ENCODER, 5000, True, tight).tuner == "lora"


def test_a_model_that_only_reads_says_that_it_needs_labels() -> None:
    assert "this data has none" in recommend.recommended(ENCODER, 100, False, LAPTOP).reason


def test_what_does_not_fit_is_said_in_the_recommendation() -> None:
    large = models.catalog_facts(next(entry for entry in catalog.HUB if entry.id == "Qwen/Qwen2.5-7B-Instruct"))
    assert (
        "more than is free here" in recommend.recommended(large, 500, True, replace(LAPTOP, memory_available=GB)).reason
    )


def test_what_is_recommended_goes_together(tmp_path: Path) -> None:
    for facts in (DECODER, ENCODER):
        found = recommend.recommended(facts, 1000, True, LAPTOP)
        assert offers.cost(facts, offers.Choice(found.objective, found.tuner), LAPTOP).fits


def test_for_marked_words_a_model_that_reads_marks_them_and_one_that_writes_lists_them() -> None:
    found = recommend.recommended(ENCODER, 480, False, LAPTOP, marked=True)
    assert (found.objective, tuners.get(found.tuner).kind) == (
        "classify",
        "gradient",
    ) and "learns to mark words" in found.reason
    found = recommend.recommended(DECODER, 480, False, LAPTOP, marked=True)
    assert found.objective == "chat" and "choose Classify, and best a model that reads both ways" in found.reason
