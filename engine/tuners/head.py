"""Feature-based transfer: the model stays frozen, and a simple classifier is fitted to its features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine.bases.models import ModelFacts
from engine.methods.pooling import Reading, pooling
from engine.methods.tuner import READING, WIDTHS, Tuner
from engine.settings import Section, setting

if TYPE_CHECKING:
    from torch import nn


class Head(Tuner):
    name = "head"
    title = "Classifier on fixed features"
    help = (
        "Nothing of the model changes: it reads each text once, and a simple classifier learns from what it makes "
        "of it."
    )
    choose = (
        "Choose it for few rows, or as a first try: seconds instead of minutes, and no weights of the model to keep."
    )
    paper = "https://arxiv.org/abs/1903.05987"
    idea = "only the head"
    order = 30
    usual = True
    kind = "fit"
    works = "Each text is read once. No weights of the model learn, so there are no passes and no learning rate."
    needs = frozenset({"class scores", "pooled features"})
    once = "Its classifier is fitted at once, from the features of all rows."
    base_rate = 0.0
    loads = WIDTHS
    uses = READING
    unmergeable = "Its classifier reads the model's features and is no part of the model's weights."

    class Settings(Section):
        classifier: Literal["auto", "logistic", "svm", "knn", "mlp", "trees"] = setting(
            "auto",
            "Classifier",
            "Logistic regression, linear support vector machine, nearest neighbours, a small neural network, or "
            "gradient-boosted trees. 'auto' takes the one that is right most often on rows it did not learn from: in "
            "cross-validation on the training rows, and on the validation rows.",
        )
        pooling: Literal["auto", "mean", "cls", "last"] = setting(
            "auto",
            "Pooling",
            "How the tokens' vectors become one for the text: their mean, the first token's, or the last one's. "
            "'auto' is what the model was trained with, else the mean.",
        )
        layer: int = setting(
            1,
            "Layer from the top",
            "Whose output the features are: 1 is the last layer, 2 the one below it.",
            advanced=True,
            ge=1,
            le=1000,
        )
        layers: int = setting(
            1,
            "Layers averaged",
            "How many layers, from that one down, are averaged; 4 gives the mean of the last four.",
            advanced=True,
            ge=1,
            le=64,
        )
        folds: int = setting(
            5,
            "Folds",
            "Into how many parts the training rows are divided for cross-validation. Fewer where a label has few rows.",
            advanced=True,
            ge=2,
            le=20,
        )

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        deepest = settings.layer + settings.layers - 1
        if facts.layers and deepest > facts.layers:
            return (
                f"{facts.id} has {facts.layers} layers; {deepest} from the top are asked for (layer, layers averaged)."
            )
        if settings.pooling == "cls" and facts.kind == "decoder":
            return (
                f"In {facts.id} the first token sees nothing of the text, so that its vector says nothing (pooling "
                "cls); choose mean or last."
            )
        return None

    def unweighable(self, settings: Any) -> str:
        if settings.classifier != "knn":
            return ""
        return (
            "Nearest neighbours (tuner.classifier: knn) answer by the rows that lie near, each with one vote, and "
            "can't let labels count by class weights (objective.class_weights); any other classifier can."
        )

    def reading(self, settings: Any, model_folder: Path) -> Reading:
        pool = pooling(model_folder) if settings.pooling == "auto" else settings.pooling
        return Reading(pool, settings.layer, settings.layers)

    def held_layers(self, facts: ModelFacts, settings: Any) -> int:
        return 0 if settings.layer == settings.layers == 1 else facts.layers + 1

    def learning(self, facts: ModelFacts) -> str:
        return (
            f"All {facts.backbone_parameters:,} weights of the model stay as they are; a classifier learns from "
            f"{facts.hidden:,} numbers for each text."
        )

    def reads(self, facts: ModelFacts, settings: Any) -> range:
        top = facts.layers - settings.layer
        return range(max(0, top - settings.layers + 1), top + 1)

    def apply(self, backbone: nn.Module, settings: Any, seed: int) -> nn.Module:
        return backbone.requires_grad_(False)

    def script(self, settings: Any) -> str:
        return ""

    def save(self, backbone: nn.Module, folder: Path) -> None:
        """Nothing of the backbone changed."""

    def restore(self, backbone: nn.Module, folder: Path) -> nn.Module:
        return backbone


METHOD = Head()
