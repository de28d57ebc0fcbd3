"""The optimizer of a run, made. Scripts hold this source: it needs torch, and bitsandbytes where its name says so."""

from typing import Any

import torch
from torch import nn


def make_optimizer(name: str, groups: list[dict[str, Any]], model: nn.Module) -> torch.optim.Optimizer:
    """AdamW over groups of weights, each with its rate; torch's, or with averages in 8 bits (arXiv 2110.02861)."""
    if name == "adamw":
        device = next(model.parameters()).device.type
        return torch.optim.AdamW(groups, fused=device in ("cpu", "cuda"))
    from bitsandbytes.optim import AdamW8bit, GlobalOptimManager, PagedAdamW8bit

    manager = GlobalOptimManager.get_instance()
    manager.initialize()  # or it would remember another model's
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            # Words that are seldom seen have gradients of their own size (section 2.3 of the paper).
            manager.register_module_override(module, "weight", {"optim_bits": 32})
    return (PagedAdamW8bit if name == "paged-adamw-8bit" else AdamW8bit)(groups)
