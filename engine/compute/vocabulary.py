"""Losses of next words whose scores are never all there at once.

Scores of words are the largest thing that a language model makes: of 8,192 positions and 150,000 words 5 GB, and their
gradients as much again. Here a part of the positions is scored at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from engine.planning.memory import positions_at_once


def losses(head: nn.Module, hidden: torch.Tensor, targets: torch.Tensor, words: int) -> torch.Tensor:
    """Cross-entropy at each position, (positions,), float32. hidden: (positions, width); targets: (positions,).

    head: from hidden to scores of words, of which there are `words`. Where it stays as it is, nothing is computed
    twice; where it learns, each part's scores are made again in the backward pass.
    """
    at_once = positions_at_once(words)
    if len(targets) <= at_once:
        return _part(head, hidden, targets)
    if not torch.is_grad_enabled():
        return torch.cat([_part(head, *one) for one in zip(hidden.split(at_once), targets.split(at_once), strict=True)])
    if type(head) is nn.Linear and not any(parameter.requires_grad for parameter in head.parameters()):
        found: torch.Tensor = _Frozen.apply(hidden, head.weight, head.bias, targets, at_once)
        return found
    parts = zip(hidden.split(at_once), targets.split(at_once), strict=True)
    return torch.cat([checkpoint(_part, head, *one, use_reentrant=False) for one in parts])


def _part(head: nn.Module, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(head(hidden).float(), targets, reduction="none")


class _Frozen(torch.autograd.Function):
    """Of a linear head that does not learn: the gradient of each position's loss is made with the loss itself.

    It is (chances - expected) @ weight, and only has to be multiplied by what comes from above: a position's loss
    depends on that position alone.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        many: int,
    ) -> torch.Tensor:
        found = torch.empty(len(targets), device=hidden.device)
        gradients = torch.empty_like(hidden)
        for start in range(0, len(targets), many):
            some, expected = slice(start, start + many), targets[start : start + many, None]
            scores = nn.functional.linear(hidden[some], weight, bias)
            made, scores = scores.dtype, scores.float()
            least = scores.logsumexp(dim=-1, keepdim=True)
            found[some] = (least - scores.gather(1, expected))[:, 0]
            chances = scores.sub_(least).exp_()
            chances.scatter_add_(1, expected, -torch.ones_like(least))
            gradients[some] = (chances.to(made) @ weight).to(gradients.dtype)
        ctx.save_for_backward(gradients)
        return found

    @staticmethod
    def backward(ctx: Any, above: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        (gradients,) = ctx.saved_tensors
        return (above[:, None] * gradients).to(gradients.dtype), None, None, None, None
