"""Bottleneck adapters: small new layers inside each layer (Houlsby et al. 2019, arXiv 1902.00751).

pfeiffer: one, after the feed-forward part (Pfeiffer et al. 2020, arXiv 2005.00247). parallel: one, beside it (He et al.
2021, arXiv 2110.04366). All of them join before the residual connection.
"""

from __future__ import annotations

from typing import Any, Literal

from engine.bases.models import ModelFacts
from engine.bases.places import adapter_places
from engine.methods.attached_tuner import AttachedTuner
from engine.planning.memory import Kept
from engine.settings import Section, setting


class Adapter(AttachedTuner):
    name = "adapter"
    title = "Bottleneck adapters"
    help = "Small new layers are put inside each layer of the model, and only they learn."
    choose = (
        "Choose it where LoRA falls short, or to compare. It can't be merged, so that answers take a little longer "
        "for good."
    )
    paper = "https://arxiv.org/abs/1902.00751"
    order = 46
    usual = True
    base_rate = 3e-3
    unmergeable = "Its layers hold a non-linearity, so that no weight of the base model could do what they do."
    part = "bottleneck"
    starts = "bottleneck_start"
    further = ("bases.places",)

    class Settings(Section):
        placement: Literal["houlsby", "pfeiffer", "parallel"] = setting(
            "pfeiffer",
            "Placement",
            "houlsby: two in a layer, after attention and after the feed-forward part. pfeiffer: one, after the "
            "feed-forward part. parallel: one, beside the feed-forward part.",
        )
        reduction: int = setting(
            16,
            "Reduction",
            "How many times narrower than the model an adapter is. Lower learns more, and costs more memory.",
            ge=1,
            le=1024,
        )
        activation: Literal["relu", "gelu", "silu", "tanh"] = setting(
            "relu",
            "Non-linearity",
            "What stands between an adapter's two halves; silu is also called swish.",
            advanced=True,
        )
        layers: int | None = setting(
            None,
            "Only in the top layers",
            "In how many layers, counted from the top; empty means all. Fewer cost less time and learn less.",
            advanced=True,
            ge=1,
            le=1000,
        )
        scale: float | None = setting(
            None,
            "Scale",
            "What an adapter's output is multiplied by. Empty means 1, and 4 for parallel ones, as their paper has it.",
            advanced=True,
            gt=0,
            le=100,
        )
        dropout: float = setting(
            0.0,
            "Dropout",
            "Share of the adapters' inputs left out at random, against learning by heart.",
            advanced=True,
            ge=0,
            lt=1,
        )

    def places(self, facts: ModelFacts, settings: Any) -> list[dict[str, str | None]]:
        return adapter_places(facts.linears, settings.placement, facts.layers, settings.layers)

    def learns(self, facts: ModelFacts, settings: Any) -> dict[str, int]:
        size = max(1, facts.hidden // settings.reduction)
        each = 2 * facts.hidden * size + size + facts.hidden
        return {str(place["after"]): each for place in self.places(facts, settings)}

    def kept(self, facts: ModelFacts, settings: Any, width: int) -> Kept:
        size = max(1, facts.hidden // settings.reduction)
        token = width * len(self.places(facts, settings)) * (facts.hidden + size)
        return Kept("alone", settings.layers, token)

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if settings.layers and settings.layers > facts.layers:
            return f"{facts.id} has {facts.layers} layers, not {settings.layers}: lower 'Only in the top layers'."
        places = self.places(facts, settings)
        if not places or any(facts.linears[str(place["after"])][0] != facts.hidden for place in places):
            return (
                f"The ends of attention and feed-forward part are not found in each layer of {facts.id}: it names them "
                "in its own way, shares layers or has experts. Choose LoRA."
            )
        return None


METHOD = Adapter()
