"""Prefix tuning: keys and values in front of every text learn, in each layer (Li, Liang 2021, arXiv 2101.00190).

They begin as those of real words, which the paper found to matter, and learn themselves: the paper's network that made
them from random numbers is left out.
"""

from __future__ import annotations

from typing import Any

from engine.architecture import first
from engine.attached_tuner import AttachedTuner
from engine.models import ModelFacts
from engine.places import attention_places
from engine.prompt_tuner import FAMILY, UNMERGEABLE, Worded


class Prefix(AttachedTuner):
    name = "prefix"
    title = "Prefix tuning"
    help = (
        "The model stays as it is; what every layer's attention sees before each text learns. It can change more than "
        "prompt tuning, texts keep their length, and the file is small. Attention gets slower by the prefix."
    )
    paper = "https://arxiv.org/abs/2101.00190"
    family = FAMILY
    order = 52
    base_rate = 3e-2
    unmergeable = UNMERGEABLE
    part = "soft_prefix"
    starts = "soft_prefix_start"
    further = ("places",)

    class Settings(Worded):
        pass

    def trainable_parameters(self, facts: ModelFacts, settings: Any) -> int:
        heads = first(facts.config, "num_attention_heads", "n_head", "n_heads") or 1
        size = first(facts.config, "head_dim") or facts.hidden // heads
        groups = first(facts.config, "num_key_value_heads") or heads
        return int(2 * settings.tokens * groups * size * facts.layers)

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if attention_places(facts.linears, facts.layers):
            return None
        return f"{facts.id} names the parts of its attention in a way that {self.title} does not know; choose LoRA."


METHOD = Prefix()
