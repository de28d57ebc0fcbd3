"""A prefix before it learns. Scripts hold this source."""

from collections.abc import Callable
from typing import Any

import torch

from engine.compute.soft_prefix import SoftPrefix, attach
from engine.places import attention_places


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
    return config


def begin(model: Any, ids: torch.Tensor) -> None:
    """Begin with what attention holds of these words, (tokens,)."""
    prefixes = [module for module in model.modules() if isinstance(module, SoftPrefix)]
    for prefix in prefixes:
        prefix.notes = True
    with torch.no_grad():
        model.base_model(input_ids=ids[None].to(model.device))
    if any(prefix.notes for prefix in prefixes):
        raise ValueError("This model's attention does not ask transformers' attention interface.")


def added_weights(model: Any) -> dict[str, torch.Tensor]:
    """All prefixes, by their names in the model."""
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items() if ".soft_prefix." in name}
