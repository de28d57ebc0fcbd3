"""Which models are computed so: dense decoders as Llama, Mistral and Qwen have them, where LoRA is all that learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from engine.compute.generation import causal

LAYERS = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer")
"""Classes of transformers whose arithmetic this package repeats."""
WIDTHS = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Addition:
    """`left` reads what a linear layer reads, (rank, inputs), `right` adds to what it gives, (outputs, rank)."""

    left: nn.Parameter
    right: nn.Parameter
    scale: float


@dataclass(frozen=True)
class Part:
    """A linear layer, and what is added to it: nothing, one addition, or one that learns beside others."""

    base: nn.Linear
    """Its weight may be packed in 4 bits (bitsandbytes)."""
    additions: tuple[Addition, ...] = ()

    @property
    def packed(self) -> bool:
        return hasattr(self.base.weight, "quant_state")

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs."""
        return self.base.out_features, self.base.in_features

    def weight(self, dtype: torch.dtype) -> torch.Tensor:
        """(outputs, inputs), unpacked where it is packed."""
        weight: Any = self.base.weight
        if not self.packed:
            found: torch.Tensor = weight.data
            return found
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(weight.data, weight.quant_state).to(dtype)

    def computes_in(self, dtype: torch.dtype) -> bool:
        return self.packed or self.base.weight.dtype == dtype

    @property
    def rank(self) -> int:
        return sum(len(one.left) for one in self.additions)


def body_of(model: nn.Module) -> Any | None:
    """The part of a causal model between words and their scores, where all its layers are known; else None."""
    inner = causal(model)
    body = getattr(inner, getattr(inner, "base_model_prefix", "") or "model", None)
    layers = getattr(body, "layers", None)
    if layers is None or not len(layers) or not hasattr(body, "rotary_emb"):
        return None
    if any(type(layer).__name__ not in LAYERS for layer in layers):
        return None
    config = inner.config
    if getattr(config, "attention_dropout", 0.0) or getattr(config, "hidden_act", "silu") != "silu":
        return None
    return body


def part(layer: Any) -> Part | None:
    """None: it is no linear layer with plain LoRAs, or none, on it."""
    if _plain(layer):
        return Part(layer)
    base = getattr(layer, "base_layer", None)
    if type(layer) not in _wrappers() or not _plain(base):
        return None
    if layer.merged or layer.disable_adapters or layer.fan_in_fan_out:
        return None
    found = [_addition(layer, name) for name in layer.active_adapters if name in layer.lora_A]
    plain = tuple(one for one in found if one is not None)
    return Part(layer.base_layer, plain) if plain and len(plain) == len(found) else None


def _addition(layer: Any, name: str) -> Addition | None:
    left, right = layer.lora_A[name], layer.lora_B[name]
    plain = name not in layer.lora_variant and isinstance(layer.lora_dropout[name], nn.Identity)
    if not plain or left.bias is not None or right.bias is not None:
        return None
    return Addition(left.weight, right.weight, float(layer.scaling[name]))


def all_learns(body: nn.Module, parts: list[Part]) -> bool:
    """Whether these additions are all that learns in a body."""
    added = {id(one) for part in parts for addition in part.additions for one in (addition.left, addition.right)}
    learning = {id(one) for one in body.parameters() if one.requires_grad}
    return bool(learning) and learning <= added


def watched(layer: nn.Module) -> bool:
    """Whether something else looks at, or changes, what passes through a layer."""
    return any(module._forward_hooks or module._forward_pre_hooks for module in layer.modules())


def _wrappers() -> list[type]:
    """PEFT's classes of linear layers with LoRA."""
    from peft.import_utils import is_bnb_4bit_available
    from peft.tuners.lora.layer import Linear

    if not is_bnb_4bit_available():
        return [Linear]
    from peft.tuners.lora.bnb import Linear4bit

    return [Linear, Linear4bit]


def _plain(base: Any) -> bool:
    """Whether this is a linear layer that stays as it is, of 16 or 32 bits, or of 4 (nf4)."""
    if not isinstance(base, nn.Linear) or any(one.requires_grad for one in base.parameters()):
        return False
    if type(base).__name__ == "Linear4bit":
        state = getattr(base.weight, "quant_state", None)
        return state is not None and tuple(state.shape) == (base.out_features, base.in_features)
    return type(base) is nn.Linear and base.weight.dtype in WIDTHS
