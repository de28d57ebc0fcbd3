"""Prefix tuning: keys and values in front of every text learn, in each layer (Li, Liang 2021, arXiv 2101.00190).

They begin as those of real words, which the paper found to matter, and learn themselves. With reparametrisation
(section 4.3) a network learns what is added to them: a matrix of a vector for each token, a layer with tanh, and a last
layer that begins at zero. Only what it made is kept. On MiniLM with 77 classes a run with it came to a held-out loss of
0.95, one without to 0.67 (validation rows, one seed); three times its rate and a third came to 4.34 and
1.02. So it is off by default.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from engine.bases import depth
from engine.bases.architecture import first
from engine.bases.models import ModelFacts
from engine.bases.places import attention_places
from engine.methods.attached_tuner import AttachedTuner
from engine.methods.prompt_tuner import FAMILY, UNMERGEABLE, Worded
from engine.planning.memory import Kept, attention_matrices
from engine.settings import setting

if TYPE_CHECKING:
    import torch
    from torch import nn


class Prefix(AttachedTuner):
    name = "prefix"
    title = "Prefix tuning"
    help = "The model stays as it is; what every layer's attention sees before each text learns."
    choose = (
        "Choose it where prompt tuning falls short: it can change more, texts keep their length, and the file is "
        "small. Attention gets slower by the prefix."
    )
    paper = "https://arxiv.org/abs/2101.00190"
    idea = "only the input"
    family = FAMILY
    order = 52
    base_rate = 3e-2
    unmergeable = UNMERGEABLE
    part = "soft_prefix"
    starts = "soft_prefix_start"
    further = ("bases.places",)

    class Settings(Worded):
        reparametrised: bool = setting(
            False,
            "Made by a network",
            "A small network makes what is added to the words' keys and values, as in the paper, and only that is "
            "kept. It learns at a thirtieth of the learning rate, costs memory while it learns, and later runs can't "
            "go on with it.",
            advanced=True,
        )
        hidden: int = setting(
            512, "Width of the network", "Used only where a network makes them.", advanced=True, ge=1, le=65536
        )

    def learns(self, facts: ModelFacts, settings: Any) -> dict[str, int]:
        places = attention_places(facts.linears, facts.layers)
        each = self._numbers(facts)
        if not settings.reparametrised:
            return dict.fromkeys(places, settings.tokens * each)
        stem = settings.tokens * facts.hidden + (facts.hidden + 1) * settings.hidden
        return {depth.INPUT: stem, **dict.fromkeys(places, (settings.hidden + 1) * each)}

    def frozen_parameters(self, facts: ModelFacts, settings: Any) -> int:
        return self.saved_parameters(facts, settings) if settings.reparametrised else 0

    def saved_parameters(self, facts: ModelFacts, settings: Any) -> int:
        return len(attention_places(facts.linears, facts.layers)) * int(settings.tokens) * self._numbers(facts)

    def once_with(self, settings: Any) -> str:
        if not settings.reparametrised:
            return ""
        return "The network that made its prefix is not kept; train anew from the base, or without the network."

    def rates(self, names: Iterable[str], settings: Any) -> dict[str, float]:
        return dict(self._module(self.starts).rates(names))

    def state(self, backbone: nn.Module) -> dict[str, torch.Tensor]:
        return {name: tensor.detach() for name, tensor in self._module(self.starts).begun_words(backbone).items()}

    def set_state(self, backbone: nn.Module, state: dict[str, torch.Tensor]) -> None:
        for name, tensor in self._module(self.starts).begun_words(backbone).items():
            tensor.data.copy_(state[name])

    def kept(self, facts: ModelFacts, settings: Any, width: int) -> Kept:
        # Heads that share keys and values get their own behind a mask; and there is more to look at.
        heads = first(facts.config, "num_attention_heads", "n_head", "n_heads") or 1
        groups = first(facts.config, "num_key_value_heads") or heads
        size = first(facts.config, "head_dim") or facts.hidden // heads
        layer = 2 * width * (heads - groups) * size + attention_matrices(facts) * settings.tokens
        # A network's inner layer is computed anew for each layer, in float32.
        inner = 4 * settings.tokens * settings.hidden if settings.reparametrised else 0
        return Kept(token=facts.layers * layer, step=facts.layers * inner)

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if attention_places(facts.linears, facts.layers):
            return None
        return f"{facts.id} names the parts of its attention in a way that {self.title} does not know; choose LoRA."

    def _numbers(self, facts: ModelFacts) -> int:
        """Keys and values of one token in one layer."""
        heads = first(facts.config, "num_attention_heads", "n_head", "n_heads") or 1
        size = first(facts.config, "head_dim") or facts.hidden // heads
        groups = first(facts.config, "num_key_value_heads") or heads
        return 2 * int(groups) * int(size)


METHOD = Prefix()
