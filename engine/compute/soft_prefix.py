"""Keys and values before those of every row, in each layer's attention. Scripts and model cards hold this source."""

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask


class SoftPrefix(nn.Module):
    """keys, values: (heads, tokens, size), as attention holds them; a network may add to them while they learn."""

    def __init__(self, heads: int, tokens: int, size: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.zeros(heads, tokens, size))
        self.values = nn.Parameter(torch.zeros(heads, tokens, size))
        self.network: nn.Module | None = None
        self.notes = False
        """Whether the next row's own keys and values are taken over, in place of being preceded."""

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The keys and values as attention meets them."""
        if self.network is None:
            return self.keys, self.values
        keys, values = self.network()
        return self.keys + keys, self.values + values


def attend(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **further: Any
) -> Any:
    """transformers' sdpa attention with the module's prefix in front; every position sees it."""
    prefix = getattr(module, "soft_prefix", None)
    if prefix is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **further)
    if prefix.notes:
        prefix.keys.data.copy_(key[0])
        prefix.values.data.copy_(value[0])
        prefix.notes = False
        return sdpa_attention_forward(module, query, key, value, attention_mask, **further)
    before, values = prefix()
    tokens, own, asking = before.shape[1], key.shape[2], query.shape[2]
    causal = further.pop("is_causal", None)
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if attention_mask is None and causal and asking > 1:
        attention_mask = key.new_ones(1, 1, asking, own, dtype=torch.bool).tril(own - asking)
    if attention_mask is not None:
        seen = attention_mask.new_full((*attention_mask.shape[:-1], tokens), attention_mask.dtype == torch.bool)
        attention_mask = torch.cat([seen, attention_mask[..., :own]], dim=-1)
    key = torch.cat([before.to(key.dtype).expand(len(key), -1, -1, -1), key], dim=2)
    value = torch.cat([values.to(value.dtype).expand(len(value), -1, -1, -1), value], dim=2)
    return sdpa_attention_forward(module, query, key, value, attention_mask, is_causal=False, **further)


def attach(model: Any, config: dict[str, Any]) -> Any:
    """Give each attention module that config["places"] names a prefix of its own."""
    AttentionInterface.register("soft_prefix", attend)
    AttentionMaskInterface.register("soft_prefix", sdpa_mask)
    model.set_attn_implementation("soft_prefix")
    for place in config["places"]:
        prefix = SoftPrefix(config["heads"], config["tokens"], config["size"])
        model.get_submodule(place).soft_prefix = prefix.to(model.device)
    return model
