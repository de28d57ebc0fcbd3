"""What a tuner promises, which says what part of the model changes. Its module imports torch inside functions only."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from engine.bases.models import ModelFacts
from engine.method import Capability, Method
from engine.methods.ideas import Idea
from engine.methods.pooling import Reading
from engine.planning.memory import Kept
from engine.specs.sections import Data

if TYPE_CHECKING:
    import torch
    from torch import nn

    from engine.methods.objective import Objective

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
    rate_beside_head: ClassVar[float | None] = None
    """Learning rate with an objective that has a new head, where the factor is not what makes it right."""
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

    def low_rank(self, settings: Any) -> bool:
        """Whether it adds low-rank products to linear layers, and nothing else: what the fast path can compute."""
        return False

    def rate_with(self, objective: Objective) -> float:
        """The learning rate that suits it together with an objective."""
        if self.rate_beside_head is not None and objective.head_rate is not None:
            return self.rate_beside_head
        return self.base_rate * objective.rate_factor

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
        """Python source of `tune(backbone)` for the standalone script (see engine.scripts.script).

        What else it overrides is defined there, too: `rates(names)`, `step_begins(step)`, `step_ends(step)`,
        `penalty()`, and `save(backbone, folder)` where the backbone's own `save_pretrained` does not do.
        """

    @abstractmethod
    def save(self, backbone: nn.Module, folder: Path) -> None:
        """Write the result as safetensors."""

    @abstractmethod
    def restore(self, backbone: nn.Module, folder: Path) -> nn.Module:
        """The untouched `backbone` with the saved result on it, for use."""
