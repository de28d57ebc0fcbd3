"""Attention of each row by itself, and its gradients, without autograd.

On a GPU by torch's flash attention for rows of varying length; on a processor short rows in bfloat16 by
`engine.compute.short_rows`; else by torch's usual attention, which then keeps what its backward pass needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from engine.compute import short_rows
from engine.compute.rows_apart import HALVES, row_by_row

Three = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Rows:
    """How tokens, (tokens,), are rows: `count` of the same length, or those that begin and end at `edges`."""

    count: int
    longest: int
    edges: torch.Tensor | None = None
    """(rows + 1,), int32."""


def forward(given: Three, rows: Rows, scale: float) -> tuple[torch.Tensor, Any]:
    """What comes out, (tokens, heads, size), and what the backward pass needs besides. given: query, key and value,
    (tokens, heads, size); of key and value there may be fewer heads."""
    query, key, value = given
    if query.device.type == "cuda" and query.dtype in HALVES:
        edges = _edges(rows, query)
        found, *kept, _ = torch.ops.aten._flash_attention_forward(
            query, key, value, edges, edges, rows.longest, rows.longest, 0.0, True, False, scale=scale
        )
        return found, kept
    if rows.edges is None and query.dtype == torch.bfloat16 and rows.longest <= short_rows.SHORT:
        found = _usual(tuple(_batched(one, rows) for one in given), scale)
        return _flat(found), None
    with torch.enable_grad():
        inputs = [one.detach().requires_grad_() for one in given]
        if rows.edges is None:
            found = _flat(_usual(tuple(_batched(one, rows) for one in inputs), scale))
        else:
            found = row_by_row(inputs, rows.edges.tolist(), scale, None)
    return found.detach(), (found, inputs)


def backward(above: torch.Tensor, given: Three, found: torch.Tensor, kept: Any, rows: Rows, scale: float) -> Three:
    """Gradients of query, key and value. above: of what came out; found, kept: what `forward` gave."""
    query, key, value = given
    if query.device.type == "cuda" and query.dtype in HALVES:
        edges = _edges(rows, query)
        spread, seed, unused = kept
        of_query, of_key, of_value = torch.ops.aten._flash_attention_backward(
            above, query, key, value, found, spread, edges, edges, rows.longest, rows.longest, 0.0, True, seed, unused,
            scale=scale,
        )  # fmt: skip
        return of_query, of_key, of_value
    if kept is None:
        batched: Any = tuple(_batched(one, rows) for one in given)
        above, found = _batched(above, rows), _batched(found, rows)
        found_for = short_rows.gradients(above, batched, found, None, True, scale)
        of_query, of_key, of_value = (_flat(one) for one in found_for)
        return of_query, of_key, of_value
    out, inputs = kept
    of_query, of_key, of_value = torch.autograd.grad(out, inputs, above)
    return of_query, of_key, of_value


def _usual(given: Any, scale: float) -> torch.Tensor:
    query, key, value = given
    grouped = query.shape[1] != key.shape[1]
    return nn.functional.scaled_dot_product_attention(
        query, key, value, None, 0.0, True, scale=scale, enable_gqa=grouped
    )


def _edges(rows: Rows, like: torch.Tensor) -> torch.Tensor:
    if rows.edges is not None:
        return rows.edges
    return torch.arange(rows.count + 1, dtype=torch.int32, device=like.device) * rows.longest


def _batched(one: torch.Tensor, rows: Rows) -> torch.Tensor:
    """(tokens, heads, size) → (rows, heads, tokens, size)."""
    return one.view(rows.count, rows.longest, *one.shape[1:]).transpose(1, 2)


def _flat(one: torch.Tensor) -> torch.Tensor:
    """(rows, heads, tokens, size) → (tokens, heads, size)."""
    return one.transpose(1, 2).flatten(0, 1)
