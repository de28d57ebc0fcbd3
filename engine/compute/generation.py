"""Words that a model writes to prompts, one by one, as token ids. A standalone script holds this source, too."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, GenerationConfig

LEAST_SHARED = 8
"""Tokens; a shorter common beginning is not worth a cache."""


@dataclass(frozen=True)
class Beginning:
    """What all prompts begin with, computed once: how many tokens that is, and their keys and values."""

    length: int = 0
    cache: DynamicCache | None = None


def generated(
    model: nn.Module, prompts: list[list[int]], config: GenerationConfig, begin: Beginning
) -> list[list[int]]:
    """What follows each prompt (token ids), computed at once: ids, up to and with the one that ends it, if any does."""
    ids, mask = _with_gap(prompts, begin.length, int(config.pad_token_id))
    further: dict[str, Any] = {}
    if begin.cache is not None:
        further["past_key_values"] = copy.deepcopy(begin.cache)
        further["past_key_values"].batch_repeat_interleave(len(prompts))
    device = next(model.parameters()).device
    generate: Any = model.generate
    out = generate(input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=config, **further)
    return [until_stop(row, set(config.eos_token_id or ())) for row in out[:, ids.shape[1] :].tolist()]


def beginning(model: nn.Module, prompts: list[list[int]]) -> Beginning:
    """The common beginning of prompts, read once; none where that isn't worth it."""
    shared = _common_length(prompts)
    if not shared:
        return Beginning()
    cache = DynamicCache(config=causal(model).config)
    ids = torch.tensor([prompts[0][:shared]], device=next(model.parameters()).device)
    model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return Beginning(shared, cache)


def causal(model: Any) -> Any:
    """The causal language model inside a tuner's wrapping."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def until_stop(ids: list[int], stops: set[int]) -> list[int]:
    return next((ids[: index + 1] for index, token in enumerate(ids) if token in stops), ids)


def _common_length(prompts: list[list[int]]) -> int:
    """How many tokens all prompts begin with; 0 where sharing them isn't worth it. Each prompt keeps one of its own."""
    first, last = min(prompts), max(prompts)
    most = min(len(first), len(last), *map(len, prompts)) - 1
    same = next((place for place in range(most) if first[place] != last[place]), most)
    return same if len(prompts) > 1 and same >= LEAST_SHARED else 0


def _with_gap(prompts: list[list[int]], shared: int, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, (rows, tokens): the shared beginning, then padding, then each row's own end."""
    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), pad)
    mask = torch.ones((len(prompts), longest), dtype=torch.long)
    for place, prompt in enumerate(prompts):
        gap = longest - len(prompt)
        ids[place, :shared] = torch.tensor(prompt[:shared], dtype=torch.long)
        ids[place, shared + gap :] = torch.tensor(prompt[shared:])
        mask[place, shared : shared + gap] = 0
    return ids, mask
