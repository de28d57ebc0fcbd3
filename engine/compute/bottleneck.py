"""Bottleneck adapters on a loaded model. Scripts and model cards hold this source, so that it needs torch alone."""

from typing import Any

import torch
from torch import nn


class Bottleneck(nn.Module):
    """Down to a few numbers, a non-linearity, and up again; gives nothing before it has learned."""

    def __init__(self, width: int, size: int, config: dict[str, Any]) -> None:
        super().__init__()
        self.down_proj = nn.Linear(width, size)
        self.up_proj = nn.Linear(size, width)
        self.activation = getattr(nn.functional, config["activation"])
        self.scale, self.dropout = config["scale"], nn.Dropout(config["dropout"])
        nn.init.kaiming_uniform_(self.down_proj.weight, a=5**0.5)
        for zero in (self.down_proj.bias, self.up_proj.weight, self.up_proj.bias):
            nn.init.zeros_(zero)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (…, width) → what is to be added, of the same shape."""
        if not torch.is_autocast_enabled(x.device.type):
            x = x.to(self.down_proj.weight.dtype)
        return self.scale * self.up_proj(self.activation(self.down_proj(self.dropout(x))))


def attach(model: nn.Module, config: dict[str, Any]) -> nn.Module:
    """Add an adapter to the output of each module that config["places"] names.

    It reads that output, or what another module is given, where the place names one ("reads").
    """
    for place in config["places"]:
        module = model.get_submodule(place["after"])
        module.adapter = Bottleneck(config["width"], config["size"], config).to(model.device).train(module.training)
        held: list[torch.Tensor] = []

        def keep(reader: nn.Module, given: Any, held: list[torch.Tensor] = held) -> None:
            held[:] = given[:1]

        def add(module: Any, given: Any, output: torch.Tensor, held: list[torch.Tensor] = held) -> torch.Tensor:
            return output + module.adapter(held.pop() if held else output).to(output.dtype)

        if place["reads"]:
            model.get_submodule(place["reads"]).register_forward_pre_hook(keep)
        module.register_forward_hook(add)
    return model
