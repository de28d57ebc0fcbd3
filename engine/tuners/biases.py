"""BitFit: only bias terms learn (Ben Zaken et al. 2021, arXiv 2106.10199)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine.architecture import in_backbone
from engine.job import Tuner
from engine.models import ModelFacts
from engine.settings import Section, setting

if TYPE_CHECKING:
    from torch import nn

FEW = ("query.bias", "q_proj.bias", "intermediate.dense.bias", "up_proj.bias", "fc1.bias", "c_fc.bias")
"""Biases of the query and of the middle of the feed-forward part (the paper's b_q and b_m2)."""


class Biases(Tuner):
    name = "biases"
    title = "Biases only (BitFit)"
    help = (
        "Only the bias terms learn, about one weight in a thousand. The result is tiny, and the model keeps most of "
        "what it knew; good with few rows. Llama-like models have no biases."
    )
    paper = "https://arxiv.org/abs/2106.10199"
    order = 60
    base_rate = 1e-3
    needs = frozenset({"gradients", "trainable base"})

    class Settings(Section):
        which: Literal["all", "query and middle"] = setting(
            "all",
            "Which biases",
            "All, or those of the query and of the middle of the feed-forward part, which do most of the work.",
            advanced=True,
        )

    def trainable_parameters(self, facts: ModelFacts, settings: Any) -> int:
        return sum(size for name, size in facts.biases.items() if in_backbone(name) and _chosen(name, settings.which))

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if not facts.has_biases:
            return (
                f"{facts.id} has no bias terms: models of its family leave them out. Choose 'norms' (layer norms) or "
                "'beft' (new biases on the values), which change as little."
            )
        if not self.trainable_parameters(facts, settings):
            return f"{facts.id} has no biases on query or feed-forward layers; choose all."
        return None

    def apply(self, backbone: nn.Module, settings: Any, seed: int) -> nn.Module:
        from engine.compute.partial import learn

        return learn(backbone, lambda name: in_backbone(name) and _chosen(name, settings.which))

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

    def save(self, backbone: nn.Module, folder: Path) -> None:
        from engine.compute.partial import save_changed

        save_changed(backbone, folder)

    def restore(self, backbone: nn.Module, folder: Path) -> nn.Module:
        from engine.compute.partial import restore_changed

        return restore_changed(backbone, folder)


def _chosen(name: str, which: str) -> bool:
    return name.endswith(".bias") if which == "all" else name.endswith(FEW)


METHOD = Biases()
