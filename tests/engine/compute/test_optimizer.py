"""Averages in 8 bits: made as asked, kept by a checkpoint to the bit, and the same in the script."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.export import export
from engine.runs.worker import main as work
from engine.specs.optimizers import moments_bytes
from engine.specs.spec import RunSpec
from tests import test_matrix
from tests.engine.compute.test_rates import RATE, rates
from tests.fakes import models, runs, scripts

pytest.importorskip("bitsandbytes")


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide enough that its matrices are large ones to bitsandbytes."""
    return models.tiny_decoder(tmp_path_factory.mktemp("optimizer") / "decoder", width=64, inner=128)


def spec(decoder: Path, optimizer: str = "adamw-8bit", **settings: Any) -> RunSpec:
    made = runs.spec(decoder, "chat", "full", optimizer=optimizer, learning_rate=1e-3)
    return replace(made, tuner_settings=made.tuner.Settings(**settings))


def states(trainer: Any) -> dict[str, dict[str, Any]]:
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    return {names[id(p)]: state for p, state in trainer.optimizer.optimizer.state.items()}


def test_large_matrices_have_averages_in_8_bits_and_embeddings_and_norms_do_not(decoder: Path, tmp_path: Path) -> None:
    import torch

    trainer = test_matrix.trained(runs.folder(tmp_path / "run", spec(decoder)))
    found = {name: state["state1"].dtype for name, state in states(trainer).items()}
    assert found["model.layers.1.mlp.up_proj.weight"] == torch.uint8
    assert found["model.embed_tokens.weight"] == found["model.norm.weight"] == torch.float32


def test_what_is_predicted_of_its_averages_is_what_they_take(decoder: Path, tmp_path: Path) -> None:
    trainer = test_matrix.trained(runs.folder(tmp_path / "run", spec(decoder)))
    held = sum(
        state[name].numel() * state[name].element_size()
        for state in states(trainer).values()
        for name in ("state1", "state2", "absmax1", "absmax2")
        if name in state
    )
    job = trainer.job
    assert held == moments_bytes("adamw-8bit", job.tuner.learns(job.facts, job.tuner_settings).items())


def test_a_run_that_was_stopped_goes_on_to_the_bit(decoder: Path, tmp_path: Path) -> None:
    whole = test_matrix.trained(runs.folder(tmp_path / "whole", spec(decoder)))
    part = runs.folder(tmp_path / "part", spec(decoder))
    first = test_matrix.trained(part, stop=True)
    assert not first.ended
    (part / "stop").unlink()
    second = test_matrix.trained(part)
    assert first.reporter.losses + second.reporter.losses == whole.reporter.losses
    assert test_matrix.hashes(second.model, trainable=True) == test_matrix.hashes(whole.model, trainable=True)


def test_it_learns_nearly_as_adamw_in_32_bits_does_and_not_the_same(decoder: Path, tmp_path: Path) -> None:
    eight = test_matrix.trained(runs.folder(tmp_path / "eight", spec(decoder))).reporter.losses
    plain = test_matrix.trained(runs.folder(tmp_path / "plain", spec(decoder, "adamw"))).reporter.losses
    assert eight == pytest.approx(plain, rel=0.02)
    assert eight != plain


def test_rates_of_their_own_stay(decoder: Path, tmp_path: Path) -> None:
    made = replace(
        spec(decoder, depth_factor=0.5), training=spec(decoder).training.model_copy(update={"learning_rate": RATE})
    )
    found = rates(test_matrix.trained(runs.folder(tmp_path / "run", made)))
    assert found["model.layers.1.mlp.up_proj.weight"] == RATE
    assert found["model.embed_tokens.weight"] == pytest.approx(RATE / 4)


def test_the_script_makes_the_same_optimizer(decoder: Path, tmp_path: Path) -> None:
    folder = runs.folder(tmp_path / "run", spec(decoder))
    assert work(folder) == 0
    ours = [e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]
    place = export(folder, "script", tmp_path / "out")
    text = (place / "train.py").read_text(encoding="utf-8")
    assert "bitsandbytes==" in text
    theirs = [float(loss) for loss in re.findall(r"loss ([\d.]+)", scripts.run(place, decoder))]
    assert [theirs[0], theirs[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["adamw-8bit", "paged-adamw-8bit"])
def test_on_a_gpu_it_learns_and_goes_on_to_the_bit(optimizer: str, decoder: Path, tmp_path: Path) -> None:
    whole = test_matrix.trained(runs.folder(tmp_path / "whole", spec(decoder, optimizer)))
    part = runs.folder(tmp_path / "part", spec(decoder, optimizer))
    first = test_matrix.trained(part, stop=True)
    (part / "stop").unlink()
    second = test_matrix.trained(part)
    assert first.reporter.losses + second.reporter.losses == pytest.approx(whole.reporter.losses, rel=1e-5)
