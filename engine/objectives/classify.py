"""Classify: a head on the model's pooled output learns to name one of the data's labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.class_weights import Scheme, weights
from engine.data.example import Example
from engine.label_objective import LabelObjective
from engine.settings import Section, setting


class Classify(LabelObjective):
    name = "classify"
    title = "Classify (choose a label)"
    help = "The model learns to put texts into the classes of your data. Fast, exact about its choices, and no chat."
    paper = "https://arxiv.org/abs/1810.04805"
    order = 20

    class Settings(Section):
        class_weights: Scheme = setting(
            "none",
            "Class weights",
            "How labels of different size count while it learns. 'balanced': each label as much as every other, "
            "however few rows it has. 'square root': half-way. 'none': each row alike.",
            advanced=True,
        )

    def class_weights(self, settings: Any, labels: Sequence[str], train: Sequence[Example]) -> list[float] | None:
        return weights(settings.class_weights, labels, [example.label for example in train])

    def weighs(self, settings: Any) -> bool:
        return settings.class_weights != "none"


METHOD = Classify()
