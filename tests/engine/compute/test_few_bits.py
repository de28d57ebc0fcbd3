"""Bases of 4 and 8 bits: every tuner that says it stands on them learns there, reloads and resumes exactly."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import tuners
from engine.errors import UserError
from engine.specs.spec import RunSpec
from tests import test_matrix
from tests.fakes import models, runs

BITS = ("4bit", "8bit")
TUNERS = [tuner for tuner in tuners.all() if tuner.kind == "gradient"]
BOTH = ("lora", "adapter", "prompt")
"""Tuners that are tried on both; the others take turns: what they do differently with few bits, they do with both."""
PAIRS = [
    (tuner.name, bits)
    for number, tuner in enumerate(TUNERS)
    for place, bits in enumerate(BITS)
    if bits in tuner.loads and (tuner.name in BOTH or number % 2 == place or not set(BITS) <= set(tuner.loads))
]
FURTHER = {"ia3": 1e-1, "adalora": 5e-2, "fourierft": 1e-1, "vera": 1e-1, "miss": 2e-3}
"""Rates that show within twelve steps whether something learns, where 1e-2 is too low, or too high to settle."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("bases")
    # 4-bit blocks are 64 wide.
    return {
        "chat": models.tiny_decoder(place / "decoder", width=64),
        "classify": models.tiny_encoder(place / "encoder"),
    }


def spec(base: Path, objective: str, tuner: str, bits: str) -> RunSpec:
    found = runs.spec(base, objective, tuner, max_steps=12, learning_rate=FURTHER.get(tuner, 1e-2))
    found = found.with_data(found.data * 2)  # some tuners need several
    return replace(found, model=found.model.model_copy(update={"load": bits}))


def train_loss(job: Any, model: Any) -> float:
    """Of all rows to learn from, in nats."""
    return float(
        test_matrix.logits(replace(job, examples={**job.examples, "test": job.examples["train"]}), model).mean()
    )


def holds(spec: RunSpec, place: Path) -> Any:
    """The whole contract on a base of few bits; the trainer of the unbroken run."""
    import torch

    from engine.compute.result import open_result, save_result

    whole = test_matrix.trained(runs.folder(place / "whole", spec))
    assert {parameter.dtype for parameter in whole.model.parameters() if parameter.requires_grad} == {torch.float32}
    save_result(whole.job, whole.model)
    job, again = open_result(whole.job.folder)
    torch.testing.assert_close(
        test_matrix.logits(job, again), test_matrix.logits(whole.job, whole.model), rtol=1e-5, atol=1e-5
    )
    _, base = open_result(whole.job.folder, base=True)
    assert train_loss(job, again) < train_loss(job, base) - 0.005

    part = runs.folder(place / "part", spec)
    first = test_matrix.trained(part, stop=True)
    (part / "stop").unlink()
    second = test_matrix.trained(part)
    assert first.reporter.losses + second.reporter.losses == whole.reporter.losses
    assert test_matrix.hashes(second.model, trainable=True) == test_matrix.hashes(whole.model, trainable=True)
    return whole


@pytest.mark.parametrize(("tuner", "bits"), PAIRS)
def test_a_tuner_learns_on_few_bits_reloads_and_resumes_exactly(
    tuner: str, bits: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    holds(spec(bases["chat"], "chat", tuner, bits), tmp_path)


@pytest.mark.parametrize(("tuner", "bits"), [("lora", "4bit"), ("adapter", "8bit"), ("prefix", "4bit")])
def test_so_does_a_classifier(tuner: str, bits: str, bases: dict[str, Path], tmp_path: Path) -> None:
    holds(spec(bases["classify"], "classify", tuner, bits), tmp_path)


def test_a_result_on_few_bits_is_merged_into_the_whole_weights_or_says_why_not(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    from engine.compute.merge import merge
    from engine.compute.result import save_result

    for tuner in ("oft", "adapter"):
        run = test_matrix.trained(runs.folder(tmp_path / tuner, spec(bases["chat"], "chat", tuner, "4bit")))
        save_result(run.job, run.model)
    merge(tmp_path / "oft", tmp_path / "merged")
    base, merged = (load_file(folder / "model.safetensors") for folder in (bases["chat"], tmp_path / "merged"))
    assert {(name, tensor.dtype, tensor.shape) for name, tensor in merged.items()} == {
        (name, tensor.dtype, tensor.shape) for name, tensor in base.items()
    }
    with pytest.raises(UserError, match="Bottleneck adapters can't be merged"):
        merge(tmp_path / "adapter", tmp_path / "again")


@pytest.mark.parametrize("bits", BITS)
def test_a_tuner_that_can_not_stand_on_few_bits_says_so(bits: str, bases: dict[str, Path], tmp_path: Path) -> None:
    from engine.planning.jobs import open_job

    refused = [tuner.name for tuner in TUNERS if bits not in tuner.loads]
    assert {"full", "norms", "pissa"} <= set(refused)
    for name in refused:
        folder = runs.folder(tmp_path / name, spec(bases["chat"], "chat", name, bits))
        with pytest.raises(UserError, match=f"can't stand on {bits} weights"):
            open_job(folder, lambda text: None)


def test_the_log_of_a_run_is_not_filled_with_one_line_a_layer(
    bases: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        test_matrix.trained(runs.folder(tmp_path / "run", spec(bases["chat"], "chat", "lora", "8bit")))
    assert not [record for record in caplog.records if "will be cast" in record.message]
