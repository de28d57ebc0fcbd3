"""Which optimizer a run takes on which machine, and what its averages take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.errors import MachineError
from engine.machine import Machine
from engine.planning import planner
from engine.planning.layout import TIGHT
from engine.specs import optimizers
from tests.engine.test_planner import FACTS, GB, L4, LAPTOP, ROWS, Everything, _spec

APPLE = replace(LAPTOP, device="mps")


def least(optimizer: str, machine: Machine) -> int:
    """Bytes that a whole model needs at least, learning with this optimizer."""
    spec = _spec(tuner=Everything, optimizer=optimizer, micro_batch_size=1, checkpointing="on", batch_size=1)
    return planner.make(spec, FACTS, ROWS, machine).memory_bytes


def between(machine: Machine) -> int:
    """Memory in which it fits with averages in 8 bits alone."""
    return int((least("adamw-8bit", machine) / TIGHT + least("adamw", machine)) / 2)


def gpu(available: int) -> Machine:
    return replace(L4, gpus=(replace(L4.gpus[0], memory_available=available),))


def test_auto_is_adamw() -> None:
    for machine in (LAPTOP, L4, APPLE):
        assert planner.make(_spec(tuner=Everything), FACTS, ROWS, machine).optimizer == "adamw"


def test_auto_takes_8_bits_on_a_gpu_where_nothing_else_fits_and_says_so() -> None:
    plan = planner.make(_spec(tuner=Everything), FACTS, ROWS, gpu(between(L4)))
    assert plan.optimizer == "adamw-8bit"
    assert any("bitsandbytes" in reason for reason in plan.reasons)
    with pytest.raises(MachineError, match=r"Optimizer.*adamw-8bit"):
        planner.make(_spec(tuner=Everything, optimizer="adamw"), FACTS, ROWS, gpu(between(L4)))


def test_auto_takes_no_8_bits_where_they_do_not_help() -> None:
    plan = planner.make(_spec(tuner=Everything, launch={"ignore_memory": True}), FACTS, ROWS, gpu(GB))
    assert plan.optimizer == "adamw"
    assert not any("bitsandbytes" in reason for reason in plan.reasons)


def test_on_a_processor_8_bits_are_proposed_where_they_would_fit() -> None:
    tight = replace(LAPTOP, memory_available=between(LAPTOP))
    with pytest.raises(MachineError) as error:
        planner.make(_spec(tuner=Everything), FACTS, ROWS, tight)
    assert error.value.fix == "Set 'Optimizer' (training.optimizer) to adamw-8bit."
    proposed = _spec(tuner=Everything, optimizer="adamw-8bit")
    planner.make(proposed, FACTS, ROWS, tight)


@pytest.mark.parametrize(
    ("optimizer", "machine", "problem", "fix"),
    [
        ("paged-adamw-8bit", LAPTOP, "needs an NVIDIA GPU", "adamw-8bit"),
        ("paged-adamw-8bit", APPLE, "needs an NVIDIA GPU", "to auto"),
        ("adamw-8bit", APPLE, "Apple", "to auto"),
    ],
)
def test_what_does_not_work_here_is_refused_with_what_does(
    optimizer: str, machine: Machine, problem: str, fix: str
) -> None:
    with pytest.raises(MachineError, match=problem) as error:
        planner.make(_spec(optimizer=optimizer), FACTS, ROWS, machine)
    assert fix in error.value.fix


def test_without_bitsandbytes_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match="pip install bitsandbytes"):
        planner.make(_spec(optimizer="adamw-8bit"), FACTS, ROWS, LAPTOP)


@pytest.mark.parametrize("optimizer", ["adamw-8bit", "paged-adamw-8bit"])
def test_an_nvidia_gpu_has_both(optimizer: str) -> None:
    assert planner.make(_spec(optimizer=optimizer), FACTS, ROWS, L4).optimizer == optimizer


def test_averages_of_large_tensors_alone_take_8_bits() -> None:
    tensors = [("a.weight", 4096), ("norm.weight", 4095), ("embed_tokens.weight", 8192)]
    assert optimizers.moments_bytes("adamw-8bit", tensors) == 2 * 4096 + 2 * 4 * 16 + 8 * 4095 + 8 * 8192
    assert optimizers.moments_bytes("adamw", tensors) == 8 * (4096 + 4095 + 8192)
