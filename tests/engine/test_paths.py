"""Which runs are computed on the fast path, how much they recompute, and what a person is told of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.bases.catalog import MINILM, SMOLLM2
from engine.bases.models import ModelFacts, embedded_facts
from engine.machine import Machine
from engine.planning import paths, planner
from engine.planning.plan import Plan
from engine.specs.spec import RunSpec

FACTS = embedded_facts(SMOLLM2)
HERE = Machine(
    device="cpu", cores=2, memory_total=16 * 10**9, memory_available=14 * 10**9, disk_free=10**11, cpu_bfloat16=True
)


def plan(
    tuner: Any = "lora",
    objective: str = "chat",
    facts: ModelFacts = FACTS,
    machine: Machine = HERE,
    load: str = "auto",
    tokens: int = 150,
    **training: Any,
) -> Plan:
    spec = RunSpec.parse(
        {
            "model": {"id": "embedded:smollm2-135m", "load": load},
            "data": [{"source": "x.csv"}],
            "objective": objective,
            "tuner": tuner,
            "training": training,
            "evaluation": {"max_rows": 1},  # scoring takes less than training
        }
    )
    return planner.make(spec, facts, [tokens] * 40, machine, [10] * 40)


@pytest.mark.parametrize("tuner", ["lora", "lora-plus", "lora-fa", "pissa", "olora", {"name": "lora", "rank": 64}])
def test_low_rank_additions_to_a_llama_take_the_fast_path_and_it_is_said(tuner: Any) -> None:
    made = plan(tuner)
    assert made.path == "fast" and made.recompute == 0
    assert any("is computed on the fast path" in reason for reason in made.reasons)


def test_a_base_of_4_bits_does_so_and_takes_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.planning.number_formats.no_quantisation", lambda machine: None)
    made = plan(load="4bit")
    assert made.path == "fast" and made.weights == "4bit"
    assert made.memory_bytes < plan(load="4bit", path="generic").memory_bytes


@pytest.mark.parametrize("family", ["mistral", "qwen2", "qwen3"])
def test_so_do_models_alike(family: str) -> None:
    assert plan(facts=replace(FACTS, config={**FACTS.config, "model_type": family})).path == "fast"


@pytest.mark.parametrize(
    "given",
    [
        {"tuner": "dora"},
        {"tuner": "full"},
        {"tuner": "adalora"},
        {"tuner": {"name": "lora", "dropout": 0.1}},
        {"path": "generic"},
        {"load": "32bit"},
        {"load": "8bit"},
        {"objective": "classify"},
        {"facts": replace(FACTS, config={**FACTS.config, "model_type": "gemma3_text"})},
        {"facts": replace(FACTS, config={**FACTS.config, "attention_dropout": 0.1})},
        {"facts": replace(FACTS, config={**FACTS.config, "hidden_act": "gelu"})},
        {"facts": embedded_facts(MINILM), "objective": "classify"},
    ],
    ids=lambda given: ", ".join(map(str, given)),
)
def test_all_else_is_computed_as_the_libraries_do(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.planning.number_formats.no_quantisation", lambda machine: None)
    made = plan(**given)
    assert made.path == "generic" and made.recompute == 0
    assert not any("fast path" in reason for reason in made.reasons)


def test_it_takes_less_memory_and_less_again_with_each_level() -> None:
    assert plan(micro_batch_size=8).memory_bytes < plan(path="generic", micro_batch_size=8).memory_bytes
    levels, told = [], []
    for free in range(14000, 1800, -100):
        made = plan(machine=replace(HERE, memory_available=free * 10**6), tokens=900, micro_batch_size=8)
        assert made.memory_bytes <= 0.85 * free * 10**6 or made.recompute == paths.ALL
        levels.append(made.recompute)
        told.append([reason for reason in made.reasons if reason.endswith("computed twice, to save memory.")])
        if made.recompute == paths.ALL:
            break
    assert levels == sorted(levels) and set(levels) >= {0, 1, 2, paths.ALL}
    assert all(bool(sentence) == bool(level) for level, sentence in zip(levels, told, strict=True))


def test_checkpointing_that_is_asked_for_makes_all_of_a_layer_again() -> None:
    made = plan(checkpointing="on")
    assert (made.path, made.recompute, made.checkpointing) == ("fast", paths.ALL, True)
    assert plan(path="generic", checkpointing="on").checkpointing
