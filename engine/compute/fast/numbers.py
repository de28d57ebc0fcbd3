"""What lies between the products of a decoder layer, and its gradients, in torch's own operations.

Tensors are (tokens, width), in the computing format; sums are made in float32.
"""

from __future__ import annotations

import torch
from torch import nn


def rms(x: torch.Tensor, epsilon: float) -> torch.Tensor:
    """One over the root of the mean square of each token, (..., 1), float32."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return torch.rsqrt(norm.square_().div_(x.shape[-1]).add_(epsilon))


def normed(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, into: torch.Tensor) -> torch.Tensor:
    """x times its scale (see `rms`) and the norm's weight; the result is written to `into`."""
    return torch.mul(torch.mul(x, scale), weight, out=into)


def norm_gradient(above: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Of x, float32. above: of what `normed` gave."""
    whole = torch.mul(x, scale)
    own = torch.mul(above.float(), weight)
    along = torch.linalg.vecdot(own, whole).div_(x.shape[-1]).unsqueeze_(-1)
    return own.addcmul_(whole, along, value=-1.0).mul_(scale)


def add_norm_gradient(
    into: torch.Tensor, above: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """The same, added to `into`."""
    return into.add_(norm_gradient(above, x, weight, scale))


def turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions. x: (tokens, heads, size); cos and sin: (tokens, 1, size / 2). Turned back with -sin."""
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    found = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    torch.mul(first, cos, out=found[..., :half]).addcmul_(second, sin, value=-1.0)
    torch.mul(second, cos, out=found[..., half:]).addcmul_(first, sin)
    return found


def gated(joined: torch.Tensor, into: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up. joined: (tokens, 2 * inner), gate before up; the result is written to `into`."""
    gate, up = joined.chunk(2, dim=1)
    return torch.mul(nn.functional.silu(gate), up, out=into)


def gated_gradient(above: torch.Tensor, joined: torch.Tensor) -> torch.Tensor:
    """What `gated` gave, (tokens, inner); the gradients of gate and up are written in their place in `joined`.

    above: of what `gated` gave.
    """
    gate, up = joined.chunk(2, dim=1)
    shut = nn.functional.silu(gate)
    found = shut * up
    of_gate = above * up
    torch.mul(shut, above, out=up)
    torch.ops.aten.silu_backward.grad_input(of_gate, gate, grad_input=gate)
    return found
