"""Full fine-tuning: every weight learns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.bases import depth
from engine.bases.models import ModelFacts
from engine.methods.tuner import Tuner
from engine.planning.memory import Kept

if TYPE_CHECKING:
    from torch import nn


TUNE = """
def tune(backbone):
    return backbone.requires_grad_(True)
"""


class Full(Tuner):
    name = "full"
    title = "Full fine-tuning"
    help = "Every weight of the model learns, from the first layer to the last."
    choose = (
        "Choose it for small models and many rows, or for a task far from what the model knows. It can change most,"
        " takes about four times the model's size in memory, and the result is as large as the model."
    )
    paper = "https://arxiv.org/abs/1801.06146"
    idea = "all weights"
    order = 20
    usual = True
    adds = False
    needs = frozenset({"gradients", "trainable base"})
    once = "The whole model changed; training goes on from it as from any other."
    base_rate = 5e-5
    trains_base = True

    Settings = depth.ByDepth

    def rates(self, names: Iterable[str], settings: Any) -> dict[str, float]:
        return depth.rates(names, settings.depth_factor)

    def learns(self, facts: ModelFacts, settings: Any) -> dict[str, int]:
        return {name: info.count for name, info in facts.tensors.items()}

    def kept(self, facts: ModelFacts, settings: Any, width: int) -> Kept:
        return Kept("learning")

    def apply(self, backbone: nn.Module, settings: Any, seed: int) -> nn.Module:
        return backbone.requires_grad_(True)

    def script(self, settings: Any) -> str:
        return TUNE + depth.script(settings.depth_factor)

    def save(self, backbone: nn.Module, folder: Path) -> None:
        backbone.save_pretrained(folder)

    def restore(self, backbone: nn.Module, folder: Path) -> nn.Module:
        from transformers import AutoModel, AutoModelForCausalLM

        loader = AutoModelForCausalLM if backbone.can_generate() else AutoModel
        # Loaded in the width in which it was saved, then brought to that of the base it replaces.
        return loader.from_pretrained(folder).to(dtype=backbone.dtype, device=backbone.device)


METHOD = Full()
