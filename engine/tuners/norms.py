"""Layer norms only: their factors (and biases) learn (Zhao et al. 2023, arXiv 2312.11420)."""

from __future__ import annotations

import re
from typing import Any

from engine.bases.architecture import in_backbone
from engine.bases.models import ModelFacts
from engine.methods.partial_tuner import PartialTuner
from engine.planning.memory import Kept
from engine.settings import Section

PATTERN = r"(norm\w*|ln_?\w*)\.(weight|bias)$"
_NORM = re.compile(PATTERN, re.IGNORECASE)


class Norms(PartialTuner):
    name = "norms"
    title = "Layer norms only"
    help = "Only the factors of the layer norms learn, fewer than one weight in a thousand."
    choose = "Choose it for few rows, on models without biases too: every model has layer norms. The result is tiny."
    paper = "https://arxiv.org/abs/2312.11420"
    idea = "some layers"
    family = "Parts of layers"
    adds = False
    order = 28
    base_rate = 2e-3

    class Settings(Section):
        pass

    def chosen(self, name: str, layers: int, settings: Any) -> bool:
        return in_backbone(name) and bool(_NORM.search(name))

    def kept(self, facts: ModelFacts, settings: Any, width: int) -> Kept:
        # Kernels of layer norms keep what their factors need anyway; norms without biases are no kernel of their own.
        plain = not any(self.chosen(name, facts.layers, settings) for name in facts.biases)
        return Kept(token=2 * width * facts.hidden * facts.layers if plain else 0.0)

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if self.trainable_parameters(facts, settings):
            return None
        return f"{facts.id} has no layer norms with weights of their own; choose LoRA."

    def script(self, settings: Any) -> str:
        return f"""
def tune(backbone):
    import re

    norm = re.compile({PATTERN!r}, re.IGNORECASE)
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(bool(norm.search(name)) and not name.startswith("pooler."))
    return backbone
"""


METHOD = Norms()
