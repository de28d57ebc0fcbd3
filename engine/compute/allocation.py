"""AdaLoRA's budget: which directions of which layers are kept, by PEFT's allocator (arXiv 2303.10512, section 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

ADAPTER = "default"
AVERAGES = {"importance": "exp_avg_ipt", "uncertainty": "exp_avg_unc"}
"""What the allocator remembers from step to step, under the names that a checkpoint has."""
KEPT = "kept"


def allocate(model: Any, step: int, schedule: tuple[int, int, int]) -> None:
    """After an update: note what matters, and give up what matters least. `schedule`: first, last and all steps."""
    config = model.peft_config[ADAPTER]
    config.tinit, config.tfinal, config.total_step = schedule
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.grad is None:
            # A layer that took no part in this step, which PEFT does not expect.
            parameter.grad = torch.zeros_like(parameter)
    model.base_model.update_and_allocate(step)


def skewness(model: nn.Module) -> torch.Tensor:
    """How far the directions of a layer are from right angles and length 1, on average over the layers."""
    found = []
    for name, p in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            products = p @ p.T if "lora_A" in name else p.T @ p
            found.append(torch.linalg.norm(products - torch.eye(len(products), device=p.device)))
    return torch.stack(found).mean()


def state(model: Any) -> dict[str, torch.Tensor]:
    """The allocator's memory as tensors: averages by parameter, and what is kept of each layer."""
    allocator = model.base_model.rankallocator
    found = {
        f"{word} {name}": tensor.detach().clone()
        for word, attribute in AVERAGES.items()
        for name, tensor in getattr(allocator, attribute).items()
    }
    pattern = model.peft_config[ADAPTER].rank_pattern or {}
    return found | {f"{KEPT} {name}": torch.tensor(kept) for name, kept in pattern.items()}


def set_state(model: Any, state: dict[str, torch.Tensor]) -> None:
    allocator = model.base_model.rankallocator
    device = next(model.parameters()).device
    pattern: dict[str, list[bool]] = {}
    allocator.reset_ipt()
    for key, tensor in state.items():
        word, name = key.split(" ", 1)
        if word == KEPT:
            pattern[name] = tensor.tolist()
        else:
            getattr(allocator, AVERAGES[word])[name] = tensor.to(device)
            allocator.ipt[name] = torch.zeros_like(tensor, device=device)
    model.peft_config[ADAPTER].rank_pattern = pattern or None
