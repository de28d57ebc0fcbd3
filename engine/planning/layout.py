"""Finds how many rows are computed at once, so that a run fits this machine's memory; or says what would fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace

from engine.bases.architecture import scores_as_they_are
from engine.bases.models import ModelFacts
from engine.errors import MachineError
from engine.machine import Machine
from engine.planning import memory, paths
from engine.planning.number_formats import Compute, Formats, Weights, no_quantisation
from engine.planning.plan import MemoryPart
from engine.specs import optimizers
from engine.specs.optimizers import Optimizer
from engine.specs.spec import RunSpec

TIGHT = 0.85
"""Share of the free memory above which a run may fail."""
SMALLEST_TEACHER = 10e6
"""Weights; where there is no room for so many, no teacher is worth naming."""


@dataclass(frozen=True)
class Layout:
    """What the search for a fit changes."""

    micro: int
    level: int
    """Of recomputing, see `engine.planning.paths`."""

    @property
    def checkpointing(self) -> bool:
        return self.level == paths.ALL


class Need:
    """Predicts the peak of a run for a layout, with the longest rows together."""

    def __init__(
        self,
        spec: RunSpec,
        facts: ModelFacts,
        machine: Machine,
        lengths: Sequence[int],
        learned: Sequence[int] | None,
        optimizer: Optimizer = "adamw",
        path: paths.ComputingPath = "generic",
    ) -> None:
        self.path: paths.ComputingPath = path
        self.spec, self.facts, self.machine = spec, facts, machine
        # Where nobody knows how much of a row is learned, all of it may be.
        counted = learned if learned is not None else lengths
        self.counts = (lengths, counted)
        self.own = spec.objective.own(spec.objective_settings)
        if self.own:
            lengths, counted = self.own.longest(lengths, counted, spec.longest_row(facts))
        self.lengths, self.learned = sorted(lengths, reverse=True), sorted(counted, reverse=True)
        self.trained = spec.tuner.trainable_parameters(facts, spec.tuner_settings)
        self.trained += spec.objective.learning_beside(facts, spec.objective_settings)
        self.optimizer = optimizer

    @property
    def levels(self) -> tuple[int, ...]:
        return paths.LEVELS[self.path]

    def with_optimizer(self, optimizer: Optimizer) -> Need:
        """The same run, updated by another optimizer."""
        found = copy(self)
        found.optimizer = optimizer
        return found

    def fits(self, formats: Formats, layout: Layout, longest: int | None = None) -> bool:
        """Whether it fits with room to spare."""
        return self.bytes(formats, layout, longest) <= TIGHT * self.machine.available

    def bytes(self, formats: Formats, layout: Layout, longest: int | None = None) -> int:
        return sum(part.bytes for part in self.parts(formats, layout, longest))

    def parts(self, formats: Formats, layout: Layout, longest: int | None = None) -> list[MemoryPart]:
        """`longest` cuts the rows to this many tokens."""
        cut = longest or self.lengths[0]
        rows = min(layout.micro, len(self.lengths))
        more = self.spec.objective.tokens_beside(self.spec.objective_settings)
        widest = min(self.lengths[0], cut) + self.spec.tuner.virtual_tokens(self.spec.tuner_settings) + more
        if self.spec.tuner.kind != "gradient":
            return self._reading(formats, rows, widest)
        tokens = sum(min(length, cut) for length in self.lengths[:rows]) if formats.packing else rows * widest
        answers = "answers" in self.spec.objective.gives
        learned = sum(min(count, cut) + more for count in self.learned[:rows])
        if self.spec.objective.scores_in_parts and scores_as_they_are(self.facts.config):
            learned = min(learned, memory.positions_at_once(self.facts.vocabulary))
        width = memory.WIDTH[formats.compute]
        beside = self.spec.objective.beside(self.facts, self.spec.objective_settings)
        return memory.predict(
            memory.Work(
                facts=self.facts,
                device=self.machine.device,
                compute=formats.compute,
                weights=formats.weights,
                trained=self.trained,
                trains_base=self.spec.tuner.trains_base,
                checkpointing=layout.checkpointing,
                level=layout.level if self.path == "fast" and paths.holds(formats) else None,
                rows=rows,
                tokens=tokens,
                longest=widest,
                learned=learned if self.spec.objective.scores_words(self.facts) else 0,
                generates=answers,
                scored=self.spec.evaluation.max_rows,
                writes=self.spec.training.batch_size if self.own else 0,
                frozen=self.spec.tuner.frozen_parameters(self.facts, self.spec.tuner_settings),
                accumulates=layout.micro < self.spec.training.batch_size // self.spec.launch.processes,
                moments=optimizers.moments_bytes(self.optimizer, self._places()),
                kept=self.spec.tuner.kept(self.facts, self.spec.tuner_settings, width),
                score_bytes=self.spec.objective.score_bytes(self.spec.objective_settings),
                beside=beside.facts if beside else None,
                beside_each_step=beside is not None and beside.each_step,
            )
        )

    def _places(self) -> list[tuple[str, int]]:
        """How many parameters learn at each place; at one of no name, what has none."""
        places = list(self.spec.tuner.learns(self.facts, self.spec.tuner_settings).items())
        return [*places, ("", self.trained - sum(count for _, count in places))]

    def _reading(self, formats: Formats, rows: int, widest: int) -> list[MemoryPart]:
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
                generates="answers" in self.spec.objective.gives,
            ),
            all_rows=len(self.lengths) if self.spec.tuner.kind == "fit" else 0,
            held_layers=self.spec.tuner.held_layers(self.facts, self.spec.tuner_settings),
        )


def find_layout(spec: RunSpec, need: Need, formats: Formats, reasons: list[str]) -> Layout:
    """The largest micro-batch that fits well, and checkpointing only where nothing else helps."""
    training = spec.training
    whole, processes = training.batch_size, spec.launch.processes
    batch = whole // processes
    fixed = training.micro_batch_size
    start = _divisor(batch, fixed or batch)
    if fixed and start != fixed:
        reasons.append(
            f"{start} rows are computed at a time, not {fixed}, so that they make up the batch of {whole} exactly."
        )
    sizes = [start] if fixed else [micro for micro in range(start, 0, -1) if batch % micro == 0]
    levels = {"on": (paths.ALL,), "off": (0,), "auto": need.levels}[training.checkpointing]
    tried = [Layout(micro, level) for level in levels for micro in sizes]
    chosen = next((layout for layout in tried if need.fits(formats, layout)), None)
    if chosen is None:
        chosen = min(tried, key=lambda layout: need.bytes(formats, layout))
    if chosen.micro < start:
        rows = "1 row is" if chosen.micro == 1 else f"{chosen.micro} rows are"
        reasons.append(f"{rows} computed at a time, to save memory; an update is still made from {whole} rows.")
    if chosen.level and training.checkpointing == "auto":
        reasons.append(paths.told(need.path, chosen.level))
    return chosen


def _divisor(batch: int, most: int) -> int:
    return next(size for size in range(min(batch, most), 0, -1) if batch % size == 0)


def require_fit(spec: RunSpec, need: Need, formats: Formats, layout: Layout, reasons: list[str]) -> None:
    """Says where memory is tight; raises MachineError where it can't be enough."""
    if need.fits(formats, layout):
        return
    wanted, there = need.bytes(formats, layout), need.machine.available
    told = f"it needs about {_gigabytes(wanted)}, and {_gigabytes(there)} are free"
    if wanted > there and not spec.launch.ignore_memory:
        raise MachineError(f"This run does not fit: {told}.", _way_out(spec, need, formats, layout))
    teacher = spec.objective.beside(need.facts, spec.objective_settings)
    smaller = "a smaller model, a smaller teacher or" if teacher else "a smaller model or"
    reasons.append(f"Memory is tight: {told}. Close other programs, or choose {smaller} shorter rows.")


def _way_out(spec: RunSpec, need: Need, formats: Formats, layout: Layout) -> str:
    """The nearest setting with which the run fits."""

    def fits(formats: Formats, longest: int | None = None) -> bool:
        return any(need.fits(formats, Layout(1, level), longest) for level in (0, paths.ALL))

    if fits(formats):
        changes = ["leave 'Rows at a time' (training.micro_batch_size) empty"] if layout.micro > 1 else []
        if spec.training.checkpointing != "auto":
            changes.append("set 'Gradient checkpointing' (training.checkpointing) to auto")
        told = " and ".join(changes)
        return f"{told[0].upper()}{told[1:]}."
    for lighter in filter(None, [spec.objective.lighter(spec.objective_settings)]):
        settings, way = lighter
        less = Need(
            replace(spec, objective_settings=settings),
            need.facts,
            need.machine,
            *need.counts,
            need.optimizer,
            need.path,
        )
        if any(less.fits(formats, Layout(1, level)) for level in (0, paths.ALL)):
            return way
    if _saves_moments(need) and any(
        need.with_optimizer("adamw-8bit").fits(formats, Layout(1, level)) for level in (0, paths.ALL)
    ):
        return "Set 'Optimizer' (training.optimizer) to adamw-8bit."
    least = _longest_that_fits(lambda longest: fits(formats, longest), need.lengths[0])
    if least is not None:
        return f"Set 'Longest row' (training.max_tokens) to {least} or less."
    narrower: tuple[tuple[str, Weights], ...] = (("16bit", "bfloat16"), ("8bit", "8bit"), ("4bit", "4bit"))
    for load, weights in narrower:
        allowed = load in spec.tuner.loads and not spec.tuner.trains_base
        allowed = allowed and (load == "16bit" or not no_quantisation(need.machine))
        if allowed and fits(replace(formats, weights=weights, compute=_compute_for(weights, formats.compute))):
            return f"Set 'Load weights as' (model.load) to {load}."
    teacher = _smaller_teacher(need, formats)
    if teacher:
        return teacher
    if spec.tuner.trains_base:
        return "Choose a tuner that leaves the base weights as they are, such as LoRA, or a smaller model."
    wanted = min(need.bytes(formats, Layout(1, level)) for level in (0, paths.ALL)) / TIGHT
    return f"Choose a smaller model, or a machine with {_gigabytes(int(wanted))} of free memory."


def _smaller_teacher(need: Need, formats: Formats) -> str:
    """How large a teacher may be, where one is read and the rest has room for any; else nothing."""
    if not need.spec.objective.beside(need.facts, need.spec.objective_settings):
        return ""
    layouts = [need.parts(formats, Layout(1, level)) for level in (0, paths.ALL)]
    rest = min(sum(part.bytes for part in parts if part.name != memory.TEACHER) for parts in layouts)
    weights = (TIGHT * need.machine.available - rest) / memory.WIDTH[formats.compute]
    if weights < SMALLEST_TEACHER:
        return ""
    most = f"{weights / 1e9:.1f} billion" if weights >= 1e9 else f"{weights / 1e6:.0f} million"
    return f"Choose a smaller teacher: beside this model there is room for one of about {most} weights."


def _saves_moments(need: Need) -> bool:
    """Whether averages in 8 bits can be had here and would be smaller."""
    return need.optimizer == "adamw" and not optimizers.missing("adamw-8bit", need.machine)


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
