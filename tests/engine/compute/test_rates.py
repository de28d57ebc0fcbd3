"""Rates of their own for some parameters: by depth, and LoRA+'s second matrix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import tuners
from engine.bases import depth
from tests import test_matrix
from tests.fakes import models, runs

RATE = 1e-2
"""Of `runs.spec`."""


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_decoder(tmp_path_factory.mktemp("rates") / "decoder")


def rates(trainer: Any) -> dict[str, float]:
    """The rate that each parameter begins with."""
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    return {names[id(p)]: group["initial_lr"] for group in trainer.optimizer.param_groups for p in group["params"]}


def trained(decoder: Path, tmp_path: Path, tuner: str, **settings: Any) -> Any:
    spec = runs.spec(decoder, "chat", tuner)
    spec = replace(spec, tuner_settings=tuners.get(tuner).Settings(**settings))
    return test_matrix.trained(runs.folder(tmp_path / "run", spec))


def test_each_layer_learns_slower_than_the_one_above_it_by_the_factor(decoder: Path, tmp_path: Path) -> None:
    found = rates(trained(decoder, tmp_path, "full", depth_factor=0.5))
    assert found["model.norm.weight"] == found["model.layers.1.mlp.up_proj.weight"] == RATE
    assert found["model.layers.0.mlp.up_proj.weight"] == pytest.approx(RATE / 2)
    assert found["model.embed_tokens.weight"] == pytest.approx(RATE / 4)


def test_the_rate_that_is_told_is_the_runs_and_not_that_of_the_lowest_layer(decoder: Path, tmp_path: Path) -> None:
    spec = runs.spec(decoder, "chat", "full", schedule="constant")
    spec = replace(spec, tuner_settings=spec.tuner.Settings(depth_factor=0.5))
    test_matrix.trained(runs.folder(tmp_path / "run", spec))
    told = [e["learning_rate"] for e in runs.events(tmp_path / "run") if e.get("learning_rate") is not None]
    assert told[-1] == pytest.approx(RATE)


def test_the_head_keeps_a_rate_of_its_own_beside_rates_by_depth(tmp_path: Path) -> None:
    spec = runs.spec(models.tiny_encoder(tmp_path / "encoder"), "classify", "top-layers")
    spec = replace(spec, tuner_settings=spec.tuner.Settings(layers=2, depth_factor=0.5))
    trainer = test_matrix.trained(runs.folder(tmp_path / "run", spec))
    found = rates(trainer)
    assert found["head.weight"] == trainer.job.plan.head_rate != RATE
    assert found["backbone.encoder.layer.0.output.dense.weight"] == pytest.approx(RATE / 2)


def test_without_a_factor_all_learn_alike() -> None:
    assert depth.rates(["model.layers.0.mlp.up_proj.weight", "model.norm.weight"], 1.0) == {}


def test_an_output_layer_of_its_own_lies_above_all_layers() -> None:
    names = ["gpt_neox.embed_in.weight", "gpt_neox.layers.0.mlp.weight", "embed_out.weight"]
    assert list(depth.rates(names, 0.5).values()) == [0.5, 1.0, 1.0]


def test_lora_plus_lets_the_second_matrix_learn_so_many_times_as_fast(decoder: Path, tmp_path: Path) -> None:
    found = rates(trained(decoder, tmp_path, "lora-plus", ratio=8))
    assert {rate for name, rate in found.items() if ".lora_A." in name} == {RATE}
    assert {rate for name, rate in found.items() if ".lora_B." in name} == {8 * RATE}


def test_lora_plus_with_ratio_1_is_lora(decoder: Path, tmp_path: Path) -> None:
    even = trained(decoder, tmp_path / "even", "lora-plus", ratio=1)
    plain = trained(decoder, tmp_path / "plain", "lora")
    assert even.reporter.losses == plain.reporter.losses


def test_a_resumed_run_goes_on_with_its_rates(decoder: Path, tmp_path: Path) -> None:
    whole = trained(decoder, tmp_path / "whole", "full", depth_factor=0.5)
    spec = runs.spec(decoder, "chat", "full")
    spec = replace(spec, tuner_settings=spec.tuner.Settings(depth_factor=0.5))
    part = runs.folder(tmp_path / "part", spec)
    first = test_matrix.trained(part, stop=True)
    (part / "stop").unlink()
    second = test_matrix.trained(part)
    assert first.reporter.losses + second.reporter.losses == whole.reporter.losses
