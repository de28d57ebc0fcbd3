"""Low-rank additions that are not LoRA while they learn, and that are saved as an ordinary one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

WEIGHTS_FILE = "adapter_model.safetensors"
LEARNS, BEGINNING = "default", "beginning"
"""PEFT's names of PiSSA's two additions: the one that learns, and what it began as, taken away again."""


def start_from_largest(model: nn.Module, passes: int) -> nn.Module:
    """PiSSA: let each addition begin as the largest directions of its weight (arXiv 2404.02948, section 3).

    The paper takes those directions out of the base. Here the base stays, bit for bit, and a second, frozen addition
    takes them away: the sum is the same, and nothing is lost where the base has 16 bits.
    """
    model.add_adapter(BEGINNING, copy.deepcopy(model.peft_config[LEARNS]))
    model.base_model.set_adapter([LEARNS, BEGINNING])
    with torch.no_grad():
        for layer in layers(model):
            weight = layer.get_base_layer().weight.float()
            left, values, right = torch.svd_lowrank(
                weight.T if layer.fan_in_fan_out else weight, layer.r[LEARNS], niter=passes
            )
            for name, sign in ((LEARNS, 1), (BEGINNING, -1)):
                layer.lora_A[name].weight.copy_(values.sqrt()[:, None] * right.T)
                layer.lora_B[name].weight.copy_(sign * left * values.sqrt())
    for name, parameter in model.named_parameters():
        if f".{BEGINNING}." in name:
            parameter.requires_grad_(False)
    return model


def save_both(model: nn.Module, folder: Path) -> None:
    """PiSSA's two additions as one LoRA of twice the rank, for the unchanged base."""

    def joined(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
        first = torch.cat([layer.lora_A[name].weight for name in (LEARNS, BEGINNING)])
        return first, torch.cat([layer.lora_B[name].weight for name in (LEARNS, BEGINNING)], dim=1)

    _save(model, folder, joined)


def save_pruned(model: nn.Module, folder: Path) -> None:
    """AdaLoRA's triplets that are left as a LoRA with a rank of its own in each layer."""

    def left(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
        values = layer.lora_E[LEARNS][:, 0] * layer.scaling[LEARNS] / (layer.ranknum[LEARNS] + 1e-5)
        kept = values.nonzero()[:, 0]
        # PEFT's LoRA has no rank 0.
        kept = kept if len(kept) else torch.zeros(1, dtype=torch.long, device=values.device)
        return layer.lora_A[LEARNS][kept] * values[kept, None], layer.lora_B[LEARNS][:, kept]

    _save(model, folder, left)


def layers(model: nn.Module) -> Iterator[Any]:
    """The layers that have an addition."""
    return (module for module in model.modules() if hasattr(module, "lora_A") and hasattr(module, "get_base_layer"))


def _save(model: Any, folder: Path, factors: Callable[[Any], tuple[torch.Tensor, torch.Tensor]]) -> None:
    from peft import LoraConfig

    tensors, ranks = {}, {}
    with torch.no_grad():
        for name, layer in model.named_modules():
            if hasattr(layer, "lora_A") and hasattr(layer, "get_base_layer"):
                first, second = factors(layer)
                tensors[f"{name}.lora_A.weight"] = first.contiguous()
                tensors[f"{name}.lora_B.weight"] = second.contiguous()
                ranks[name.removeprefix("base_model.model.")] = len(first)
    own, rank = model.peft_config[LEARNS], max(ranks.values())
    fewer = {name: least for name, least in ranks.items() if least != rank}
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        rank_pattern=fewer,
        alpha_pattern=dict(fewer),
        target_modules=own.target_modules,
        fan_in_fan_out=own.fan_in_fan_out,
        task_type=own.task_type,
        base_model_name_or_path=own.base_model_name_or_path,
        inference_mode=True,
    )
    config.save_pretrained(folder)
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
