"""What an objective and a tuner are given, and what they promise.

An *objective* says what the model learns from: it picks the kind of model, turns examples into tokens,
supplies loss and scores. A *tuner* says what part of the model changes. Neither knows the other; whether
a pair works is decided by what they declare. Modules of both import torch inside functions only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from engine.data.example import Example
from engine.ideas import Idea
from engine.memory import SCORE_BYTES, Kept
from engine.mixture import Mixture
from engine.models import ModelFacts
from engine.plan import Plan
from engine.pooling import Reading
from engine.scores import Scores
from engine.sections import Data, Evaluate, Model, Training
from engine.settings import Section
from engine.tokens import Encoded, Tokens

if TYPE_CHECKING:
    import torch
    from torch import nn

Wants = Literal["messages", "labelled", "text"]
Capability = Literal["gradients", "answers", "class scores", "trainable base", "pooled features"]
TOLD: dict[Capability, str] = {
    "gradients": "a loss that weights can learn from",
    "answers": "answers in words",
    "class scores": "a score for each label",
    "trainable base": "base weights that may learn",
    "pooled features": "one vector for each text",
}
"""Capabilities in words for people."""


LOOP_SECTIONS = ("training", "evaluation", "output")
"""Sections of a spec that speak of the training loop, which not every kind of tuner has."""
UNROUNDED = frozenset({"auto", "32bit", "16bit"})
"""Widths of base weights (`model.load`) in which they are what they were."""
WIDTHS = UNROUNDED | {"8bit", "4bit"}
"""All of them."""
READING = frozenset(
    {
        "training.max_tokens",
        "training.seed",
        "training.precision",
        "training.micro_batch_size",
        "evaluation.max_rows",
        "evaluation.before",
        "output.webhook",
    }
)
"""Of their settings, those that matter where rows are read and nothing is updated."""
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


class Losses(Protocol):
    def __call__(self, model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of each learned position (nats, float32) and the row of the batch it is in: both (positions,)."""
        ...


class Report(Protocol):
    def __call__(self, done: int, total: int) -> None:
        """Called as work goes on, so that a person sees how far it is. Raises to stop the work."""
        ...


class Features(Protocol):
    def __call__(self, ids: torch.Tensor, mask: torch.Tensor, kinds: torch.Tensor | None = None) -> torch.Tensor:
        """Token ids, mask, and of which text each token is, (rows, tokens), to features: (rows, width), float32."""
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
    divides: ClassVar[bool] = False
    """Whether rows that are longer than the longest row become several, in place of being cut."""
    answers_to_score: ClassVar[bool] = False
    """Whether held-out rows are answered in words, one after the other, when they are scored."""
    main_metric: ClassVar[str]
    fills_slot: ClassVar[bool] = False
    """Whether it learns a word at one place of a fixed text: of a long row the text is cut then, never that word."""
    cut: ClassVar[str] = "at the end"
    """Where a row that is too long is cut, in words."""

    def mixed_in(self, settings: Any, train: list[Example], seed: int) -> list[Example]:
        """Rows that are learned beside those of the data. Needs no torch."""
        return []

    def scored_beside(self, settings: Any) -> list[Example]:
        """Rows that are scored beside the held-out ones. Needs no torch."""
        return []

    def refuses(self, facts: ModelFacts) -> str | None:
        """Why this model can't be trained so, or None."""
        if facts.kind in self.architectures:
            return None
        kinds = " or ".join(sorted(self.architectures))
        return f"{self.title} needs a model of the kind {kinds}; {facts.id} is of the kind {facts.kind}."

    def chosen(self, examples: list[Example], settings: Any, seed: int) -> list[Example]:
        """Those of a run's rows that it uses; where it takes few to learn from, the held-out ones all the same."""
        return examples

    def settled(self, settings: Any, model_folder: Path, examples: list[Example]) -> Any:
        """The settings with what only model and rows can say. Raises SettingError. Needs no torch."""
        return settings

    def models(self, settings: Any) -> list[str]:
        """Names of the models that it uses besides the one that learns, as `model.id` would name them."""
        return []

    def renamed(self, settings: Any, rename: Callable[[str], str]) -> Any:
        """The settings with other names for these models."""
        return settings

    def gathered(
        self, settings: Any, model: Model, facts: ModelFacts, folder: Path, report: Callable[[str], None]
    ) -> Any:
        """The settings with these models fetched and looked at, beside the one that learns. Before a run learns only.

        report: told in a sentence what takes time. Raises UserError where they don't go with it. Needs no torch.
        """
        return settings

    def beside(self, facts: ModelFacts, settings: Any) -> Beside | None:
        """The model that is read while the one of `facts` learns, where there is one."""
        return None

    def score_bytes(self, settings: Any) -> int:
        """Bytes that each learned position needs for each word of the vocabulary, where words are scored."""
        return SCORE_BYTES

    def remarks(self, settings: Any) -> list[str]:
        """What settled settings come to, in sentences for the plan."""
        return []

    def class_weights(self, settings: Any, labels: Sequence[str], train: Sequence[Example]) -> list[float] | None:
        """By how much a row counts while it is learned, by its label's place in `labels`. None: all rows alike."""
        return None

    def weighs(self, settings: Any) -> bool:
        """Whether `class_weights` gives some."""
        return False

    def readings(self, settings: Any) -> tuple[int, int]:
        """As how many sequences a row is read while it is learned, and while it is scored."""
        return 1, 1

    def whole(self, facts: ModelFacts) -> bool:
        """Whether a tuner is given the model with its language head, and not the body alone."""
        return "answers" in self.gives

    def beside_parameters(self, facts: ModelFacts) -> int:
        """How many parameters stand beside what a tuner is given, and never learn."""
        return 0

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

    def prepare(self, job: Job, report: Report) -> None:
        """Do what is done once, before the model that learns is loaded. Goes on where an earlier attempt was ended."""

    @abstractmethod
    def score(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
        """Answer held-out rows and score them."""

    def asked(self, example: Example) -> tuple[str, str]:
        """What `sample` goes on from, and what is expected of it, as a person reads them."""
        question = next((str(m["content"]) for m in reversed(example.prompt) if m["role"] == "user"), "")
        return question, example.answer

    def chances(self, job: Job, model: nn.Module, example: Example) -> list[tuple[str, float]]:
        """Every label with its chance for a text (or two), the likeliest first. Where there are "class scores"."""
        raise NotImplementedError

    def calibrate(self, job: Job, model: nn.Module, report: Report) -> str:
        """Make the chances hold that a model tells which has learned, by validation rows. What was done, in words."""
        return ""

    def sample(self, job: Job, model: nn.Module, example: Example) -> str | None:
        """What the model answers to one held-out row during training, or None where it gives no text."""
        return None

    def baselines(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> dict[str, Scores]:
        """Further scores of the untouched model worth knowing, by name."""
        return {}

    def baseline_count(self, evaluation: Evaluate, train: list[Example]) -> int:
        """How many scores `baselines` will give. Needs no torch."""
        return 0

    def told(self, job: Job, scores: dict[str, Scores]) -> dict[str, Any]:
        """Metrics of the whole run beside its scores, which are given by name: "before", "before, NAME", "after"."""
        return {}

    def save(self, job: Job, model: nn.Module, folder: Path) -> None:
        """Write what belongs to the objective (a head, labels) beside the tuner's files."""

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Read back what `save` wrote."""

    def take_up(self, job: Job, model: nn.Module) -> None:
        """Begin with the head of `job.start`, where there is one for the same classes."""

    def features(self, model: nn.Module, reading: Reading) -> Features:
        """What a classifier can be fitted to, read so from now on. Objectives that give "pooled features" have it."""
        raise NotImplementedError

    def set_head(self, model: nn.Module, head: nn.Module) -> nn.Module:
        """`model` with a fitted head, features → class scores, in place of its own. With `features` only."""
        raise NotImplementedError


class Tuner(Method):
    choose: ClassVar[str] = ""
    """When to choose it, in a sentence or two that begin with "Choose it"."""
    idea: ClassVar[Idea] = "small additions"
    """How much of the model changes: under which heading it is offered."""
    family: ClassVar[str] = ""
    """Under which heading of its idea it is folded, where it is not `usual`."""
    kind: ClassVar[Literal["gradient", "fit", "merge"]] = "gradient"
    needs: ClassVar[frozenset[Capability]] = frozenset({"gradients"})
    base_rate: ClassVar[float]
    """Learning rate that suits this tuner before the objective's factor."""
    loads: ClassVar[frozenset[str]] = UNROUNDED
    """Widths of the base weights that it can stand on."""
    trains_base: ClassVar[bool] = False
    """Whether the base weights themselves change (and so need float32 or master weights)."""
    adds: ClassVar[bool] = True
    """Whether what learns is added to the base's weights, and not a part of them."""
    packs: ClassVar[bool] = True
    """Whether several examples may share a sequence."""
    unmergeable: ClassVar[str] = ""
    """Why its result can't become part of the base's own weights; empty where it can."""
    added_file: ClassVar[str] = ""
    """The file of a result that holds what learned, by the names that it has while it learns."""
    works: ClassVar[str] = ""
    """How it works, in a sentence for the plan, where it makes no updates."""
    once: ClassVar[str] = ""
    """Why a run can't go on with what another one added; empty where it can."""
    may_differ: ClassVar[frozenset[str]] = frozenset()
    """Settings that need not be the same where a run goes on with what another one added."""
    uses: ClassVar[frozenset[str] | None] = None
    """Of the settings of `LOOP_SECTIONS`, those that do something with this tuner, by dotted name; None: all."""

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        return None

    def unweighable(self, settings: Any) -> str:
        """Why some rows can't count more than others while it learns; empty where they can."""
        return ""

    def once_with(self, settings: Any) -> str:
        """`once`, for a run with these settings."""
        return self.once

    def runs(self, settings: Any) -> list[str]:
        """Ids of the runs whose results it uses."""
        return []

    def with_data(self, settings: Any, data: list[Data]) -> Any:
        """The settings with what follows from the run's data sets."""
        return settings

    def defaults(self, sets: int = 1) -> Any:
        """Its settings where nobody chose any, for a run of so many data sets."""
        return self.with_data(self.Settings(), [Data(source=f"data set {number}") for number in range(1, sets + 1)])

    def tasks(self, settings: Any) -> list[str]:
        """Names of the tasks that it tells apart, one for each data set; none where it doesn't."""
        return []

    def tell(self, backbone: nn.Module, tasks: list[int]) -> None:
        """Of which task each row is that comes next, or one for all; `backbone` may be the untouched one."""

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

    def learns(self, facts: ModelFacts, settings: Any) -> dict[str, int]:
        """How many parameters learn at each place, from the model's shapes alone; nothing where none learn.

        A place is the name of a tensor or module of the loaded model, or `depth.INPUT`. Needs no torch.
        """
        return {}

    def trainable_parameters(self, facts: ModelFacts, settings: Any) -> int:
        """How many of the model's parameters, or added to them, will learn. Needs no torch."""
        return sum(self.learns(facts, settings).values())

    def frozen_parameters(self, facts: ModelFacts, settings: Any) -> int:
        """How many parameters it adds besides that stay as they begin."""
        return 0

    def saved_parameters(self, facts: ModelFacts, settings: Any) -> int:
        """How many numbers its result will hold."""
        return self.trainable_parameters(facts, settings) + self.frozen_parameters(facts, settings)

    def joins(self, facts: ModelFacts, settings: Any) -> dict[int, float]:
        """From which share of the run on a layer learns, by its number from below, where layers join one by one."""
        return {}

    def reads(self, facts: ModelFacts, settings: Any) -> range:
        """The layers, numbered from below, whose outputs a tuner of the kind "fit" learns from."""
        return range(0)

    def kept(self, facts: ModelFacts, settings: Any, width: int) -> Kept:
        """What its own work holds in memory while it learns, where the arithmetic has so many bytes a number."""
        return Kept()

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
        told = " and ".join(TOLD[name] for name in missing)
        return f"{tuner.title} needs {told}, which {objective.title} does not give."
    return None
