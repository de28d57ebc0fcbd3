"""Puts the stack in the place of a body's own forward pass, once it has shown that it does the same."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from engine.compute import rows_apart
from engine.compute.fast import numbers, parts
from engine.compute.fast.attention import Rows
from engine.compute.fast.layer import Places
from engine.compute.fast.stack import Stack
from engine.compute.generation import causal

PACKED = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k")
TRIED = (9, 6)
"""Tokens of the rows on which it is tried."""
CLOSE, ROUNDED = 1e-3, 0.05
"""How far results and gradients of one layer may be apart, of their norm, in float32 and in 16 bits, where each way
rounds by itself."""


FAULTS = (RuntimeError, TypeError, ValueError, NotImplementedError)
"""How a machine, or a version of a library, shows that it can't."""


def use(model: nn.Module, dtype: torch.dtype, level: int = 0) -> bool:
    """Let a model learn on the fast path from now on. False: it can't, and computes as it did.

    dtype: the computing format; level: of recomputing, see `engine.compute.fast.layer`.

    The forward pass of its body is replaced where gradients are wanted and rows are whole; elsewhere (answers, masks)
    it is as ever, on the same weights. A few tokens are learned both ways first, and the gradients compared.
    """
    body = parts.body_of(model)
    if body is None or not _fits(body, dtype):
        return False
    stack, usual = Stack(body, dtype, level, wide=next(body.parameters()).device.type == "cuda"), body.forward
    for ways in _ways(next(body.parameters()).device):
        stack.compute_by(ways)
        try:
            same = _same(model, body, stack, dtype)
        except (*FAULTS, *getattr(ways, "FAULTS", ())):
            same = False
        if same:
            body.forward = _forward(body, usual, dtype, stack)
            return True
    return False


def _ways(device: torch.device) -> list[Any]:
    """What may compute all but products and attention there, best first."""
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return [numbers]
    return [importlib.import_module("engine.compute.fast.kernels"), numbers]


def _fits(body: Any, dtype: torch.dtype) -> bool:
    found = []
    for layer in body.layers:
        linears = [getattr(layer.self_attn, f"{name}_proj", None) for name in "qkvo"]
        linears += [getattr(layer.mlp, f"{name}_proj", None) for name in ("gate", "up", "down")]
        own = [parts.part(linear) for linear in linears]
        if any(one is None or not one.computes_in(dtype) for one in own) or parts.watched(layer):
            return False
        found += [one for one in own if one is not None]
    attends = getattr(body.config, "_attn_implementation", "") in (rows_apart.USUAL, rows_apart.NAME)
    return attends and parts.all_learns(body, found)


def _forward(body: Any, usual: Callable[..., Any], dtype: torch.dtype, stack: Stack) -> Callable[..., Any]:
    narrowest = min((layer.window for layer in stack.layers if layer.window), default=None)

    def forward(
        input_ids: torch.Tensor | None = None, attention_mask: Any = None, position_ids: Any = None, **further: Any
    ) -> Any:
        rows = None if input_ids is None else _rows(input_ids, attention_mask, position_ids, further)
        learns = body.training and torch.is_grad_enabled()
        if input_ids is None or rows is None or not learns or (narrowest and narrowest < rows.longest):
            return usual(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, **further)
        stream = body.embed_tokens(input_ids)
        if position_ids is None:
            position_ids = torch.arange(rows.longest, device=input_ids.device)[None]
        cos, sin = (
            one[..., : one.shape[-1] // 2].expand(len(input_ids), -1, -1).flatten(0, 1)[:, None].to(dtype)
            for one in body.rotary_emb(stream, position_ids=position_ids)
        )
        found = stack(stream.flatten(0, 1).to(dtype), Places(cos, sin, rows))
        return BaseModelOutputWithPast(last_hidden_state=found.view(*input_ids.shape, -1))

    return forward


def _rows(ids: torch.Tensor, mask: Any, positions: Any, further: dict[str, Any]) -> Rows | None:
    """How these tokens are rows that see all before them; None where anything else is asked for."""
    if any(value is not None and value is not False for name, value in further.items() if name not in PACKED):
        return None
    edges = further.get("cu_seq_lens_q")
    if edges is not None:
        return None if positions is None else Rows(1, int(further["max_length_q"]), edges)
    return Rows(*ids.shape) if mask is None and ids.shape[1] else None


def _same(model: nn.Module, body: Any, stack: Stack, dtype: torch.dtype) -> bool:
    """Whether the first, the middle and the last layer, each by itself, give the same both ways, and learn the same.

    All of them behind each other would only show how much 16 bits round.
    """
    layers, usual, training = body.layers, body.forward, model.training
    most = CLOSE if dtype == torch.float32 else ROUNDED
    model.train()
    try:
        for place in sorted({0, len(layers) // 2, len(layers) - 1}):
            body.layers = nn.ModuleList([layers[place]])
            true = _learned(model, body, usual, dtype)
            found = _learned(model, body, _forward(body, usual, dtype, stack.only(place)), dtype)
            if any((one - other).norm() > most * other.norm() for one, other in zip(found, true, strict=True)):
                return False
    finally:
        body.layers = layers
        model.train(training)
    return True


def _learned(
    model: nn.Module, body: Any, forward: Callable[..., Any], dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """What comes out of a few tokens, and the gradients of what learns, each one behind the other."""
    learning = [one for one in body.parameters() if one.requires_grad]
    device = learning[0].device
    packed = getattr(body.config, "_attn_implementation", "") == rows_apart.NAME
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(body.config.vocab_size, (1, sum(TRIED)), generator=draw).to(device)
    further: dict[str, Any] = {}
    if packed:
        positions = torch.cat([torch.arange(length, device=device) for length in TRIED])[None]
        further = rows_apart.given(causal(model), positions)
    narrow = None if dtype == torch.float32 else dtype
    with torch.autocast(device.type, dtype=narrow, enabled=narrow is not None):
        out = forward(input_ids=ids, use_cache=False, **further).last_hidden_state.float()
    above = torch.randn(out.shape, generator=draw).to(device)
    found = torch.autograd.grad(out, learning, above, allow_unused=True)
    return out.detach(), torch.cat([one.flatten() for one in found if one is not None])
