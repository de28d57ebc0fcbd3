"""What an objective promises.

An *objective* says what the model learns from: it picks the kind of model, turns examples into tokens,
supplies loss and scores. A *tuner* (`engine.methods.tuner`) says what part of the model changes. Neither knows the
other; whether a pair works is decided by what they declare. Modules of both import torch inside functions only.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engine.bases.models import ModelFacts
from engine.data.example import Example
from engine.judging.scores import Marked, Scores
from engine.method import TOLD, AskedKind, Capability, Method, Wants
from engine.methods.job import Beside, Features, Job, Losses, Report
from engine.methods.pooling import Reading
from engine.methods.tuner import Tuner
from engine.planning.memory import SCORE_BYTES
from engine.specs.sections import Evaluate, Model
from engine.teachers.own_answers import Own
from engine.texts.tokens import Encoded, Tokens

if TYPE_CHECKING:
    import torch
    from torch import nn


class Objective(Method):
    wants: ClassVar[Wants]
    architectures: ClassVar[frozenset[str]]
    """Kinds of models it works on: "decoder", "encoder"."""
    gives: ClassVar[frozenset[Capability]]
    family: ClassVar[str] = ""
    """Under what the page folds it with its like; empty for those that are in sight."""
    rate_factor: ClassVar[float] = 1.0
    """Multiplies the tuner's base learning rate."""
    head_rate: ClassVar[float | None] = None
    """Learning rate of a head that starts from nothing, where the objective has one."""
    scores_in_parts: ClassVar[bool] = False
    """Whether next words are scored at a part of the positions at a time, where there are many."""
    packs: ClassVar[bool] = False
    """Whether several examples may share a sequence."""
    answers_to_score: ClassVar[bool] = False
    """Whether held-out rows are answered in words, one after the other, when they are scored."""
    main_metric: ClassVar[str]
    fills_slot: ClassVar[bool] = False
    """Whether it learns a word at one place of a fixed text: of a long row the text is cut then, never that word."""
    reads_beside: ClassVar[bool] = False
    """Whether data sets of plain text may be learned whole beside those that it wants."""
    cut: ClassVar[str] = "at the end"
    """Where a row that is too long is cut, in words."""

    def mixed_in(self, settings: Any, train: list[Example], seed: int) -> list[Example]:
        """Rows that are learned beside those of the data. Needs no torch."""
        return []

    def scored_beside(self, settings: Any) -> list[Example]:
        """Rows that are scored beside the held-out ones. Needs no torch."""
        return []

    def refuses(self, facts: ModelFacts, settings: Any = None) -> str | None:
        """Why this model can't be trained so, or None. settings: None where any may still be chosen."""
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

    def fetched(self, settings: Any) -> list[str]:
        """Those of `models` that have to be here as folders before a run can be looked at."""
        return self.models(settings)

    def renamed(self, settings: Any, rename: Callable[[str], str]) -> Any:
        """The settings with other names for these models."""
        return settings

    def planned(self, settings: Any, model: str, stands_for: Callable[[str], str]) -> Any:
        """The settings of a stage, to plan it with before those that it builds on have run.

        model: the name of the one that learns, as the plan has it; stands_for: what is there in place of a name.
        """
        return self.renamed(settings, stands_for)

    def gathered(
        self, settings: Any, model: Model, facts: ModelFacts, folder: Path, report: Callable[[str], None]
    ) -> Any:
        """The settings with these models fetched and looked at, beside the one that learns. Before a run learns only.

        report: told in a sentence what takes time. Raises UserError where they don't go with it. Needs no torch.
        """
        return settings

    def rewritten(self, job: Job, tell: Callable[[str], None], report: Report) -> dict[str, list[Example]]:
        """The job's rows by split as they are learned, where something else writes them first.

        Before a run learns only; goes on where an earlier attempt was ended. tell: a sentence for the person. Raises
        UserError.
        """
        return job.examples

    def addresses(self, settings: Any) -> list[tuple[str, str]]:
        """Addresses of the internet that its worker turns to, each with the setting's name in words."""
        return []

    def beside(self, facts: ModelFacts, settings: Any) -> Beside | None:
        """The model that is read while the one of `facts` learns, where there is one."""
        return None

    def lighter(self, settings: Any) -> tuple[Any, str] | None:
        """Settings with which the model that is read beside is gone before the first step, and how to make them."""
        return None

    def own(self, settings: Any) -> Own | None:
        """What the model writes itself of the answers that it learns, where it writes some (`written`)."""
        return None

    def score_bytes(self, settings: Any) -> int:
        """Bytes that each learned position needs for each word of the vocabulary, where words are scored."""
        return SCORE_BYTES

    def remarks(self, settings: Any) -> list[str]:
        """What settled settings come to, in sentences for the plan."""
        return []

    def weak_with(self, facts: ModelFacts, settings: Any) -> str | None:
        """Why this model learns so less well than another kind of model would, or None."""
        return None

    def class_weights(self, settings: Any, labels: Sequence[str], train: Sequence[Example]) -> list[float] | None:
        """By how much a row counts while it is learned, by its label's place in `labels`. None: all rows alike."""
        return None

    def weighs(self, settings: Any) -> bool:
        """Whether `class_weights` gives some."""
        return False

    def readings(self, settings: Any) -> tuple[int, int]:
        """As how many sequences a row is read while it is learned, and while it is scored."""
        return 1, 1

    def tokens_beside(self, settings: Any) -> int:
        """How many tokens are read and scored beside each row, in one sequence with it; they take room as real ones."""
        return 0

    def answerable(self, example: Example) -> bool:
        """Whether a held-out row can be scored."""
        return True

    def of(self, facts: ModelFacts) -> Objective:
        """The same objective as it is for a model of this kind. Needs no torch."""
        return self

    def whole(self, facts: ModelFacts) -> bool:
        """Whether a tuner is given the model with its language head, and not the body alone."""
        return "answers" in self.gives

    def beside_parameters(self, facts: ModelFacts) -> int:
        """How many parameters stand beside what a tuner is given, and never learn."""
        return 0

    def scores_words(self, facts: ModelFacts) -> bool:
        """Whether it asks how likely each word of the vocabulary is."""
        return self.whole(facts) or self.beside_parameters(facts) > 0

    def learning_beside(self, facts: ModelFacts, settings: Any) -> int:
        """How many parameters learn that are no part of the result."""
        return 0

    def unused(self, facts: ModelFacts | None, sets: int = 1) -> frozenset[str]:
        """Its settings that do nothing with this model and so many data sets, which a form doesn't show; of None those
        of any model."""
        return frozenset()

    def leaves_words(self, facts: ModelFacts) -> int | None:
        """How many parameters of its own the head has that guesses words, which its results hold beside whatever it is
        that learned; None where they hold none but that of a whole model."""
        return None

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

    def kind(self, settings: Any) -> AskedKind:
        """What the answers of texts with labels are taken for; "auto" is what they look like."""
        return "one label"

    def of_rows(self, settings: Any, examples: Sequence[Example]) -> Any:
        """The settings with what only the rows say. Raises SettingError. Needs neither a model nor torch."""
        return settings

    def divides(self, settings: Any) -> bool:
        """Whether rows that are longer than the longest row become several, in place of being cut."""
        return False

    def parts(self, row: Example, tokens: Tokens, most: int) -> list[Example]:
        """A row in parts of at most `most` tokens, of an objective that divides rows. Nothing is lost."""
        return [row]

    def labels(self, settings: Any, examples: Sequence[Example]) -> list[str]:
        """The classes of a labelled data set, sorted."""
        return sorted({example.label for example in examples}) if self.wants == "labelled" else []

    def heads(self, settings: Any, examples: Sequence[Example]) -> list[int]:
        """How many of `labels`, in their order, each data set has for itself; empty where all share one head."""
        return []

    def separates(self, settings: Any) -> bool:
        """Whether each of several data sets has labels, and a head, of its own."""
        return False

    def prefixed(self, settings: Any) -> bool:
        """Whether texts of several data sets are read with the name of theirs before them."""
        return False

    def tell(self, model: nn.Module, tasks: list[int]) -> None:
        """Of which data set each row is that comes next, or one for all, where each has a head of its own."""

    def main(self, settings: Any) -> str:
        """The score that counts."""
        return self.main_metric

    def loss_unit(self, settings: Any) -> str:
        """What its loss is told in."""
        return "nats a token" if "answers" in self.gives else "nats a row"

    def tells_labels(self, settings: Any) -> bool:
        """Whether its answers are labels, which can be scored one by one."""
        return "class scores" in self.gives

    def unfitted(self, settings: Any, tuner: Tuner) -> str | None:
        """Why a tuner of the kind "fit" can't work with these settings, or None."""
        return None

    def head_parameters(self, facts: ModelFacts, classes: int) -> int:
        """How many parameters `head` will have. Needs no torch."""
        return 0

    def rate_of_head(self, settings: Any) -> float | None:
        """The learning rate of `head`; None where it learns as the tuner does, or where there is none."""
        return self.head_rate

    @abstractmethod
    def trainer(self) -> tuple[type, type, dict[str, Any]]:
        """The Trainer class, its arguments class, and arguments it needs besides the plan's."""

    @abstractmethod
    def script(self, job: Job) -> str:
        """Source of `load`, `encode`, `losses` and `positions` for the standalone script (see engine.scripts.script).

        Where rows differ by pass, also `drawn(row, epoch)`; where the model writes of them itself,
        `written(model, rows, step)`, the rows of an update; where a head learns that is no module `model.head`,
        `head_of(model)`; where more is saved, `keep(model)`.
        """

    @abstractmethod
    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        """What the trainer's data set holds for an example: "input_ids" and "labels" (-100: nothing learned)."""

    def drawn(self, job: Job, rows: list[dict[str, Any]], epoch: int) -> list[dict[str, Any]]:
        """Rows of the trainer's data set as this pass reads them. It follows from seed, pass and row alone."""
        return rows

    def written(self, job: Job, model: nn.Module, rows: list[dict[str, Any]], step: int) -> list[dict[str, Any]]:
        """Rows of one update as they are learned, where the model writes of them itself (`own`). Called before it.

        What is written follows from the model's weights, the run's seed and the step alone.
        """
        return rows

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
        """Every label with its chance for a text (or two), the likeliest first. Where there are "class scores".

        A run that gives numbers tells the number, under the name `engine.judging.scores.NUMBER`.
        """
        raise NotImplementedError

    def marks_words(self, settings: Any) -> bool:
        """Whether it marks words in a text, in place of saying something of the whole."""
        return False

    def marks(self, job: Job, model: nn.Module, example: Example) -> list[Marked]:
        """What it marks in a text, in the order of the text. Where it marks words."""
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


def pair_refusal(objective: Objective, tuner: Tuner) -> str | None:
    """Which capability is missing for this pair to work, or None."""
    missing = sorted(tuner.needs - objective.gives)
    if missing:
        told = " and ".join(TOLD[name] for name in missing)
        return f"{tuner.title} needs {told}, which {objective.title} does not give."
    return None
