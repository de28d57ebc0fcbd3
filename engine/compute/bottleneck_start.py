"""Bottleneck adapters before they learn. Scripts hold this source."""

from collections.abc import Callable
from typing import Any

import torch

from engine.bases.places import adapter_places
from engine.compute.bottleneck import attach


def start(model: Any, settings: dict[str, Any], words: Callable[[str], list[int]]) -> dict[str, Any]:
    """Attach adapters that give nothing yet; their config."""
    sizes = model.config.get_text_config()
    names = [name for name, _ in model.named_modules()]
    placement = settings["placement"]
    config = {
        "width": sizes.hidden_size,
        "size": max(1, sizes.hidden_size // settings["reduction"]),
        "activation": settings["activation"],
        "scale": settings["scale"] or (4.0 if placement == "parallel" else 1.0),
        "dropout": settings["dropout"],
        "places": adapter_places(names, placement, sizes.num_hidden_layers, settings["layers"]),
    }
    attach(model, config)
    return config


def added_weights(model: Any) -> dict[str, torch.Tensor]:
    """The adapters' weights, by their names in the model."""
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items() if ".adapter." in name}
