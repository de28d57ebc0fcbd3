"""What an objective and a tuner are given, and what they promise.

An *objective* says what the model learns from: it picks the kind of model, turns examples into tokens,
supplies loss and scores. A *tuner* says what part of the model changes. Neither knows the other; whether
a pair works is decided by what they declare. Modules of both import torch inside functions only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from engine.data.example import Example
from engine.models import ModelFacts
from engine.plan import Plan
from engine.pooling import Reading
from engine.sections import Evaluate, Model, Training
from engine.settings import Section
from engine.tokens import Encoded, Tokens

if TYPE_CHECKING:
    import torch
    from torch import nn

Wants = Literal["messages", "labelled"]
Capability = Literal["gradients", "answers", "class scores", "trainable base", "pooled features"]


LOOP_SECTIONS = ("training", "evaluation", "output")
"""Sections of a spec that speak of the training loop, which not every kind of tuner has."""
CHUNK_OF_BATCHES = 8
"""Rows are sorted by length within this many batches: little padding, and batches stay well mixed."""


class Method(ABC):
    """What objectives and tuners have in common: how they are named, explained and ordered."""

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    paper: ClassVar[str] = ""
    order: ClassVar[int] = 100
    recommended: ClassVar[bool] = False
    usual: ClassVar[bool] = False
    """Whether it is one of the few that are in sight at once, where there are many."""
    family: ClassVar[str] = ""
    """Under which heading it is offered, where there are several."""
    Settings: ClassVar[type[Section]]


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


@dataclass(frozen=True)
class ScoredRow:
    """One held-out row, answered. `score` is 1 for right, 0 for wrong, or between; `loss` in nats a token."""

    row: int
    prompt: str
    expected: str
    answer: str
    score: float
    loss: float | None = None


@dataclass(frozen=True)
class Scores:
    """`metrics` are shares (0 to 1) or nats; `main` names the one that counts."""

    main: str
    metrics: dict[str, float]
    rows: list[ScoredRow]


class Losses(Protocol):
    def __call__(self, model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of each learned position (nats, float32) and the row of the batch it is in: both (positions,)."""
        ...


class Report(Protocol):
    def __call__(self, done: int, total: int) -> None:
        """Called as work goes on, so that a person sees how far it is. Raises to stop the work."""
        ...


class Features(Protocol):
    def __call__(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids and mask, (rows, tokens), to features: (rows, width), float32."""
        ...


class Objective(Method):
    wants: ClassVar[Wants]
    architectures: ClassVar[frozenset[str]]
    """Kinds of models it works on: "decoder", "encoder"."""
    gives: ClassVar[frozenset[Capability]]
    rate_factor: ClassVar[float] = 1.0
    """Multiplies the tuner's base learning rate."""
    head_rate: ClassVar[float | None] = None
    """Learning rate of a head that starts from nothing, where the objective has one."""
    packs: ClassVar[bool] = False
    """Whether several examples may share a sequence."""
    main_metric: ClassVar[str]

    def refuses(self, facts: ModelFacts) -> str | None:
        """Why this model can't be trained so, or None."""
        if facts.kind in self.architectures:
            return None
        kinds = " or ".join(sorted(self.architectures))
        return f"{self.title} needs a model of the kind {kinds}; {facts.id} is of the kind {facts.kind}."

    @abstractmethod
    def encode(self, example: Example, tokens: Tokens, settings: Any, max_tokens: int) -> Encoded:
        """Token ids of an example and which of them are learned. Needs no torch."""

    @abstractmethod
    def load(self, job: Job) -> nn.Module:
        """The model with its head, weights loaded, nothing trainable decided yet. Has `backbone` (see `backbone`)."""

    def backbone(self, model: nn.Module) -> nn.Module:
        """The part of `model` that a tuner changes: the Hub model itself."""
        return model

    def set_backbone(self, model: nn.Module, backbone: nn.Module) -> nn.Module:
        """`model` with its tuner-wrapped backbone in place."""
        return backbone

    def head(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Parameters that belong to the objective and always learn."""
        return {}

    def head_parameters(self, facts: ModelFacts, classes: int) -> int:
        """How many parameters `head` will have. Needs no torch."""
        return 0

    @abstractmethod
    def trainer(self) -> tuple[type, type, dict[str, Any]]:
        """The Trainer class, its arguments class, and arguments it needs besides the plan's."""

    @abstractmethod
    def script(self, job: Job) -> str:
        """Source of `load`, `encode`, `losses` and `positions` for the standalone script (see engine.script)."""

    @abstractmethod
    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        """What the trainer's data set holds for an example: "input_ids" and "labels" (-100: nothing learned)."""

    @abstractmethod
    def batch(self, job: Job, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Collate rows into tensors. "labels" has one entry other than -100 for each learned position."""

    @abstractmethod
    def losses(self, job: Job) -> Losses:
        """The loss function of this run."""

    @abstractmethod
    def score(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
        """Answer held-out rows and score them."""

    def sample(self, job: Job, model: nn.Module, example: Example) -> str | None:
        """What the model answers to one held-out row during training, or None where it gives no text."""
        return None

    def baselines(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> dict[str, Scores]:
        """Further scores of the untouched model worth knowing, by name."""
        return {}

    def baseline_count(self, evaluation: Evaluate, train: list[Example]) -> int:
        """How many scores `baselines` will give. Needs no torch."""
        return 0

    def save(self, job: Job, model: nn.Module, folder: Path) -> None:
        """Write what belongs to the objective (a head, labels) beside the tuner's files."""

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Read back what `save` wrote."""

    def features(self, model: nn.Module, reading: Reading) -> Features:
        """What a classifier can be fitted to, read so from now on. Objectives that give "pooled features" have it."""
        raise NotImplementedError

    def set_head(self, model: nn.Module, head: nn.Module) -> nn.Module:
        """`model` with a fitted head, features → class scores, in place of its own. With `features` only."""
        raise NotImplementedError


class Tuner(Method):
    kind: ClassVar[Literal["gradient", "fit", "search"]] = "gradient"
    needs: ClassVar[frozenset[Capability]] = frozenset({"gradients"})
    base_rate: ClassVar[float]
    """Learning rate that suits this tuner before the objective's factor."""
    loads: ClassVar[frozenset[str]] = frozenset({"auto", "32bit", "16bit"})
    """Widths of the base weights that it can stand on."""
    trains_base: ClassVar[bool] = False
    """Whether the base weights themselves change (and so need float32 or master weights)."""
    adds: ClassVar[bool] = True
    """Whether what learns is added to the base's weights, and not a part of them."""
    packs: ClassVar[bool] = True
    """Whether several examples may share a sequence."""
    unmergeable: ClassVar[str] = ""
    """Why its result can't become part of the base's own weights; empty where it can."""
    uses: ClassVar[frozenset[str] | None] = None
    """Of the settings of `LOOP_SECTIONS`, those that do something with this tuner, by dotted name; None: all."""

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        return None

    def virtual_tokens(self, settings: Any) -> int:
        """How many tokens it puts before each row, which take room and time as real ones do."""
        return 0

    def ignores(self, setting: str) -> bool:
        """Whether a run's setting (such as "training.epochs") does nothing with this tuner."""
        if self.uses is None or setting.partition(".")[0] not in LOOP_SECTIONS:
            return False
        return setting not in self.uses

    def held_layers(self, facts: ModelFacts, settings: Any) -> int:
        """Of how many layers the output is held while a row is read, where nothing is kept for a backward pass."""
        return 0

    def reading(self, settings: Any, model_folder: Path) -> Reading:
        """Which vectors of the model a tuner of the kind "fit" learns from."""
        raise NotImplementedError

    def learning(self, facts: ModelFacts) -> str:
        """What learns, in a sentence, where that is no weight of the model; else empty."""
        return ""

    @abstractmethod
    def trainable_parameters(self, facts: ModelFacts, settings: Any) -> int:
        """How many of the model's parameters, or added to them, will learn: from its shapes alone. Needs no torch."""

    def frozen_parameters(self, facts: ModelFacts, settings: Any) -> int:
        """How many parameters it adds besides that stay as they begin."""
        return 0

    @abstractmethod
    def apply(self, backbone: nn.Module, settings: Any, seed: int) -> nn.Module:
        """The backbone with only this tuner's parameters trainable."""

    def settled(self, settings: Any, model_folder: Path) -> Any:
        """The settings with what only the model's files can say. Raises SettingError. Needs no torch."""
        return settings

    def rates(self, names: Iterable[str], settings: Any) -> dict[str, float]:
        """How many times as fast as the run's learning rate a parameter of the backbone learns, where it is not 1."""
        return {}

    def step_begins(self, backbone: nn.Module, settings: Any, step: int, total: int) -> None:
        """Called before each update (`step` from 0), for tuners that change with time. Depends on `step` alone."""

    def step_ends(self, backbone: nn.Module, settings: Any, step: int, total: int) -> None:
        """Called after each update (`step` from 0), while its gradients are there. May depend on `state` as well."""

    def penalty(self, backbone: nn.Module, settings: Any) -> torch.Tensor | None:
        """What is lowered along with the loss of the rows, once an update. The loss that people see is without it."""
        return None

    def state(self, backbone: nn.Module) -> dict[str, torch.Tensor]:
        """What a checkpoint must hold besides the weights that learn."""
        return {}

    def set_state(self, backbone: nn.Module, state: dict[str, torch.Tensor]) -> None:
        """Take up what `state` gave."""

    @abstractmethod
    def script(self, settings: Any) -> str:
        """Python source of `tune(backbone)` for the standalone script (see engine.script).

        What else it overrides is defined there, too: `rates(names)`, `step_begins(step)`, `step_ends(step)`,
        `penalty()`, and `save(backbone, folder)` where the backbone's own `save_pretrained` does not do.
        """

    @abstractmethod
    def save(self, backbone: nn.Module, folder: Path) -> None:
        """Write the result as safetensors."""

    @abstractmethod
    def restore(self, backbone: nn.Module, folder: Path) -> nn.Module:
        """The untouched `backbone` with the saved result on it, for use."""


def pair_refusal(objective: Objective, tuner: Tuner) -> str | None:
    """Which capability is missing for this pair to work, or None."""
    missing = sorted(tuner.needs - objective.gives)
    if missing:
        return f"{tuner.title} needs {', '.join(missing)}, which {objective.title} does not give."
    return None
