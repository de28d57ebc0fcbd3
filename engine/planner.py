"""Decides how a run is computed on this machine: device, formats, micro-batch, steps and rates. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import util
from typing import Literal

from engine import memory
from engine.errors import MachineError, SettingError
from engine.job import LOOP_SECTIONS
from engine.machine import Machine
from engine.models import ModelFacts
from engine.plan import MemoryPart, Plan
from engine.settings import describe
from engine.spec import RunSpec

TIGHT = 0.85
"""Share of the free memory above which a run may fail."""
CHECKS = 4
"""How often held-out loss is measured in a run, where nothing else is wanted."""

Compute = Literal["float32", "bfloat16", "float16"]
Weights = Literal["float32", "bfloat16", "float16", "8bit", "4bit"]


@dataclass(frozen=True)
class _Formats:
    compute: Compute
    weights: Weights
    packing: bool


@dataclass(frozen=True)
class _Layout:
    """What the search for a fit changes."""

    micro: int
    checkpointing: bool


class _Memory:
    """Predicts the peak of a run for a layout, with the longest rows together."""

    def __init__(
        self, spec: RunSpec, facts: ModelFacts, machine: Machine, lengths: Sequence[int], learned: Sequence[int] | None
    ) -> None:
        self.spec, self.facts, self.machine = spec, facts, machine
        self.lengths = sorted(lengths, reverse=True)
        # Where nobody knows how much of a row is learned, all of it may be.
        self.learned = sorted(learned if learned is not None else lengths, reverse=True)
        self.trained = spec.tuner.trainable_parameters(facts, spec.tuner_settings)

    def fits(self, formats: _Formats, layout: _Layout, longest: int | None = None) -> bool:
        """Whether it fits with room to spare."""
        return self.bytes(formats, layout, longest) <= TIGHT * self.machine.available

    def bytes(self, formats: _Formats, layout: _Layout, longest: int | None = None) -> int:
        return sum(part.bytes for part in self.parts(formats, layout, longest))

    def parts(self, formats: _Formats, layout: _Layout, longest: int | None = None) -> list[MemoryPart]:
        """`longest` cuts the rows to this many tokens."""
        cut = longest or self.lengths[0]
        rows = min(layout.micro, len(self.lengths))
        widest = min(self.lengths[0], cut) + self.spec.tuner.virtual_tokens(self.spec.tuner_settings)
        if self.spec.tuner.kind == "fit":
            return self._reading(formats, rows, widest)
        tokens = sum(min(length, cut) for length in self.lengths[:rows]) if formats.packing else rows * widest
        answers = "answers" in self.spec.objective.gives
        return memory.predict(
            memory.Work(
                facts=self.facts,
                device=self.machine.device,
                compute=formats.compute,
                weights=formats.weights,
                trained=self.trained,
                trains_base=self.spec.tuner.trains_base,
                checkpointing=layout.checkpointing,
                rows=rows,
                tokens=tokens,
                longest=widest,
                learned=sum(min(count, cut) for count in self.learned[:rows]) if answers else 0,
                generates=answers,
                frozen=self.spec.tuner.frozen_parameters(self.facts, self.spec.tuner_settings),
                accumulates=layout.micro < self.spec.training.batch_size,
            )
        )

    def _reading(self, formats: _Formats, rows: int, widest: int) -> list[MemoryPart]:
        """Of a run that reads its rows and trains no weights."""
        return memory.reading(
            memory.Work(
                facts=self.facts,
                device=self.machine.device,
                compute=formats.compute,
                weights=formats.weights,
                trained=0,
                trains_base=False,
                checkpointing=False,
                rows=rows,
                tokens=rows * widest,
                longest=widest,
                learned=0,
                generates=False,
            ),
            all_rows=len(self.lengths),
            held_layers=self.spec.tuner.held_layers(self.facts, self.spec.tuner_settings),
        )


def make(
    spec: RunSpec, facts: ModelFacts, lengths: Sequence[int], machine: Machine, learned: Sequence[int] | None = None
) -> Plan:
    """Plan a run. `lengths`: tokens of each training row after truncation; `learned`: how many of them are learned.

    Raises SettingError where settings contradict each other or the machine, MachineError where the run can't fit
    (unless the spec says to ignore that).
    """
    if not lengths:
        raise SettingError(["There are no rows to learn from."], "Give more rows, or hold out fewer.")
    _require_context(spec, facts, max(lengths))
    reasons = list(machine.notices)
    formats = _formats(spec, machine, reasons)
    need = _Memory(spec, facts, machine, lengths, learned)
    if spec.tuner.kind == "fit":
        return _fit_plan(spec, need, formats, reasons)
    layout = _layout(spec, need, formats, reasons)
    _require_fit(spec, need, formats, layout, reasons)
    total = _total_steps(spec, len(lengths), reasons)
    rate, head_rate = _rates(spec, reasons)
    threads = spec.launch.threads or machine.cores
    return Plan(
        device=machine.device,
        compute=formats.compute,
        weights=formats.weights,
        packing=formats.packing,
        checkpointing=layout.checkpointing,
        micro_batch=layout.micro,
        accumulation=spec.training.batch_size // layout.micro,
        total_steps=total,
        warmup_steps=min(total - 1, math.ceil(total * spec.training.warmup)),
        evaluate_every=spec.evaluation.every_steps or max(1, math.ceil(total / CHECKS)),
        learning_rate=rate,
        head_rate=head_rate,
        threads=threads,
        memory=need.parts(formats, layout),
        memory_available=machine.available,
        reasons=reasons,
    )


def _fit_plan(spec: RunSpec, need: _Memory, formats: _Formats, reasons: list[str]) -> Plan:
    """The plan of a run that reads each row once and fits a classifier to what it read: no updates, no rates."""
    rows = spec.training.micro_batch_size or memory.rows_at_once(need.lengths[0])
    layout = _Layout(min(rows, len(need.lengths)), checkpointing=False)
    _require_fit(spec, need, formats, layout, reasons)
    reasons.append(
        "Each text is read once. No weights of the model learn, so there are no passes and no learning rate."
    )
    reasons += _ignored(spec)
    return Plan(
        device=need.machine.device,
        compute=formats.compute,
        weights=formats.weights,
        packing=False,
        checkpointing=False,
        micro_batch=layout.micro,
        accumulation=1,
        total_steps=math.ceil(len(need.lengths) / layout.micro),
        warmup_steps=0,
        evaluate_every=1,
        learning_rate=0.0,
        head_rate=None,
        threads=spec.launch.threads or need.machine.cores,
        memory=need.parts(formats, layout),
        memory_available=need.machine.available,
        reasons=reasons,
    )


def _ignored(spec: RunSpec) -> list[str]:
    """A sentence for settings that were changed and do nothing with this tuner."""
    found = [
        f"{setting.title} ({place}.{setting.name})"
        for place in LOOP_SECTIONS
        for setting in describe(type(getattr(spec, place)))
        if spec.tuner.ignores(f"{place}.{setting.name}")
        and getattr(getattr(spec, place), setting.name) != setting.default
    ]
    if not found:
        return []
    return [f"Nothing is done with these settings, which {spec.tuner.title} has no use for: {', '.join(found)}."]


def _require_context(spec: RunSpec, facts: ModelFacts, longest: int) -> None:
    virtual = spec.tuner.virtual_tokens(spec.tuner_settings)
    room = facts.context - virtual
    if facts.context and room < 1:
        raise SettingError(
            [f"{virtual} virtual tokens leave no room for a text: {facts.id} reads at most {facts.context} tokens."],
            "Lower 'Virtual tokens' (tuner.tokens).",
        )
    if facts.context and longest > room:
        beside = f" beside {virtual} virtual ones" if virtual else ""
        raise SettingError(
            [f"The longest row has {longest} tokens; {facts.id} reads at most {room}{beside}."],
            f"Set 'Longest row' (training.max_tokens) to {room}; longer rows are then cut, and counted.",
        )


# Formats


def _formats(spec: RunSpec, machine: Machine, reasons: list[str]) -> _Formats:
    compute = _compute(spec, machine, reasons)
    weights = _weights(spec, machine, compute, reasons)
    if weights == "bfloat16" and compute == "float32":
        if spec.training.precision == "float32":
            raise SettingError(
                ["Load weights as (model.load) is 16bit and Precision (training.precision) is float32: choose one."]
            )
        compute = "bfloat16"
        reasons.append("16-bit weights are computed in bfloat16; this processor is slow at it.")
    return _Formats(compute, weights, _packing(spec, machine, reasons))


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
        learns = "they do not learn" if tuner.kind == "fit" else "only what is added to them learns"
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
    if spec.tuner.kind == "fit":
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


# What fits


def _layout(spec: RunSpec, need: _Memory, formats: _Formats, reasons: list[str]) -> _Layout:
    """The largest micro-batch that fits well, and checkpointing only where nothing else helps."""
    training = spec.training
    batch = training.batch_size
    fixed = training.micro_batch_size
    start = _divisor(batch, fixed or batch)
    if fixed and start != fixed:
        reasons.append(
            f"{start} rows are computed at a time, not {fixed}, so that they make up the batch of {batch} exactly."
        )
    sizes = [start] if fixed else [micro for micro in range(start, 0, -1) if batch % micro == 0]
    modes = {"on": (True,), "off": (False,), "auto": (False, True)}[training.checkpointing]
    tried = [_Layout(micro, mode) for mode in modes for micro in sizes]
    chosen = next((layout for layout in tried if need.fits(formats, layout)), None)
    if chosen is None:
        chosen = min(tried, key=lambda layout: need.bytes(formats, layout))
    if chosen.micro < start:
        rows = "1 row is" if chosen.micro == 1 else f"{chosen.micro} rows are"
        reasons.append(f"{rows} computed at a time, to save memory; an update is still made from {batch} rows.")
    if chosen.checkpointing and training.checkpointing == "auto":
        reasons.append("Gradient checkpointing is on, to save memory: a step takes about a quarter longer.")
    return chosen


def _divisor(batch: int, most: int) -> int:
    return next(size for size in range(min(batch, most), 0, -1) if batch % size == 0)


def _require_fit(spec: RunSpec, need: _Memory, formats: _Formats, layout: _Layout, reasons: list[str]) -> None:
    """Says where memory is tight; raises MachineError where it can't be enough."""
    if need.fits(formats, layout):
        return
    wanted, there = need.bytes(formats, layout), need.machine.available
    told = f"it needs about {_gigabytes(wanted)}, and {_gigabytes(there)} are free"
    if wanted > there and not spec.launch.ignore_memory:
        raise MachineError(f"This run does not fit: {told}.", _way_out(spec, need, formats, layout))
    reasons.append(f"Memory is tight: {told}. Close other programs, or choose a smaller model or shorter rows.")


def _way_out(spec: RunSpec, need: _Memory, formats: _Formats, layout: _Layout) -> str:
    """The nearest setting with which the run fits."""

    def fits(formats: _Formats, longest: int | None = None) -> bool:
        return any(need.fits(formats, _Layout(1, mode), longest) for mode in (False, True))

    if fits(formats):
        changes = ["leave 'Rows at a time' (training.micro_batch_size) empty"] if layout.micro > 1 else []
        if spec.training.checkpointing != "auto":
            changes.append("set 'Gradient checkpointing' (training.checkpointing) to auto")
        told = " and ".join(changes)
        return f"{told[0].upper()}{told[1:]}."
    least = _longest_that_fits(lambda longest: fits(formats, longest), need.lengths[0])
    if least is not None:
        return f"Set 'Longest row' (training.max_tokens) to {least} or less."
    narrower: tuple[tuple[str, Weights], ...] = (("16bit", "bfloat16"), ("8bit", "8bit"), ("4bit", "4bit"))
    for load, weights in narrower:
        allowed = load in spec.tuner.loads and not spec.tuner.trains_base
        allowed = allowed and (load == "16bit" or not no_quantisation(need.machine))
        if allowed and fits(replace(formats, weights=weights, compute=_compute_for(weights, formats.compute))):
            return f"Set 'Load weights as' (model.load) to {load}."
    if spec.tuner.trains_base:
        return "Choose a tuner that leaves the base weights as they are, such as LoRA, or a smaller model."
    wanted = min(need.bytes(formats, _Layout(1, mode)) for mode in (False, True)) / TIGHT
    return f"Choose a smaller model, or a machine with {_gigabytes(int(wanted))} of free memory."


def _compute_for(weights: Weights, compute: Compute) -> Compute:
    return "bfloat16" if weights == "bfloat16" and compute == "float32" else compute


def _longest_that_fits(fits: Callable[[int], bool], longest: int, least: int = 64) -> int | None:
    """The largest multiple of 64 below `longest` that fits; None where `least` does not."""
    low, high = least // 64, (longest - 1) // 64
    if high < low or not fits(low * 64):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * 64) else (low, middle - 1)
    return low * 64


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size < 10e9 else f"{size / 1e9:.0f} GB"


# Steps and rates


def _total_steps(spec: RunSpec, rows: int, reasons: list[str]) -> int:
    """Updates of the run, counted as transformers' Trainer counts them."""
    training = spec.training
    updates = math.ceil(rows / training.batch_size)
    total = max(1, math.ceil(training.epochs * updates))
    if training.max_steps is not None and training.max_steps < total:
        reasons.append(f"The run ends after {training.max_steps} of {total} steps, as the step limit says.")
        return training.max_steps
    return total


def _rates(spec: RunSpec, reasons: list[str]) -> tuple[float, float | None]:
    tuner, objective = spec.tuner, spec.objective
    head = objective.head_rate
    if spec.training.learning_rate is not None:
        return spec.training.learning_rate, head
    rate = tuner.base_rate * objective.rate_factor
    said = f"The learning rate is {rate:g}, which suits {tuner.title}"
    said += f"; that of the new head is {head:g}." if head is not None else "."
    reasons.append(said)
    return rate, head
