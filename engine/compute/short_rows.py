"""Attention of short rows in bfloat16 on a processor, with a backward pass that is made for them.

There torch's own backward pass takes ten times its forward pass and more (8 rows of 80 tokens: 8 ms a layer, of which
this takes 3; 16 rows of 24: 5 and 1.5). What is computed forward is the same; gradients differ by rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from engine.planning.memory import SHORT_ROWS

USUAL = "sdpa"
SHORT = SHORT_ROWS
"""Tokens of the longest row. With more of them torch's own backward pass is as fast, and holds no matrix of pairs."""
AT_ONCE = 300_000
"""Pairs of tokens whose shares are held at once: what fits a core's cache."""


def use(device: str, compute: str) -> None:
    """From now on, in this process, models compute attention so where it helps, and as they did elsewhere."""
    if device == "cpu" and compute == "bfloat16":
        AttentionInterface.register(USUAL, attend)


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **further: Any,
) -> tuple[torch.Tensor, None]:
    """query, key, value: (rows, heads, tokens, size) → (rows, tokens, heads, size)."""
    plain = not dropout and all(further.get(name) is None for name in ("softcap", "s_aux", "position_bias", "cache"))
    if not plain or not suits(query, key, value) or not _masks(attention_mask):
        found, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling=scaling, is_causal=is_causal, **further
        )
        return found, None
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    causal = bool(causal) and query.shape[2] > 1 and attention_mask is None
    return attention(query, key, value, attention_mask, causal, scaling).transpose(1, 2), None


def suits(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether this is what `attention` is made for."""
    if query.device.type != "cpu" or not torch.is_grad_enabled() or key.shape[2] > SHORT:
        return False
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
    learns = query.requires_grad or key.requires_grad or value.requires_grad
    return dtype == torch.bfloat16 and learns and query.shape[1] % key.shape[1] == 0


def _masks(mask: torch.Tensor | None) -> bool:
    return mask is None or (mask.ndim == 4 and not mask.requires_grad)


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> torch.Tensor:
    """As torch's `scaled_dot_product_attention`, in bfloat16. Fewer heads of keys and values than of queries may be
    given. mask: (rows, 1 or heads, tokens, keys), true or 0 where a token sees a key."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    given = [one.to(torch.bfloat16) for one in (query, key, value)]
    found: torch.Tensor = _Attention.apply(*given, mask, causal, scale)
    return found


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        causal: bool,
        scale: float,
    ) -> torch.Tensor:
        grouped = query.shape[1] != key.shape[1]
        if mask is not None and mask.dtype != torch.bool:
            mask = mask.to(query.dtype)
        found = nn.functional.scaled_dot_product_attention(
            query, key, value, mask, 0.0, causal, scale=scale, enable_gqa=grouped
        )
        ctx.save_for_backward(query, key, value, found, mask)
        ctx.causal, ctx.scale = causal, scale
        return found

    @staticmethod
    def backward(ctx: Any, above: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, found, mask = ctx.saved_tensors
        grads = gradients(above, (query, key, value), found, mask, ctx.causal, ctx.scale)
        return *grads, None, None, None


def gradients(
    above: torch.Tensor,
    given: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    found: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of query, key and value (`given`). above: that of what was found; all (rows, heads, tokens, size)."""
    query, key, value = given
    (rows, _, tokens, size), (heads, keys) = query.shape, key.shape[1:3]
    sharing = query.shape[1] // heads  # queries that look at the same keys become further tokens of one head
    query, above, found = (one.reshape(rows * heads, sharing * tokens, size) for one in (query, above, found))
    key, value = (one.reshape(rows * heads, keys, size) for one in (key, value))
    of_query, of_key, of_value = (torch.empty_like(one) for one in (query, key, value))
    hidden = torch.ones(tokens, keys, dtype=torch.bool).triu(1) if causal else None
    if mask is not None:
        of_heads = 1 if mask.shape[1] == 1 else sharing
        mask = mask.expand(rows, heads * of_heads, tokens, keys).reshape(rows * heads, of_heads, tokens, keys)
    many = max(1, AT_ONCE // (sharing * tokens * keys))
    for start in range(0, rows * heads, many):
        some = slice(start, start + many)
        scores = torch.bmm(query[some], key[some].transpose(1, 2)).float().mul_(scale)
        pairs = scores.view(-1, sharing, tokens, keys)
        if hidden is not None:
            pairs.masked_fill_(hidden, float("-inf"))
        elif mask is not None and mask.dtype == torch.bool:
            pairs.masked_fill_(~mask[some], float("-inf"))
        elif mask is not None:
            pairs.add_(mask[some])
        shares = torch.softmax(scores, dim=-1)
        if mask is not None:
            shares.nan_to_num_(0.0)  # of a token that sees nothing
        torch.bmm(shares.to(query.dtype).transpose(1, 2), above[some], out=of_value[some])
        changes = torch.bmm(above[some], value[some].transpose(1, 2)).float()
        changes.sub_((above[some].float() * found[some].float()).sum(dim=-1, keepdim=True)).mul_(shares).mul_(scale)
        changed = changes.to(query.dtype)
        torch.bmm(changed, key[some], out=of_query[some])
        torch.bmm(changed.transpose(1, 2), query[some], out=of_key[some])
    shape = (rows, heads * sharing, tokens, size)
    return of_query.view(shape), of_key.view(rows, heads, keys, size), of_value.view(rows, heads, keys, size)
