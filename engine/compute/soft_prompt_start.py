"""A soft prompt before it learns. Scripts hold this source."""

from collections.abc import Callable
from typing import Any

import torch

from engine.compute.soft_prompt import attach, vectors_of


def start(model: Any, settings: dict[str, Any], words: Callable[[str], list[int]]) -> dict[str, Any]:
    """Attach vectors that begin as those of words: of the given text, repeated or cut, else of any words."""
    tokens, sizes = settings["tokens"], model.config.get_text_config()
    ids = words(settings["text"]) if settings["text"] else []
    if ids:
        chosen = torch.tensor((ids * tokens)[:tokens])
    else:
        chosen = torch.randint(sizes.vocab_size, (tokens,))
    vectors = vectors_of(model, chosen)
    config = {"tokens": tokens, "width": vectors.shape[1]}
    attach(model, config).soft_prompt.vectors.data.copy_(vectors)
    return config
