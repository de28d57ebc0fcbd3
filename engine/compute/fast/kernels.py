"""What `numbers` does, in one pass over memory each: kernels in Triton, for GPUs.

Each function has the face of its namesake in `numbers`. Sums are made in float32. Rows may be parts of wider ones; what
is written to is given, or made.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from triton.errors import TritonError

FAULTS: tuple[type[Exception], ...] = (TritonError,)
"""What Triton raises where a kernel can't be made for a GPU."""
COLUMNS = 1024
"""Of a block where rows are long and nothing is summed over them."""


def rms(x: torch.Tensor, epsilon: float) -> torch.Tensor:
    rows = _rows(x)
    scale = torch.empty(len(rows), dtype=torch.float32, device=x.device)
    _rms[(len(rows),)](rows, scale, rows.shape[1], epsilon, triton.next_power_of_2(rows.shape[1]))
    return scale.view(*x.shape[:-1], 1)


def normed(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, into: torch.Tensor) -> torch.Tensor:
    rows, width = _rows(x), x.shape[-1]
    apart = into.stride(0) if into.ndim == 2 else width
    _normed[(len(rows), triton.cdiv(width, COLUMNS))](rows, weight, scale, into, apart, width, COLUMNS)
    return into


def norm_gradient(above: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    found = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    return _through_norm(found, above, x, weight, scale, added=False)


def add_norm_gradient(
    into: torch.Tensor, above: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    return _through_norm(into, above, x, weight, scale, added=True)


def turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    found = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    tokens, heads, size = x.shape
    if x.stride(2) != 1 or x.stride(1) != size:
        x = x.contiguous()
    cos, sin = (one.reshape(tokens, -1).contiguous() for one in (cos, sin))
    _turned[(tokens,)](
        x,
        x.stride(0),
        cos,
        sin,
        found,
        heads,
        size // 2,
        triton.next_power_of_2(heads),
        triton.next_power_of_2(size // 2),
    )
    return found


def gated(joined: torch.Tensor, into: torch.Tensor) -> torch.Tensor:
    tokens, inner = len(joined), joined.shape[1] // 2
    _gated[(tokens, triton.cdiv(inner, COLUMNS))](joined, into, into.stride(0), inner, COLUMNS)
    return into


def gated_gradient(above: torch.Tensor, joined: torch.Tensor) -> torch.Tensor:
    tokens, inner = len(joined), joined.shape[1] // 2
    found = torch.empty(tokens, inner, dtype=joined.dtype, device=joined.device)
    _gated_gradient[(tokens, triton.cdiv(inner, COLUMNS))](above, above.stride(0), joined, found, inner, COLUMNS)
    return found


def _rows(x: torch.Tensor) -> torch.Tensor:
    """(rows, width), one behind the other."""
    return x.reshape(-1, x.shape[-1]).contiguous()


def _through_norm(
    into: torch.Tensor, above: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, added: bool
) -> torch.Tensor:
    rows, width = _rows(x), x.shape[-1]
    given = above if above.ndim == 2 and above.stride(1) == 1 else _rows(above)
    _norm_gradient[(len(rows),)](
        given, given.stride(0), rows, weight, scale, into, width, added, triton.next_power_of_2(width)
    )
    return into


@triton.jit
def _rms(x: Any, scale: Any, width: Any, epsilon: Any, block: tl.constexpr) -> None:
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block)
    values = tl.load(x + row * width + column, mask=column < width, other=0.0).to(tl.float32)
    tl.store(scale + row, 1.0 / tl.sqrt(tl.sum(values * values, 0) / width + epsilon))


@triton.jit
def _normed(x: Any, weight: Any, scale: Any, into: Any, into_apart: Any, width: Any, block: tl.constexpr) -> None:
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    inside = column < width
    values = tl.load(x + row * width + column, mask=inside, other=0.0).to(tl.float32)
    values = values * tl.load(scale + row) * tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(into + row * into_apart + column, values.to(into.dtype.element_ty), mask=inside)


@triton.jit
def _norm_gradient(
    above: Any,
    above_apart: Any,
    x: Any,
    weight: Any,
    scale: Any,
    into: Any,
    width: Any,
    added: tl.constexpr,
    block: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block)
    inside = column < width
    factor = tl.load(scale + row)
    whole = tl.load(x + row * width + column, mask=inside, other=0.0).to(tl.float32) * factor
    own = tl.load(above + row * above_apart + column, mask=inside, other=0.0).to(tl.float32)
    own = own * tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    found = factor * (own - whole * (tl.sum(own * whole, 0) / width))
    place = into + row * width + column
    if added:
        found += tl.load(place, mask=inside, other=0.0).to(tl.float32)
    tl.store(place, found.to(into.dtype.element_ty), mask=inside)


@triton.jit
def _turned(
    x: Any, apart: Any, cos: Any, sin: Any, into: Any, heads: Any, half: Any, many: tl.constexpr, block: tl.constexpr
) -> None:
    token = tl.program_id(0).to(tl.int64)
    head = tl.arange(0, many)[:, None]
    column = tl.arange(0, block)[None, :]
    inside = (head < heads) & (column < half)
    angle = token * half + column
    along = tl.load(cos + angle, mask=column < half, other=0.0).to(tl.float32)
    across = tl.load(sin + angle, mask=column < half, other=0.0).to(tl.float32)
    place = head * (2 * half) + column
    first = tl.load(x + token * apart + place, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(x + token * apart + place + half, mask=inside, other=0.0).to(tl.float32)
    out = into + token * heads * (2 * half) + place
    tl.store(out, (first * along - second * across).to(into.dtype.element_ty), mask=inside)
    tl.store(out + half, (second * along + first * across).to(into.dtype.element_ty), mask=inside)


@triton.jit
def _gated(joined: Any, into: Any, into_apart: Any, inner: Any, block: tl.constexpr) -> None:
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    inside = column < inner
    place = joined + token * 2 * inner + column
    gate = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(place + inner, mask=inside, other=0.0).to(tl.float32)
    found = gate * tl.sigmoid(gate) * up
    tl.store(into + token * into_apart + column, found.to(into.dtype.element_ty), mask=inside)


@triton.jit
def _gated_gradient(above: Any, apart: Any, joined: Any, into: Any, inner: Any, block: tl.constexpr) -> None:
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    inside = column < inner
    place = joined + token * 2 * inner + column
    gate = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(place + inner, mask=inside, other=0.0).to(tl.float32)
    given = tl.load(above + token * apart + column, mask=inside, other=0.0).to(tl.float32)
    open_share = tl.sigmoid(gate)
    shut = gate * open_share
    tl.store(into + token * inner + column, (shut * up).to(into.dtype.element_ty), mask=inside)
    of_gate = given * up * (open_share + shut * (1.0 - open_share))
    tl.store(place, of_gate.to(joined.dtype.element_ty), mask=inside)
    tl.store(place + inner, (given * shut).to(joined.dtype.element_ty), mask=inside)
