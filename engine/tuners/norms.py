"""Layer norms only: their factors (and biases) learn (Zhao et al. 2023, arXiv 2312.11420)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.architecture import in_backbone
from engine.job import Tuner
from engine.models import ModelFacts
from engine.settings import Section

if TYPE_CHECKING:
    from torch import nn

PATTERN = r"(norm\w*|ln_?\w*)\.(weight|bias)$"
_NORM = re.compile(PATTERN, re.IGNORECASE)


class Norms(Tuner):
    name = "norms"
    title = "Layer norms only"
    help = (
        "Only the factors of the layer norms learn, fewer than one weight in a thousand. Every model has them, those "
        "without biases too; the result is tiny."
    )
    paper = "https://arxiv.org/abs/2312.11420"
    order = 62
    base_rate = 2e-3
    needs = frozenset({"gradients", "trainable base"})

    class Settings(Section):
        pass

    def trainable_parameters(self, facts: ModelFacts, settings: Any) -> int:
        return sum(info.count for name, info in facts.tensors.items() if _chosen(name))

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if self.trainable_parameters(facts, settings):
            return None
        return f"{facts.id} has no layer norms with weights of their own; choose LoRA."

    def apply(self, backbone: nn.Module, settings: Any, seed: int) -> nn.Module:
        from engine.compute.partial import learn

        return learn(backbone, _chosen)

    def script(self, settings: Any) -> str:
        return f"""
def tune(backbone):
    import re

    norm = re.compile({PATTERN!r}, re.IGNORECASE)
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(bool(norm.search(name)) and not name.startswith("pooler."))
    return backbone
"""

    def save(self, backbone: nn.Module, folder: Path) -> None:
        from engine.compute.partial import save_changed

        save_changed(backbone, folder)

    def restore(self, backbone: nn.Module, folder: Path) -> nn.Module:
        from engine.compute.partial import restore_changed

        return restore_changed(backbone, folder)


def _chosen(name: str) -> bool:
    return bool(_NORM.search(name)) and in_backbone(name)


METHOD = Norms()
