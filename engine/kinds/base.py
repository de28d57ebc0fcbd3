"""What a kind of answer means for a classifier: its classes, loss, scores and words. Torch in functions only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engine.bases.models import ModelFacts
from engine.data.example import Example
from engine.judging.scores import Marked, Scores
from engine.method import KindName
from engine.methods.class_weights import Scheme
from engine.methods.job import Job, Losses, Report
from engine.methods.pooling import pooling
from engine.texts import text_pairs
from engine.texts.tokens import Encoded, Tokens

if TYPE_CHECKING:
    from torch import nn


class Kind(ABC):
    name: ClassVar[KindName]
    main_metric: ClassVar[str]
    title: ClassVar[str]
    """What a text gets, in words."""
    remark: ClassVar[str]
    """That, in a sentence for the plan."""
    loss_unit: ClassVar[str]
    """What the held-out loss is told in."""
    tells_labels: ClassVar[bool] = True
    """Whether a text gets labels, each of which can be scored by itself."""
    unweighable: ClassVar[str] = ""
    """Why labels can't count differently while it learns; empty where they can."""
    unfitted: ClassVar[str] = ""
    """Why nothing can be fitted to fixed features; empty where that works."""

    alone: ClassVar[str] = ""
    """Why data sets can have neither heads of their own nor their names before texts; empty where they can."""
    divides: ClassVar[bool] = False
    """Whether texts that are longer than the longest row are read in parts, in place of being cut."""
    marks_words: ClassVar[bool] = False
    """Whether it says something of each word, in place of the whole text."""
    positions: ClassVar[str] = "1"
    """Of how many positions of a `row` there is a loss, as an expression of the script."""

    def weak_with(self, facts: ModelFacts) -> str | None:
        """Why a model answers so less well than another kind of model would, or None."""
        return None

    def pooling(self, model_folder: Path) -> str:
        """How the vectors of a text's tokens become one."""
        return pooling(model_folder)

    def encode(self, example: Example, tokens: Tokens, max_tokens: int) -> Encoded:
        text = example.before + example.text
        if example.second:
            return tokens.encode_pair(text, example.second, max_tokens)
        return tokens.encode_text(text, max_tokens)

    def labels(self, examples: Sequence[Example]) -> list[str]:
        """The classes, sorted; a class's number is its place here."""
        return sorted({example.label for example in examples})

    @abstractmethod
    def weights(self, scheme: Scheme, labels: Sequence[str], train: Sequence[Example]) -> list[float] | None:
        """As `Objective.class_weights` promises."""

    @abstractmethod
    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        """What a batch holds of the answer: "labels", a number a row (or token), and what `losses` wants beside it."""

    @abstractmethod
    def losses(self, job: Job) -> Losses: ...

    @abstractmethod
    def script(self, job: Job) -> str:
        """Source of `target` (of an example and what was read of it) and `row_losses` (scores and targets to the loss
        of each row, or of each position of all rows)."""

    def reading(self, job: Job) -> str:
        """Source of `read` (of an example), for the script."""
        return text_pairs.script(job) if job.pairs else text_pairs.READ

    @abstractmethod
    def score(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores: ...

    def baselines(self, job: Job, rows: list[Example]) -> dict[str, Scores]:
        """Further scores worth knowing, which need no model."""
        return {}

    def calibrate(self, job: Job, model: nn.Module, report: Report) -> str:
        """As `Objective.calibrate` promises."""
        return ""

    @abstractmethod
    def told(self, job: Job, model: nn.Module, example: Example) -> list[tuple[str, float]]:
        """Every label with its chance, the likeliest first; of a number that number, under the name NUMBER."""

    def marks(self, job: Job, model: nn.Module, example: Example) -> list[Marked]:
        """What it marks in a text. Where it says something of each word."""
        raise NotImplementedError

    def kept(self, job: Job, model: nn.Module) -> dict[str, Any]:
        """What a result's `classifier.json` says besides labels and pooling."""
        return {}

    def kept_whole(self, job: Job, model: nn.Module, folder: Path) -> None:
        """Make a result that holds a whole body one that transformers reads with its head, where there is a class."""
        return None

    @abstractmethod
    def given(self, found: Sequence[tuple[str, float]], kept: Mapping[str, Any]) -> list[str]:
        """The labels that a text gets of which `told` says this. kept: what the result's `classifier.json` holds."""

    @abstractmethod
    def holds(self, kept: Mapping[str, Any]) -> str:
        """How what a result tells is to be taken, in a sentence; empty where there is nothing to say."""

    @abstractmethod
    def asked(self, kept: Mapping[str, Any]) -> list[str]:
        """Python of a model card that prints the answer, made from `scores`, (1, classes), `labels` and `kept`."""
