"""Chooses the number formats of a run: of the arithmetic, of weights that stay; and whether rows are packed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import util
from typing import Literal

from engine.errors import MachineError, SettingError
from engine.machine import Machine
from engine.specs.spec import RunSpec

Compute = Literal["float32", "bfloat16", "float16"]
Weights = Literal["float32", "bfloat16", "float16", "8bit", "4bit"]


@dataclass(frozen=True)
class Formats:
    compute: Compute
    weights: Weights
    packing: bool


def choose(spec: RunSpec, machine: Machine, reasons: list[str]) -> Formats:
    compute = _compute(spec, machine, reasons)
    weights = _weights(spec, machine, compute, reasons)
    if weights == "bfloat16" and compute == "float32":
        if spec.training.precision == "float32":
            raise SettingError(
                ["Load weights as (model.load) is 16bit and Precision (training.precision) is float32: choose one."]
            )
        compute = "bfloat16"
        reasons.append("16-bit weights are computed in bfloat16; this processor is slow at it.")
    return Formats(compute, weights, _packing(spec, machine, reasons))


def _compute(spec: RunSpec, machine: Machine, reasons: list[str]) -> Compute:
    wanted = spec.training.precision
    capability = machine.gpus[0].capability if machine.device == "cuda" else None
    if wanted == "float16" and machine.device != "cuda":
        raise SettingError(
            ["Precision (training.precision) is float16, which needs an NVIDIA GPU."], "Choose auto or bfloat16."
        )
    if wanted == "bfloat16" and capability is not None and capability < 8:
        raise SettingError(
            [f"Precision (training.precision) is bfloat16, which {machine.gpus[0].name} does not have."],
            "Choose auto or float16.",
        )
    if wanted != "auto":
        return wanted
    if machine.device == "cpu":
        if machine.cpu_bfloat16:
            reasons.append("Computed in bfloat16: this processor has it, and is about twice as fast in it.")
            return "bfloat16"
        reasons.append("Computed in float32: this processor has no bfloat16 of its own.")
        return "float32"
    if machine.device == "mps":
        reasons.append("Computed in float32, which is safe on Apple's GPUs.")
        return "float32"
    if capability is not None and capability >= 8:
        reasons.append(f"Computed in bfloat16, which {machine.gpus[0].name} is fastest in.")
        return "bfloat16"
    if capability is not None and capability >= 7:
        reasons.append(f"Computed in float16: {machine.gpus[0].name} has no bfloat16.")
        return "float16"
    reasons.append("Computed in float32: this GPU is no faster in 16 bits.")
    return "float32"


def _weights(spec: RunSpec, machine: Machine, compute: Compute, reasons: list[str]) -> Weights:
    load, tuner = spec.model.load, spec.tuner
    if load not in tuner.loads:
        raise SettingError(
            [f"Load weights as (model.load) is {load}; {tuner.title} can't stand on such weights."],
            f"Choose one of {', '.join(sorted(tuner.loads))}, or another tuner.",
        )
    if load in ("8bit", "4bit"):
        reason = no_quantisation(machine)
        if reason:
            raise MachineError(reason, "Load the weights in 16bit.")
        learns = "they do not learn" if tuner.kind != "gradient" else "only what is added to them learns"
        reasons.append(f"The base weights are held in {load[0]} bits; {learns}.")
        return "8bit" if load == "8bit" else "4bit"
    if tuner.trains_base:
        if load == "16bit":
            reasons.append("Weights that learn are held in float32 all the same: 16 bits lose small updates.")
        return "float32"
    if load == "32bit":
        return "float32"
    if load == "16bit" and compute == "float32":
        return "bfloat16"
    if compute != "float32":
        reasons.append(f"The base weights, which stay as they are, are held in {compute}: half the memory.")
    return compute


def no_quantisation(machine: Machine) -> str | None:
    """Why this machine can't hold base weights in 8 or 4 bits, or None where it can."""
    if machine.device == "mps":
        return "8-bit and 4-bit weights need the package bitsandbytes, which does not work on Apple's GPUs."
    if util.find_spec("bitsandbytes") is None:
        return (
            "8-bit and 4-bit weights need the package bitsandbytes, which is not installed (pip install bitsandbytes)."
        )
    return None


def _packing(spec: RunSpec, machine: Machine, reasons: list[str]) -> bool:
    wanted = spec.training.packing
    if spec.tuner.kind != "gradient":
        return False
    packs = spec.objective.packs and spec.tuner.packs
    if wanted == "on" and not packs:
        alone = spec.objective if spec.tuner.packs else spec.tuner
        raise SettingError(
            [f"Packing (training.packing) is on; {alone.title} needs each row by itself."], "Set it to auto."
        )
    if wanted == "on" or (wanted == "auto" and machine.device == "cuda" and packs):
        reasons.append("Several rows share one sequence, without seeing each other: nothing is spent on padding.")
        return True
    if packs and wanted == "auto":
        reasons.append("Rows of like length are computed together; packing them would gain nothing here.")
    return False
