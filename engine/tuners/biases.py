"""BitFit: only bias terms learn (Ben Zaken et al. 2021, arXiv 2106.10199)."""

from __future__ import annotations

from typing import Any, Literal

from engine.bases.architecture import in_backbone
from engine.bases.models import ModelFacts
from engine.methods.partial_tuner import PartialTuner
from engine.settings import Section, setting

FEW = ("query.bias", "q_proj.bias", "intermediate.dense.bias", "up_proj.bias", "fc1.bias", "c_fc.bias")
"""Biases of the query and of the middle of the feed-forward part (the paper's b_q and b_m2)."""


class Biases(PartialTuner):
    name = "biases"
    title = "Biases only (BitFit)"
    help = "Only the bias terms learn, about one weight in a thousand."
    choose = (
        "Choose it for few rows: so little changes that the model keeps most of what it knew. Llama-like models "
        "have no biases."
    )
    paper = "https://arxiv.org/abs/2106.10199"
    idea = "some layers"
    family = "Parts of layers"
    adds = False
    order = 24
    base_rate = 1e-3

    class Settings(Section):
        which: Literal["all", "query and middle"] = setting(
            "all",
            "Which biases",
            "All, or those of the query and of the middle of the feed-forward part, which do most of the work.",
            advanced=True,
        )

    def chosen(self, name: str, layers: int, settings: Any) -> bool:
        return in_backbone(name) and name.endswith(".bias" if settings.which == "all" else FEW)

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if not facts.has_biases:
            return (
                f"{facts.id} has no bias terms: models of its family leave them out. Choose 'norms' (layer norms) or "
                "'beft' (new biases on the values), which change as little."
            )
        if not self.trainable_parameters(facts, settings):
            return f"{facts.id} has no biases on query or feed-forward layers; choose all."
        return None

    def script(self, settings: Any) -> str:
        test = 'name.endswith(".bias")' if settings.which == "all" else f"name.endswith({FEW!r})"
        return f"""
def tune(backbone):
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_({test} and not name.startswith("pooler."))
    for module in backbone.modules():
        if "Norm" in type(module).__name__:
            module.float()  # its kernel wants factor and bias in one width
    return backbone
"""


METHOD = Biases()
