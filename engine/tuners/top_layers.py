"""Layer freezing: only the top layers learn, together or one after another (Howard, Ruder 2018, arXiv 1801.06146)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from engine.bases import depth
from engine.bases.architecture import in_backbone
from engine.bases.models import ModelFacts
from engine.methods.partial_tuner import PartialTuner
from engine.planning.memory import Kept
from engine.settings import setting

if TYPE_CHECKING:
    from torch import nn

EMBEDDINGS = (*depth.EMBEDDINGS, "lm_head")


class TopLayers(PartialTuner):
    name = "top-layers"
    title = "Top layers only"
    help = "The lower layers stay as they are; the top ones learn in full."
    choose = (
        "Choose it where full fine-tuning takes too much memory or forgets too much. The result holds only the "
        "layers that changed."
    )
    paper = "https://arxiv.org/abs/1801.06146"
    idea = "some layers"
    adds = False
    order = 22
    usual = True
    base_rate = 1.5e-4

    class Settings(depth.ByDepth):
        layers: int = setting(
            2, "Layers that learn", "Counted from the top. More learns more, and costs more memory.", ge=1, le=1000
        )
        gradual: bool = setting(
            False,
            "Unfreeze one by one",
            "The topmost layer learns from the start; the others join it one after another over the first half of "
            "the run, which forgets less.",
        )
        embeddings: bool = setting(
            False,
            "Word embeddings, too",
            "Word embeddings and the language head learn as well: for words that the model does not know.",
            advanced=True,
        )

    def chosen(self, name: str, layers: int, settings: Any) -> bool:
        if not in_backbone(name) and not name.startswith("lm_head"):
            return False
        place = depth.layer(name)
        if place is not None:
            return place >= layers - settings.layers
        if any(word in name for word in EMBEDDINGS):
            return bool(settings.embeddings)
        return "norm" in name.lower() or "ln_f" in name

    def kept(self, facts: ModelFacts, settings: Any, width: int) -> Kept:
        return Kept("learning", None if settings.embeddings else settings.layers)

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        found = {depth.layer(name) for name in facts.tensors} - {None}
        if len(found) != facts.layers:
            return f"The layers of {facts.id} are not numbered in its weights (it may share them); choose LoRA."
        if settings.layers > facts.layers:
            return f"{facts.id} has {facts.layers} layers, not {settings.layers}: lower 'Layers that learn'."
        return None

    def joins(self, facts: ModelFacts, settings: Any) -> dict[int, float]:
        count = settings.layers
        if not settings.gradual:
            return {}
        return {facts.layers - 1 - place: place / (2 * count) for place in range(min(count, facts.layers))}

    def apply(self, backbone: nn.Module, settings: Any, seed: int) -> nn.Module:
        from engine.compute.partial import Unfreezing

        backbone = super().apply(backbone, settings, seed)
        if settings.gradual:
            first = backbone.config.get_text_config().num_hidden_layers - settings.layers
            backbone.unfreezing = Unfreezing(backbone, lambda name: _place(name, first), settings.layers)
        return backbone

    def rates(self, names: Iterable[str], settings: Any) -> dict[str, float]:
        return depth.rates(names, settings.depth_factor)

    def step_begins(self, backbone: nn.Module, settings: Any, step: int, total: int) -> None:
        if settings.gradual:
            backbone.unfreezing.step_begins(step, total)

    def script(self, settings: Any) -> str:
        gradual = GRADUAL.replace("COUNT", str(settings.layers)) if settings.gradual else ""
        return f"""
def layer_of(name):
    import re

    found = re.search({depth.LAYER!r}, name)
    return int(found[1]) if found else None


def tune(backbone):
    first = backbone.config.get_text_config().num_hidden_layers - {settings.layers}
    for name, parameter in backbone.named_parameters():
        layer, embeds = layer_of(name), any(word in name for word in {EMBEDDINGS!r})
        if layer is not None:
            chosen = layer >= first
        elif embeds:
            chosen = {settings.embeddings}
        else:
            chosen = ("norm" in name or "ln_f" in name) and not name.startswith("pooler.")
        parameter.requires_grad_(bool(chosen)){"; gate(parameter, layer, first)" if settings.gradual else ""}
    return backbone
{gradual}{depth.script(settings.depth_factor)}"""


GRADUAL = '''

OPEN = 1


def gate(parameter, layer, first):
    """Gradients of a layer that has not joined yet are dropped."""
    if parameter.requires_grad and layer is not None:
        joins = first + COUNT - 1 - layer
        parameter.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", p.grad if joins < OPEN else None))


def step_begins(step):
    global OPEN
    OPEN = min(COUNT, 1 + step * 2 * COUNT // STEPS)
'''


def _place(name: str, first: int) -> int | None:
    """A layer's place among those that learn, from the lowest; None for what belongs to no layer."""
    layer = depth.layer(name)
    return None if layer is None else layer - first


METHOD = TopLayers()
