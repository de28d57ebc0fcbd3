"""BOFT with one factor, as PEFT has it, without the dense matrices that PEFT builds of it in every step.

PEFT turns what a layer reads by a matrix of (inputs, inputs), which it puts together of blocks and, where there are
several factors, of permutations. With one factor the permutation is none, and the blocks can turn their inputs as they
are: the same numbers but for rounding, in a fraction of the work and memory. Parameters, files and merging are PEFT's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.boft import layer as boft_layer
from peft.tuners.boft import model as boft_model


class BlockTurn(boft_layer.Linear):
    """PEFT's linear layer under BOFT with one factor (`boft_n_butterfly_factor=1`)."""

    def update_layer(self, *args: Any, **kwargs: Any) -> None:
        super().update_layer(*args, **kwargs)
        if any(len(turns) > 1 for turns in self.boft_R.values()):
            raise ValueError("BOFT has one factor here; this addition has several.")
        # The permutation: with one factor it changes nothing, and is as large as inputs x inputs.
        self.boft_P = torch.empty(0)

    def turns(self, adapter: str) -> torch.Tensor:
        """Orthogonal blocks, (blocks, size, size)."""
        return self.boft_dropout[adapter](self.cayley_batch(self.boft_R[adapter][0])[None])[0]

    def get_delta_weight(self, adapter: str) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.block_diag(*self.turns(adapter)), self.boft_s[adapter]

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """x: (..., inputs); gives (..., outputs)."""
        if self.disable_adapters or self.merged:
            return super().forward(x, *args, **kwargs)
        active = [adapter for adapter in self.active_adapters if adapter in self.boft_R]
        turned, scale = x, torch.ones((), dtype=x.dtype, device=x.device)
        for adapter in reversed(active):
            turns = self.turns(adapter).to(x)
            blocks = turned.unflatten(-1, turns.shape[:2])
            turned = torch.einsum("...bi,bij->...bj", blocks, turns).flatten(-2)
            scale = self.boft_s[adapter].squeeze(-1) * scale
        result = self.base_layer(turned, *args, **kwargs)
        bias = self.base_layer.bias
        result = result * scale if bias is None else (result - bias) * scale + bias
        return result.to(x.dtype)


@contextmanager
def in_place_of_dense() -> Iterator[None]:
    """Within, PEFT makes its BOFT layers of this kind; and looks for no compiler of a kernel that one factor can do
    without."""
    linear, kernel = boft_model.Linear, boft_layer.get_fbd_cuda
    boft_model.Linear, boft_layer.get_fbd_cuda = BlockTurn, lambda: None
    try:
        yield
    finally:
        boft_model.Linear, boft_layer.get_fbd_cuda = linear, kernel
