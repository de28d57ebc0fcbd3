"""A prefix before it learns. Scripts hold this source."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from engine.bases.places import attention_places
from engine.compute.soft_prefix import SoftPrefix, attach

SLOWER = 1 / 30
"""A network learns this many times as fast as numbers that learn themselves: each step moves all that it makes."""


class Stem(nn.Module):
    """What all layers' networks begin with: a small matrix, and its way into the width between."""

    def __init__(self, tokens: int, width: int, hidden: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(tokens, width))
        self.inner = nn.Linear(width, hidden)

    def forward(self) -> torch.Tensor:
        """(tokens, hidden)"""
        return torch.tanh(self.inner(self.vectors))


class PrefixNetwork(nn.Module):
    """Makes one layer's share of the prefix: its part of the last layer, which begins with nothing."""

    def __init__(self, stem: Stem, hidden: int, heads: int, size: int) -> None:
        super().__init__()
        self.stem = stem
        self.outer = nn.Linear(hidden, 2 * heads * size)
        self.heads = heads
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values, (heads, tokens, size) each."""
        # In float32 whatever the rest computes in: it is small, and so is what it makes.
        with torch.autocast(self.outer.weight.device.type, enabled=False):
            made = self.outer(self.stem())
        keys, values = made.view(len(made), 2, self.heads, -1).permute(1, 2, 0, 3)
        return keys, values


def start(model: Any, settings: dict[str, Any], words: Callable[[str], list[int]]) -> dict[str, Any]:
    """Attach keys and values that begin as those of words: of the given text, repeated or cut, else of any words."""
    tokens, sizes = settings["tokens"], model.config.get_text_config()
    heads = getattr(sizes, "num_key_value_heads", None) or sizes.num_attention_heads
    config = {
        "tokens": tokens,
        "heads": heads,
        "size": getattr(sizes, "head_dim", None) or sizes.hidden_size // sizes.num_attention_heads,
        "places": attention_places([name for name, _ in model.named_modules()], sizes.num_hidden_layers),
    }
    ids = words(settings["text"]) if settings["text"] else []
    chosen = torch.tensor((ids * tokens)[:tokens]) if ids else torch.randint(sizes.vocab_size, (tokens,))
    attach(model, config)
    begin(model, chosen)
    if settings["reparametrised"]:
        add_network(model, sizes.hidden_size, settings["hidden"])
    return config


def begin(model: Any, ids: torch.Tensor) -> None:
    """Begin with what attention holds of these words, (tokens,)."""
    prefixes = _prefixes(model)
    for prefix in prefixes:
        prefix.notes = True
    with torch.no_grad():
        model.base_model(input_ids=ids[None].to(model.device))
    if any(prefix.notes for prefix in prefixes):
        raise ValueError("This model's attention does not ask transformers' attention interface.")


def add_network(model: Any, width: int, hidden: int) -> None:
    """Let a network add to the prefixes, which learn no more themselves (Li, Liang 2021, section 4.3)."""
    prefixes = _prefixes(model)
    heads, tokens, size = prefixes[0].keys.shape
    stem = Stem(tokens, width, hidden)
    for prefix in prefixes:
        prefix.requires_grad_(False)
        prefix.network = PrefixNetwork(stem, hidden, heads, size).to(prefix.keys.device)


def rates(names: Iterable[str]) -> dict[str, float]:
    """How many times as fast as the run's rate parameters learn, by name."""
    return {name: SLOWER for name in names if ".soft_prefix.network." in name}


def begun_words(model: Any) -> dict[str, torch.Tensor]:
    """What a network adds to, by name; nothing where there is none."""
    named = {name: tensor for name, tensor in model.named_parameters() if name.endswith((".keys", ".values"))}
    return {name: tensor for name, tensor in named.items() if ".soft_prefix." in name and not tensor.requires_grad}


def added_weights(model: Any) -> dict[str, torch.Tensor]:
    """All prefixes as they are used, by their names in the model; a network that made them is needed no more."""
    found: dict[str, torch.Tensor] = {}
    for name, prefix in model.named_modules():
        if isinstance(prefix, SoftPrefix):
            with torch.no_grad():
                keys, values = prefix()
            found |= {f"{name}.keys": keys.contiguous(), f"{name}.values": values.contiguous()}
    return found


def _prefixes(model: Any) -> list[SoftPrefix]:
    return [module for module in model.modules() if isinstance(module, SoftPrefix)]
