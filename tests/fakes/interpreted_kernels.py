"""Compares Triton's kernels with torch's operations on a processor. Run with TRITON_INTERPRET=1.

Prints the furthest that each result is apart, of the largest of it. In a process of its own: Triton decides on its first
import whether it interprets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import torch

from engine.compute.fast import body, kernels, numbers
from tests.engine.compute import test_fast

WIDTH, TOKENS = 1300, 3
"""More than a block of columns, and no power of two."""


def results(ways: Any, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    torch.manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape).to(dtype)

    x, weight, stream = drawn(TOKENS, WIDTH), drawn(WIDTH), drawn(TOKENS, WIDTH)
    # Parts of wider ones, as a model's are.
    above = drawn(TOKENS, WIDTH + 8)[:, :WIDTH]
    heads, (cos, sin) = drawn(TOKENS, 7 * 20)[:, : 6 * 20].view(TOKENS, 6, 20), drawn(2, TOKENS, 1, 20)[..., :10]
    joined = drawn(TOKENS, 2 * WIDTH)
    scale, of_heads = ways.rms(x, 1e-5), ways.rms(heads, 1e-5)
    room, gates = (torch.zeros(TOKENS, WIDTH + 4, dtype=dtype) for _ in range(2))
    ways.normed(x, weight, scale, room[:, :WIDTH])
    ways.gated(joined, gates[:, :WIDTH])
    yield from (("scale", scale), ("norm", room), ("gated", gates))
    yield "norm of heads", ways.normed(heads, weight[:20], of_heads, torch.empty(heads.shape, dtype=dtype))
    yield "gradient of heads", ways.norm_gradient(heads, heads, weight[:20], of_heads)
    yield "gradient of a norm", ways.norm_gradient(above, x, weight, scale)
    yield "the same added", ways.add_norm_gradient(stream, above, x, weight, scale)
    yield "turned", ways.turned(heads, cos, sin)
    yield "inner", ways.gated_gradient(above, joined)
    yield "gradient of gates", joined


def of_a_model(family: str) -> float:
    """How far gradients are apart, of their norm."""
    model = test_fast.made(family)
    true = test_fast.learned(model, test_fast.ids())
    body._ways = lambda device: [kernels]  # type: ignore[assignment]
    assert body.use(model, torch.float32, level=2)
    return max(test_fast.apart(test_fast.learned(model, test_fast.ids()), true))


def main() -> None:
    apart = {}
    for dtype in (torch.float32, torch.bfloat16):
        for (name, true), (_, found) in zip(results(numbers, dtype), results(kernels, dtype), strict=True):
            furthest = (true.float() - found.float()).abs().max() / true.float().abs().max()
            apart[f"{name}, {dtype}"] = float(furthest)
    apart |= {family: of_a_model(family) for family in ("llama", "qwen3")}
    print(json.dumps(apart))


if __name__ == "__main__":
    main()
