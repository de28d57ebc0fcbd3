"""IA3: keys, values and feed-forward activations are scaled by learned vectors (Liu et al. 2022, arXiv 2205.05638)."""

from __future__ import annotations

from typing import Any

from engine.bases.models import ModelFacts
from engine.methods.peft_tuner import PeftTuner
from engine.planning.memory import Kept
from engine.settings import Section

READERS = ("k_proj", "v_proj", "key", "value", "c_attn", "query_key_value", "key_proj", "value_proj")
"""Layers whose outputs are scaled: what attention reads."""
FORWARD = ("down_proj", "fc2", "dense_4h_to_h", "w2")
"""Layers whose inputs are scaled: the end of the feed-forward part."""
FORWARD_PATHS = ("output.dense", "mlp.c_proj")
"""The same where the last name alone does not say it."""


class Ia3(PeftTuner):
    name = "ia3"
    title = "IA3"
    help = "Learns only factors for what attention reads and what the feed-forward part passes on."
    choose = (
        "Choose it for few rows, or for many results of one model: it is one of the smallest additions. Wants a "
        "high learning rate."
    )
    paper = "https://arxiv.org/abs/2205.05638"
    order = 32
    base_rate = 5e-3
    config_class = "IA3Config"

    class Settings(Section):
        pass

    def kept(self, facts: ModelFacts, settings: Any, width: int) -> Kept:
        # What is scaled: outputs as they come, inputs in float32.
        token = sum(
            4 * inputs if _forward(name) else width * outputs
            for name, (outputs, inputs) in facts.linears.items()
            if _forward(name) or name.rsplit(".", 1)[-1] in READERS
        )
        return Kept(token=token)

    def learns(self, facts: ModelFacts, settings: Any) -> dict[str, int]:
        return {
            name: inputs if _forward(name) else outputs
            for name, (outputs, inputs) in facts.linears.items()
            if _forward(name) or name.rsplit(".", 1)[-1] in READERS
        }

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if self.trainable_parameters(facts, settings):
            return None
        return f"{facts.id} names its layers in a way that IA3 does not know; choose LoRA."

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"feedforward_modules": _pattern([*FORWARD, *FORWARD_PATHS])}

    def targets(self, settings: Any) -> str:
        return _pattern([*READERS, *FORWARD, *FORWARD_PATHS])


def _forward(name: str) -> bool:
    # BERT's attention has an "output.dense", too, whose outputs feed no feed-forward part.
    return name.rsplit(".", 1)[-1] in FORWARD or (name.endswith(FORWARD_PATHS) and ".attention." not in name)


def _pattern(names: list[str]) -> str:
    """A regular expression for whole module names."""
    ends = "|".join(name.replace(".", r"\.") for name in names)
    return rf"(?!.*\.attention\.output\.).*\.({ends})"


METHOD = Ia3()
