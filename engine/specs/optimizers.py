"""How weights are updated: which optimizers there are, which work here, what their averages take. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import util
from typing import Literal

from engine import machine
from engine.bases.depth import EMBEDDINGS
from engine.errors import MachineError
from engine.machine import Machine

Optimizer = Literal["adamw", "adamw-8bit", "paged-adamw-8bit"]
Choice = Literal["auto", "adamw", "adamw-8bit", "paged-adamw-8bit"]

LEAST_NUMBERS = 4096
"""bitsandbytes leaves the averages of smaller tensors in 32 bits."""
BLOCK = 256
"""Numbers that share one scale in 32 bits."""
TITLES: dict[Optimizer, str] = {
    "adamw": "AdamW of torch",
    "adamw-8bit": "AdamW of bitsandbytes, whose averages have 8 bits",
    "paged-adamw-8bit": "the paged AdamW of bitsandbytes, whose averages have 8 bits and may leave the GPU",
}


def choose(wanted: Choice, here: Machine, reasons: list[str]) -> Optimizer:
    """The optimizer of a run. Raises MachineError where it does not work on this machine."""
    if wanted == "auto":
        return "adamw"
    reason = missing(wanted, here)
    if reason:
        other = "auto, or adamw-8bit" if wanted == "paged-adamw-8bit" and not missing("adamw-8bit", here) else "auto"
        raise MachineError(reason, f"Set 'Optimizer' (training.optimizer) to {other}.")
    if wanted != "adamw":
        reasons.append(f"Weights are updated by {TITLES[wanted]}. Averages of word embeddings stay in 32 bits.")
    return wanted


def missing(optimizer: Optimizer, here: Machine) -> str | None:
    """Why an optimizer does not work on this machine, or None where it does."""
    if optimizer == "adamw":
        return None
    if optimizer == "paged-adamw-8bit" and here.device != "cuda":
        return "Optimizer (training.optimizer) is paged-adamw-8bit, which needs an NVIDIA GPU: it moves what it keeps."
    if here.device == "mps":
        return f"Optimizer (training.optimizer) is {optimizer}; its package does not work on Apple's GPUs."
    if util.find_spec("bitsandbytes") is None:
        return (
            f"Optimizer (training.optimizer) is {optimizer}, which needs the package bitsandbytes; it is not installed "
            "(pip install bitsandbytes)."
        )
    return None


@cache
def offered() -> tuple[str, ...]:
    """What works on this machine."""
    here = machine.inspect()
    return ("auto", *(name for name in TITLES if missing(name, here) is None))


def moments_bytes(optimizer: Optimizer, tensors: Iterable[tuple[str, int]]) -> int:
    """Of the two averages that are kept of each weight. tensors: name and size of each that learns."""
    return sum(_eight(name, count) if optimizer != "adamw" else 8 * count for name, count in tensors)


def _eight(name: str, count: int) -> int:
    if count < LEAST_NUMBERS or (name.endswith("weight") and _embeds(name)):
        return 8 * count
    return 2 * count + 2 * 4 * -(-count // BLOCK)


def _embeds(name: str) -> bool:
    return any(word in name for word in EMBEDDINGS)
