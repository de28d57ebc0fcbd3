"""How deep in a model a parameter lies, by its name, and rates that follow from it. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable

from engine.settings import Section, setting

LAYER = r"(?:^|\.)(?:layers|layer|h|block|blocks)\.(\d+)\."
_LAYER = re.compile(LAYER)
EMBEDDINGS = ("embed", "wte", "wpe")
HEADS = ("lm_head", "embed_out")
INPUT = "(before the text)"
"""The place of what learns in front of every text, in no module of the model."""


class ByDepth(Section):
    """Settings of tuners that let whole layers of the base learn."""

    depth_factor: float = setting(
        1.0,
        "Rate by depth",
        "Each layer learns this many times as fast as the one above it (discriminative fine-tuning). Below 1, the "
        "lower layers, which hold what is general, change less; 1 means all alike.",
        advanced=True,
        gt=0,
        le=1,
    )


def layer(name: str) -> int | None:
    """The number of the layer that a parameter belongs to, counted from below; None where it belongs to none."""
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def rates(names: Iterable[str], factor: float) -> dict[str, float]:
    """Rates by name for a factor from each layer to the next below (Howard, Ruder 2018, arXiv 1801.06146, 3.2)."""
    if factor == 1.0:
        return {}
    layers = {name: layer(name) for name in names}
    top = max((place for place in layers.values() if place is not None), default=-1)
    return {name: factor ** _below(name, place, top) for name, place in layers.items()}


def _below(name: str, place: int | None, top: int) -> int:
    """How many layers lie above a parameter. Embeddings lie below all of them, the last norm and the head above."""
    if place is not None:
        return top - place
    embeds = any(word in name for word in EMBEDDINGS) and not name.startswith(HEADS)
    return top + 1 if embeds else 0


def script(factor: float) -> str:
    """Source of `rates(names)` for the standalone script; nothing where all learn alike."""
    return "" if factor == 1.0 else _SCRIPT.replace("FACTOR", repr(factor))


_SCRIPT = f'''

def rates(names):
    """Each layer learns FACTOR times as fast as the one above it; embeddings lie below all layers."""
    import re

    layers = {{name: re.search({LAYER!r}, name) for name in names}}
    top = max((int(found[1]) for found in layers.values() if found), default=-1)

    def below(name, found):
        if found:
            return top - int(found[1])
        embeds = any(word in name for word in {EMBEDDINGS!r}) and not name.startswith({HEADS!r})
        return top + 1 if embeds else 0

    return {{name: FACTOR ** below(name, found) for name, found in layers.items()}}
'''
