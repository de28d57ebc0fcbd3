"""Attention of several rows in one sequence, each apart from the others, without a mask of all pairs of tokens.

On a GPU, in 16 bits, by the flash attention for rows of varying length that torch brings; elsewhere row by row. A mask
of all pairs holds as many numbers as the sequence has tokens, squared, and has most of them computed for nothing.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from engine.compute.generation import causal

NAME, USUAL = "rows_apart", "sdpa"
TRIED = (5, 9, 1)
"""Tokens of the rows with which it is found out whether a model can."""
CLOSE, ROUNDED = 1e-4, 3e-2
"""How far results may be apart, of the largest of them, in float32 and in 16 bits."""
HALVES = (torch.bfloat16, torch.float16)


def use(model: nn.Module) -> bool:
    """Let a causal model compute rows in one sequence so from now on. False: it can't, and stays as it was.

    What it can is seen from a few tokens: it has to say the same of them as with a mask, on a GPU with the same
    gradients.
    """
    inner = causal(model)
    if getattr(inner.config, "_attn_implementation", "") != USUAL or inner.config.get_text_config() is not inner.config:
        return False
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    training, device = model.training, next(inner.parameters()).device
    ids = torch.arange(sum(TRIED), device=device)[None] % max(1, inner.config.vocab_size)
    positions = torch.cat([torch.arange(length, device=device) for length in TRIED])[None]
    model.eval()
    try:
        with torch.no_grad():
            usual = inner(input_ids=ids, position_ids=positions, use_cache=False).logits.float()
            inner.set_attn_implementation(NAME)
            apart = inner(input_ids=ids, use_cache=False, **given(inner, positions)).logits.float()
        same = _near(apart, usual, inner.dtype) and (device.type != "cuda" or _same_gradients(inner, device))
    except (RuntimeError, TypeError, ValueError, NotImplementedError):  # it has no use for what it was given
        same = False
    finally:
        model.train(training)
    if not same:
        inner.set_attn_implementation(USUAL)
    return same


def given(inner: Any, positions: torch.Tensor) -> dict[str, Any]:
    """What a causal model is given beside its tokens. positions: (1, tokens), from 0 on in each row."""
    if getattr(inner.config, "_attn_implementation", "") != NAME:
        return {"position_ids": positions}
    begins = (positions[0] == 0).nonzero()[:, 0].to(torch.int32)
    edges = torch.cat([begins, begins.new_tensor([positions.shape[1]])])
    longest = int(edges.diff().max())
    return {
        "position_ids": positions,
        # Four dimensions are taken for a mask that is made already; `attend` has no use for it.
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=positions.device),
        "cu_seq_lens_q": edges,
        "cu_seq_lens_k": edges,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    dropout: float = 0.0,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    **further: Any,
) -> tuple[torch.Tensor, None]:
    """query, key, value: (1, heads, tokens, size) → (1, tokens, heads, size). Without rows' edges, what is usual."""
    if cu_seq_lens_q is None:
        found, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **further
        )
        return found, None
    if further.get("softcap") is not None or further.get("s_aux") is not None:
        raise NotImplementedError("scores are changed before they become shares")
    window = further.get("sliding_window")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    kind = query.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
    rows = [one[0].transpose(0, 1).to(dtype) for one in (query, key, value)]
    if kind == "cuda" and dtype in HALVES and not dropout:
        return _flash(rows, cu_seq_lens_q, further["max_length_q"], scale, window)[None], None
    return row_by_row(rows, cu_seq_lens_q.tolist(), scale, window, dropout)[None], None


def _flash(
    rows: list[torch.Tensor], edges: torch.Tensor, longest: int, scale: float, window: int | None
) -> torch.Tensor:
    """rows: query, key and value, (tokens, heads, size)."""
    query, key, value = (one.contiguous() for one in rows)
    narrow = {"window_size_left": window - 1, "window_size_right": 0} if window and longest > window else {}
    found: torch.Tensor = torch.ops.aten._flash_attention_forward(
        query, key, value, edges, edges, longest, longest, 0.0, True, False, scale=scale, **narrow
    )[0]
    return found


def row_by_row(
    rows: list[torch.Tensor], edges: list[int], scale: float, window: int | None, dropout: float = 0.0
) -> torch.Tensor:
    """The same, by torch's usual attention. edges: where each row begins, and the last one ends."""
    found = []
    for begin, end in pairwise(edges):
        query, key, value = (one[begin:end].transpose(0, 1)[None] for one in rows)
        length = end - begin
        mask = None
        if window and length > window:
            at = torch.arange(length, device=query.device)
            apart = at[:, None] - at[None, :]
            mask = (apart >= 0) & (apart < window)
        own = nn.functional.scaled_dot_product_attention(
            query, key, value, mask, dropout, mask is None, scale=scale, enable_gqa=query.shape[1] != key.shape[1]
        )
        found.append(own[0].transpose(0, 1))
    return torch.cat(found)


def _same_gradients(inner: Any, device: torch.device) -> bool:
    """Whether the flash attention of this machine has the gradients of the usual one, with this model's shapes."""
    config = inner.config
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    shapes = [(sum(TRIED), count, size) for count in (heads, *(getattr(config, "num_key_value_heads", heads),) * 2)]
    edges = torch.tensor([0, *torch.tensor(TRIED).cumsum(0).tolist()], dtype=torch.int32, device=device)
    draw = torch.Generator(device).manual_seed(1)
    rows = [torch.randn(shape, generator=draw, device=device, dtype=torch.bfloat16) for shape in shapes]
    above = torch.randn(shapes[0], generator=draw, device=device, dtype=torch.bfloat16)
    seen = []
    for way in (
        lambda some: _flash(some, edges, max(TRIED), size**-0.5, None),
        lambda some: row_by_row(some, edges.tolist(), size**-0.5, None),
    ):
        some = [one.clone().requires_grad_() for one in rows]
        way(some).backward(above)
        seen.append([one.grad for one in some])
    return all(_near(one, other, torch.bfloat16) for one, other in zip(*seen, strict=True))


def _near(one: Any, other: Any, dtype: torch.dtype) -> bool:
    most = (ROUNDED if dtype in HALVES else CLOSE) * float(other.float().abs().max().clamp(min=1e-6))
    return bool((one.float() - other.float()).abs().max() <= most)
