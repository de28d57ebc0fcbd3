"""One run's work (a job), and what is called with it. Shapes and choices are fixed in it, once. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from engine.bases.models import ModelFacts
from engine.data.example import Example
from engine.data.mixture import Mixture
from engine.data.scale import Scale
from engine.methods.tuner import Tuner
from engine.planning.plan import Plan
from engine.specs.sections import Evaluate, Model, Training
from engine.texts.tokens import Encoded, Tokens

if TYPE_CHECKING:
    import torch
    from torch import nn

    from engine.methods.objective import Objective

CHUNK_OF_BATCHES = 8
"""Rows are sorted by length within this many batches: little padding, and batches stay well mixed."""


@dataclass(frozen=True)
class Job:
    """One run's work, ready to be done. Shapes and choices are fixed here, once."""

    folder: Path
    """The run folder."""
    objective: Objective
    tuner: Tuner
    model: Model
    model_folder: Path
    facts: ModelFacts
    tokens: Tokens
    examples: dict[str, list[Example]]
    """By split: train, validation, test."""
    objective_settings: Any
    tuner_settings: Any
    training: Training
    evaluation: Evaluate
    plan: Plan
    encoded: dict[str, list[Encoded]] = field(default_factory=dict, repr=False)
    """By split, beside `examples`."""
    labels: list[str] = field(default_factory=list)
    """The classes of a labelled data set, sorted; a class's number is its place here."""
    heads: list[int] = field(default_factory=list)
    """How many of `labels`, in their order, are those of each data set, where each has a head of its own; else empty.

    A label is then the same as one of another set in its name alone.
    """
    sets: list[str] = field(default_factory=list)
    """Names of the run's data sets, where there are several."""
    mixture: Mixture | None = None
    """What a pass reads; None where that is every row once."""
    start: Path | None = None
    """The result that learning goes on from: its head, and with `model.continued` what was added there."""

    @cached_property
    def pairs(self) -> bool:
        """Whether its rows are pairs of texts, which are read together."""
        return any(example.second for rows in self.examples.values() for example in rows)

    @cached_property
    def class_weights(self) -> list[float] | None:
        """By how much rows count while they are learned; see `Objective.class_weights`. With heads, in each alone."""
        train = self.examples["train"]
        found: list[float] = []
        for source in range(max(1, len(self.heads))):
            own = [row for row in train if row.source == source] if self.heads else train
            labels = [self.labels[place] for place in self.span(source)]
            weights = self.objective.class_weights(self.objective_settings, labels, own)
            if weights is None:
                return None
            found += weights
        return found

    @cached_property
    def scale(self) -> Scale:
        """Mean and deviation of the numbers to learn from, of a run that learns numbers."""
        return Scale.of([example.number for example in self.examples["train"] if example.number is not None])

    def span(self, source: int) -> range:
        """Places in `labels` of those that a row of this data set can have."""
        if not self.heads:
            return range(len(self.labels))
        first = sum(self.heads[:source])
        return range(first, first + self.heads[source])

    def place(self, label: str, source: int) -> int:
        """The number of the class that a label is in this data set; -1 for one that was not learned."""
        return next((place for place in self.span(source) if self.labels[place] == label), -1)

    @property
    def goes_on(self) -> bool:
        """Whether what another run added goes on learning."""
        return self.start is not None and self.model.continued


@dataclass(frozen=True)
class Beside:
    """Another model that is read while one learns."""

    facts: ModelFacts
    each_step: bool = True
    """Whether it is read at each step; else it has read all rows, and is gone, before the first."""
    is_scored: bool = True
    """Whether it answers the held-out rows, too."""
    writes: int = 0
    """Tokens of an answer that it writes to each row before training, at most; 0 where it writes none."""
    reads_first: bool = False
    """Whether it has read all rows before the first step, too, where it is read at each step."""


class Losses(Protocol):
    def __call__(self, model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of each learned position (nats, float32) and the row of the batch it is in: both (positions,)."""
        ...


class Stopped(Exception):
    """The person asked to stop, and nothing is left to be saved."""


class Report(Protocol):
    def __call__(self, done: int, total: int) -> None:
        """Called as work goes on, so that a person sees how far it is. Raises to stop the work."""
        ...


class Features(Protocol):
    def __call__(self, ids: torch.Tensor, mask: torch.Tensor, kinds: torch.Tensor | None = None) -> torch.Tensor:
        """Token ids, mask, and of which text each token is, (rows, tokens), to features: (rows, width), float32."""
        ...
