"""A soft prompt whose vectors a small network makes while they learn (P-tuning). Scripts hold this source."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from engine.compute.soft_prompt import attach


class PromptEncoder(nn.Module):
    """(tokens, width) → (tokens, width): two layers, behind a two-way LSTM or not."""

    def __init__(self, width: int, hidden: int, kind: str) -> None:
        super().__init__()
        self.lstm = None
        if kind == "lstm":
            self.lstm = nn.LSTM(width, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.layers = nn.Sequential(
            nn.Linear(2 * hidden if self.lstm else width, hidden), nn.ReLU(), nn.Linear(hidden, width)
        )

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        # In float32 whatever the rest computes in: it is small, and so are the vectors.
        with torch.autocast(vectors.device.type, enabled=False):
            return self.layers(self.lstm(vectors[None])[0][0] if self.lstm else vectors)


def start(model: Any, settings: dict[str, Any], words: Callable[[str], list[int]]) -> dict[str, Any]:
    """Attach vectors that begin by chance, and the network that makes them."""
    width = model.base_model.get_input_embeddings().weight.shape[1]
    config = {"tokens": settings["tokens"], "width": width}
    prompt = attach(model, config).soft_prompt
    nn.init.normal_(prompt.vectors)
    prompt.encoder = PromptEncoder(width, settings["hidden"] or width, settings["encoder"]).to(model.device)
    return config


def added_weights(model: Any) -> dict[str, torch.Tensor]:
    """The vectors as they are used; the network that made them is needed no more."""
    prompt = model.soft_prompt
    with torch.no_grad():
        vectors = prompt.vectors if prompt.encoder is None else prompt.encoder(prompt.vectors)
    return {"soft_prompt.vectors": vectors.contiguous()}
