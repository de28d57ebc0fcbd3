"""A soft prompt before it learns. Scripts hold this source."""

from collections.abc import Callable
from typing import Any

import torch

from engine.compute.soft_prompt import attach


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
    if "tasks" in settings:
        config |= {"tasks": settings["tasks"], "rank": settings["rank"]}
    prompt = attach(model, config).soft_prompt
    prompt.vectors.data.copy_(vectors)
    if prompt.left is not None:
        # One rank alone makes factors of 1; the others begin as a low-rank addition does, without effect.
        further = prompt.left.data[..., 1:]
        further.copy_(torch.randn(further.shape) / settings["rank"] ** 0.5)
        prompt.right.data[:, 1:].zero_()
    return config


def vectors_of(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """What the model makes of words, (words, width), at the place where virtual tokens join. Before `attach`."""
    body = model.base_model
    words = body.embeddings if hasattr(body, "embeddings") else body.get_input_embeddings()
    with torch.no_grad():
        return words(ids[None].to(model.device))[0].float()


def added_weights(model: Any) -> dict[str, torch.Tensor]:
    """The vectors and the factors of tasks, by their names in the model."""
    own = model.soft_prompt.named_parameters(prefix="soft_prompt")
    return {name: parameter.detach().contiguous() for name, parameter in own}
