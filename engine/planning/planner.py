"""Decides how a run is computed on this machine: device, formats, micro-batch, steps and rates. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from engine.bases.models import ModelFacts
from engine.errors import SettingError
from engine.machine import Machine
from engine.methods.tuner import LOOP_SECTIONS
from engine.planning import memory, number_formats, paths, stacking
from engine.planning.layout import Layout, Need, find_layout, require_fit
from engine.planning.number_formats import Formats
from engine.planning.plan import Plan
from engine.settings import describe
from engine.specs import optimizers
from engine.specs.spec import RunSpec

CHECKS = 4
"""How often held-out loss is measured in a run, where nothing else is wanted."""


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
    _require_beside(spec, facts, max(lengths))
    reasons = [*machine.notices, *stacking.told(spec), *spec.objective.remarks(spec.objective_settings)]
    reasons += _told_apart(spec) + _weighed(spec)
    reasons += filter(None, [spec.objective.weak_with(facts, spec.objective_settings)])
    if facts.made_of:
        reasons.append(f"The model is made of {facts.layers} of the {facts.made_of} layers of {facts.id}.")
    machine = _divided(spec, machine, reasons)
    formats = number_formats.choose(spec, machine, reasons)
    need = Need(spec, facts, machine, lengths, learned, path=paths.choose(spec, facts, formats, reasons))
    if spec.tuner.kind != "gradient":
        return _plan_without_updates(spec, need, formats, reasons)
    need, layout, told = _fitted(spec, need, formats)
    reasons += told
    require_fit(spec, need, formats, layout, reasons)
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
        accumulation=spec.training.batch_size // spec.launch.processes // layout.micro,
        path=need.path,
        recompute=layout.level,
        processes=spec.launch.processes,
        total_steps=total,
        warmup_steps=min(total - 1, math.ceil(total * spec.training.warmup)),
        evaluate_every=spec.evaluation.every_steps or max(1, math.ceil(total / CHECKS)),
        learning_rate=rate,
        head_rate=head_rate,
        threads=threads,
        memory=need.parts(formats, layout),
        memory_available=machine.available,
        reasons=reasons,
        optimizer=need.optimizer,
    )


def _divided(spec: RunSpec, machine: Machine, reasons: list[str]) -> Machine:
    """What of the machine one process has, where several learn together. Raises SettingError where they can't."""
    count, batch = spec.launch.processes, spec.training.batch_size
    if count == 1 or spec.tuner.kind != "gradient":
        return machine
    named = f"Processes (launch.processes) is {count}"
    if machine.device == "mps" or (machine.device == "cuda" and len(machine.gpus) < count):
        there = "one GPU" if machine.device == "mps" or len(machine.gpus) == 1 else f"{len(machine.gpus)} GPUs"
        raise SettingError([f"{named}; this machine has {there}."], "Choose as many as there are GPUs, or fewer.")
    if machine.device == "cpu" and count > machine.cores:
        cores = "one core" if machine.cores == 1 else f"{machine.cores} cores"
        raise SettingError([f"{named}; this machine has no GPU and {cores}."], "Choose 1: more would be no faster.")
    if batch % count:
        raise SettingError(
            [f"{named}; a batch of {batch} rows (training.batch_size) can't be shared out equally among them."],
            "Choose a batch size that is a multiple of it.",
        )
    if machine.device == "cuda":
        reasons.append(f"{count} GPUs learn together: each computes {batch // count} of the {batch} rows of an update.")
        return machine
    reasons.append(
        f"{count} processes learn together, each with a part of the processor's cores and {batch // count} of the "
        f"{batch} rows of an update. On one processor that is no faster."
    )
    return replace(
        machine,
        cores=max(1, machine.cores // count),
        memory_available=machine.memory_available // count,
    )


def _fitted(spec: RunSpec, need: Need, formats: Formats) -> tuple[Need, Layout, list[str]]:
    """Optimizer and layout, with the reasons for them. 8-bit averages unasked only where nothing else fits a GPU."""
    wanted, machine, told = spec.training.optimizer, need.machine, list[str]()
    need = need.with_optimizer(optimizers.choose(wanted, machine, told))
    layout = find_layout(spec, need, formats, told)
    may_narrow = wanted == "auto" and machine.device == "cuda" and not optimizers.missing("adamw-8bit", machine)
    if need.fits(formats, layout) or not may_narrow:
        return need, layout, told
    less: list[str] = []
    smaller = need.with_optimizer(optimizers.choose("adamw-8bit", machine, less))
    found = find_layout(spec, smaller, formats, less)
    return (smaller, found, less) if smaller.fits(formats, found) else (need, layout, told)


def _plan_without_updates(spec: RunSpec, need: Need, formats: Formats, reasons: list[str]) -> Plan:
    """The plan of a run that only reads rows: to fit a classifier to what it read, or to score what it merges."""
    rows = spec.training.micro_batch_size or memory.rows_at_once(need.lengths[0])
    layout = Layout(min(rows, len(need.lengths)), level=0)
    require_fit(spec, need, formats, layout, reasons)
    reasons.append(spec.tuner.works)
    parts = len(spec.tuner.runs(spec.tuner_settings))
    reasons += _ignored(spec)
    return Plan(
        device=need.machine.device,
        compute=formats.compute,
        weights=formats.weights,
        packing=False,
        checkpointing=False,
        micro_batch=layout.micro,
        accumulation=1,
        total_steps=parts + 1 if parts else math.ceil(len(need.lengths) / layout.micro),
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


def _told_apart(spec: RunSpec) -> list[str]:
    """How a classifier learns several data sets, where not as one."""
    if len(spec.data) < 2:
        return []
    told = []
    if spec.objective.separates(spec.objective_settings):
        told.append("Each data set has a head, and labels, of its own; the model below is shared.")
    if spec.objective.prefixed(spec.objective_settings):
        told.append("Each text is read with the name of its data set before it.")
    return told


def _weighed(spec: RunSpec) -> list[str]:
    """A sentence for labels that don't count alike."""
    if not spec.objective.weighs(spec.objective_settings):
        return []
    if spec.tuner.kind == "merge":
        return ["Class weights do nothing here, where nothing learns."]
    told = "Rows of rare labels count more than others while it learns (class weights)."
    return [f"{told} Scores and held-out loss count all rows alike."]


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


def _require_beside(spec: RunSpec, facts: ModelFacts, longest: int) -> None:
    """A model that is read beside has to be able to read the rows, too."""
    beside = spec.objective.beside(facts, spec.objective_settings)
    if beside and not beside.writes and beside.facts.context and longest > beside.facts.context:
        raise SettingError(
            [f"The longest row has {longest} tokens; {beside.facts.id} reads at most {beside.facts.context}."],
            f"Set 'Longest row' (training.max_tokens) to {beside.facts.context}; longer rows are then cut.",
        )


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
    head = objective.rate_of_head(spec.objective_settings)
    if spec.training.learning_rate is not None:
        return spec.training.learning_rate, head
    rate = tuner.rate_with(objective)
    said = f"The learning rate is {rate:g}, which suits {tuner.title}"
    said += f"; that of the new head is {head:g}." if head is not None else "."
    reasons.append(said)
    return rate, head
