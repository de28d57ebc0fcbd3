"""All layers of a model as one step of autograd."""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch import nn

from engine.compute.fast import numbers
from engine.compute.fast.layer import Gradients, Layer, Places, Saved
from engine.compute.fast.products import Rooms


class Stack:
    """Layers of a body whose additions learn. level: of recomputing, see `engine.compute.fast.layer`."""

    def __init__(self, body: Any, dtype: torch.dtype, level: int, wide: bool) -> None:
        shared: Rooms = {}
        self.layers = [Layer(layer, dtype, wide, shared) for layer in body.layers]
        self.norm, self.level = body.norm, level
        self.ways: Any = numbers
        copies = [one for layer in self.layers for product in layer.products for one in product.copies()]
        self._copies = [copy for copy, _, _ in copies]
        self.learning = [parameter for _, parameter, _ in copies]
        self._scaled = [(copy, scale) for copy, _, scale in copies if scale != 1.0]

    def compute_by(self, ways: Any) -> None:
        """ways: `numbers` or `kernels`."""
        self.ways = ways
        for layer in self.layers:
            layer.ways = ways

    def only(self, place: int) -> Stack:
        """The same with one of its layers."""
        found = copy(self)
        found.layers = [self.layers[place]]
        return found

    def __call__(self, stream: torch.Tensor, places: Places) -> torch.Tensor:
        """What the body makes of its words, (tokens, width) → the same."""
        self._refresh()
        found: torch.Tensor = _Pass.apply(self, stream, places, *self.learning)
        return found

    def _refresh(self) -> None:
        """Take over what the optimizer, or a checkpoint, made of the additions.

        Each time: torch's fused AdamW leaves no trace of its updates in a tensor's version.
        """
        with torch.no_grad():
            torch._foreach_copy_(self._copies, self.learning)
            if self._scaled:
                torch._foreach_mul_([copy for copy, _ in self._scaled], [scale for _, scale in self._scaled])

    def forward(self, stream: torch.Tensor, places: Places) -> tuple[torch.Tensor, list[Saved], torch.Tensor]:
        """What comes out, what each layer keeps, and what came out of the last one."""
        kept: list[Saved] = []
        for layer in self.layers:
            stream, own = layer.forward(stream, places, self.level)
            kept.append(own)
        scale = self.ways.rms(stream, self.norm.variance_epsilon)
        return self.ways.normed(stream, self.norm.weight, scale, torch.empty_like(stream)), kept, stream

    def backward(self, above: torch.Tensor, kept: list[Saved], last: torch.Tensor, places: Places) -> Gradients:
        """Gradients of what learns. `kept` is emptied on the way, so that memory shrinks."""
        found: Gradients = {}
        scale = self.ways.rms(last, self.norm.variance_epsilon)
        stream = self.ways.norm_gradient(above, last, self.norm.weight, scale).to(last.dtype)
        for layer in reversed(self.layers):
            stream = layer.backward(stream, kept.pop(), places, found)
        return found


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stack: Stack, stream: torch.Tensor, places: Places, *learning: nn.Parameter) -> torch.Tensor:
        with torch.autocast(stream.device.type, enabled=False):
            found, ctx.kept, ctx.last = stack.forward(stream, places)
        ctx.stack, ctx.places, ctx.learning = stack, places, learning
        return found

    @staticmethod
    def backward(ctx: Any, above: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        with torch.autocast(above.device.type, enabled=False):
            found = ctx.stack.backward(above, ctx.kept, ctx.last, ctx.places)
        return None, None, None, *(found.get(one) for one in ctx.learning)
