"""Classify: a head on the model's output learns to give texts a label, several, or a number, or to mark their words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import kinds
from engine.bases.models import ModelFacts
from engine.data.example import Example
from engine.errors import SettingError
from engine.kinds.base import Kind
from engine.method import AskedKind, Heads
from engine.methods.class_weights import Scheme
from engine.methods.label_objective import LabelObjective
from engine.methods.tuner import Tuner
from engine.settings import Section, setting


class Classify(LabelObjective):
    name = "classify"
    title = "Classify (choose a label)"
    help = (
        "The model learns to put texts into the classes of your data, one or several for each, to give each a number, "
        "or to mark words in them, such as names. Fast, exact about its choices, and no chat."
    )
    paper = "https://arxiv.org/abs/1810.04805"
    order = 20

    class Settings(Section):
        kind: AskedKind = setting(
            "auto",
            "Kind of answer",
            "What a text gets: one label, several labels (or none), a number, such as a rating or how alike two texts "
            "are, or marks on its words, such as names and places. 'auto' looks at the data and says what it found; it "
            "never takes labels for numbers.",
        )
        threshold: float | None = setting(
            None,
            "Threshold",
            "The chance from which on a text gets a label, where it may have several. Empty means chosen on the "
            "validation rows.",
            advanced=True,
            gt=0,
            lt=1,
        )
        class_weights: Scheme = setting(
            "none",
            "Class weights",
            "How labels of different size count while it learns. 'balanced': each label as much as every other, "
            "however few rows it has; of several labels, having one as much as not having it. 'square root': half-way. "
            "'none': each row alike.",
            advanced=True,
        )
        heads: Heads = setting(
            "shared",
            "Labels of several data sets",
            "'shared': one head for all, in which equal names are one label, and every text may get any label. "
            "'separate': a head for each set on the same model; a text gets labels of its own set alone, and equal "
            "names of two sets are different labels.",
        )
        prefix: bool = setting(
            False,
            "Task name before texts",
            "Each text is read with the name of its data set before it, so that the model knows of which it is. In "
            "step 1 each can be given a name (data.task).",
        )

    def kind(self, settings: Any) -> AskedKind:
        return settings.kind

    def of_rows(self, settings: Any, examples: Sequence[Example]) -> Any:
        """With the kind of answer that the rows have."""
        found = settings.model_copy(update={"kind": kinds.of_rows(examples)})
        kind = kinds.of(found.kind)
        if kind.unweighable and self.weighs(found):
            raise SettingError([kind.unweighable], "Set it to none.")
        if kind.alone and (found.heads == "separate" or found.prefix):
            raise SettingError([kind.alone], "Leave heads shared and texts without names.")
        if found.threshold is not None and kind.name != "several labels":
            raise SettingError(
                [f"A threshold (objective.threshold) does nothing where a text gets {kind.title}."], "Leave it empty."
            )
        return found

    def weak_with(self, facts: ModelFacts, settings: Any) -> str | None:
        return self.answer(settings).weak_with(facts)

    def labels(self, settings: Any, examples: Sequence[Example]) -> list[str]:
        return [label for own in self._by_head(settings, examples) for label in self.answer(settings).labels(own)]

    def heads(self, settings: Any, examples: Sequence[Example]) -> list[int]:
        found = [len(self.answer(settings).labels(own)) for own in self._by_head(settings, examples)]
        return found if len(found) > 1 else []

    def _by_head(self, settings: Any, examples: Sequence[Example]) -> list[Sequence[Example]]:
        """The rows by the heads that learn from them."""
        if not self.separates(settings):
            return [examples]
        sets = range(1 + max((row.source for row in examples), default=0))
        return [[row for row in examples if row.source == source] for source in sets]

    def separates(self, settings: Any) -> bool:
        return settings.heads == "separate" and self.answer(settings).tells_labels and not self.answer(settings).alone

    def prefixed(self, settings: Any) -> bool:
        return settings.prefix

    def unused(self, facts: ModelFacts | None, sets: int = 1) -> frozenset[str]:
        return frozenset({"heads", "prefix"}) if facts is None or sets < 2 else frozenset()

    def settled(self, settings: Any, model_folder: Path, examples: list[Example]) -> Any:
        return self.of_rows(settings, examples)

    def answer(self, settings: Any) -> Kind:
        return kinds.of(settings.kind)

    def main(self, settings: Any) -> str:
        return self.answer(settings).main_metric

    def loss_unit(self, settings: Any) -> str:
        return self.answer(settings).loss_unit

    def tells_labels(self, settings: Any) -> bool:
        return self.answer(settings).tells_labels

    def unfitted(self, settings: Any, tuner: Tuner) -> str | None:
        return self.answer(settings).unfitted.format(tuner=tuner.title) or None

    def remarks(self, settings: Any) -> list[str]:
        return [self.answer(settings).remark]

    def class_weights(self, settings: Any, labels: Sequence[str], train: Sequence[Example]) -> list[float] | None:
        return self.answer(settings).weights(settings.class_weights, labels, train)

    def weighs(self, settings: Any) -> bool:
        return settings.class_weights != "none"


METHOD = Classify()
