"""Linear layers that read the same, computed as one product, with their low-rank additions in it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from engine.compute.fast.parts import Addition, Part

Rooms = dict[tuple[int, int], torch.Tensor]
"""Where weights are unpacked, by their shape."""


class Joined:
    """y = x W' + (x A') B', for the layers of `parts` beside each other.

    W: (outputs, inputs), theirs one below the other; A: (t, inputs) and B: (outputs, t) in the computing format, with
    the scale in A and zeros in B where an addition has no part in a layer's outputs. t is the sum of all ranks.

    wide: the additions are further columns of W, and x has room for x A' behind it, so that one product does it all;
    good on a GPU. Else W stays as linear layers on a processor like it.

    The layers' own weights become views of W, so that nothing is held twice. Where they are packed in 4 bits they stay
    so, and are unpacked into a room that all of the same shape share, for each product.
    """

    def __init__(self, parts: Sequence[Part], dtype: torch.dtype, wide: bool, shared: Rooms) -> None:
        self.parts = list(parts)
        rows, self.inputs = [part.shape[0] for part in parts], parts[0].shape[1]
        self.rank, self.outputs = sum(part.rank for part in parts), sum(rows)
        self.wide = wide and self.rank > 0
        self.packed = any(part.packed for part in parts)
        self.like = torch.empty(0, dtype=dtype, device=parts[0].base.weight.device)
        shape = self.outputs, self.inputs + (self.rank if self.wide else 0)
        if self.packed:
            self._whole = shared.setdefault(shape, self.like.new_empty(shape))
        else:
            self._whole = self.like.new_empty(shape)
        self.right = self.like.new_zeros(self.outputs, self.rank)
        if self.wide and not self.packed:
            self.right = self._whole[:, self.inputs :].zero_()
        self.left = self.like.new_zeros(self.rank, self.inputs)
        self.bias = self._biases(rows)
        self.edges = [0, *torch.tensor(rows).cumsum(0).tolist()]
        self.places: list[tuple[Addition, slice, slice]] = []
        """Of each addition: its layer's rows of W, and its own rows of A, which are its columns of B."""
        column = 0
        for part, begin, end in zip(self.parts, self.edges, self.edges[1:], strict=False):
            if not self.packed:
                own_weight = self._whole[begin:end, : self.inputs]
                own_weight.copy_(part.base.weight.data)
                part.base.weight = nn.Parameter(own_weight, requires_grad=False)
            for addition in part.additions:
                own = slice(column, column + len(addition.left))
                self.places.append((addition, slice(begin, end), own))
                column = own.stop

    def _biases(self, rows: list[int]) -> torch.Tensor | None:
        if all(part.base.bias is None for part in self.parts):
            return None
        biases = [
            self.like.new_zeros(count) if part.base.bias is None else part.base.bias.detach().to(self.like.dtype)
            for part, count in zip(self.parts, rows, strict=True)
        ]
        return torch.cat(biases)

    def copies(self) -> list[tuple[torch.Tensor, nn.Parameter, float]]:
        """Where each part of an addition has its copy in the computing format, and by how much that is multiplied."""
        found: list[tuple[torch.Tensor, nn.Parameter, float]] = []
        for addition, rows, own in self.places:
            found.append((self.left[own], addition.left, addition.scale))
            found.append((self.right[rows, own], addition.right, 1.0))
        return found

    def whole(self) -> torch.Tensor:
        """W, (outputs, inputs), with B behind it where the product is wide. Good until the next one of its shape."""
        if self.packed:
            for part, begin, end in zip(self.parts, self.edges, self.edges[1:], strict=False):
                self._whole[begin:end, : self.inputs] = part.weight(self.like.dtype)
            if self.wide:
                self._whole[:, self.inputs :] = self.right
        return self._whole

    def room(self, tokens: int) -> torch.Tensor:
        """For what is to be read, (tokens, inputs + room behind it)."""
        return self.like.new_empty(tokens, self.inputs + (self.rank if self.wide else 0))

    def forward(self, read: torch.Tensor, narrow: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """What the layers give, (tokens, outputs), and x A', (tokens, t). read: from `room`, or x alone.

        narrow: x A', where it was kept from before.
        """
        own = read[:, : self.inputs]
        if narrow is None:
            narrow = own @ self.left.t()
        if self.wide and read.shape[1] > self.inputs:
            read[:, self.inputs :] = narrow
            return self._product(read, self.whole()), narrow
        found = self._product(own, self.whole()[:, : self.inputs])
        return found.addmm_(narrow, self.right.t()) if self.rank else found, narrow

    def _product(self, read: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return read @ weight.t() if self.bias is None else torch.addmm(self.bias, read, weight.t())

    def backward(self, above: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients of x, (tokens, inputs), and of x A', (tokens, t). above: of what was given, (tokens, outputs)."""
        if self.wide:
            both = above @ self.whole()
            found, narrow = both[:, : self.inputs], both[:, self.inputs :]
        else:
            found, narrow = above @ self.whole(), above @ self.right
        return found.addmm_(narrow, self.left) if self.rank else found, narrow

    def learned(
        self, above: torch.Tensor, narrow: torch.Tensor, of_left: torch.Tensor
    ) -> list[tuple[nn.Parameter, torch.Tensor]]:
        """The parameters with their gradients. above: of what was given; narrow: x A'; of_left: of A, (t, inputs)."""
        found: list[tuple[nn.Parameter, torch.Tensor]] = []
        for addition, rows, own in self.places:
            left, right = addition.left, addition.right
            if left.requires_grad:
                found.append((left, of_left[own].to(left.dtype).mul_(addition.scale)))
            if right.requires_grad:
                found.append((right, (above[:, rows].t() @ narrow[:, own]).to(right.dtype)))
        return found
