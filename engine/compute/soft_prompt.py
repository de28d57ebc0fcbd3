"""Virtual tokens before every row of a loaded model. Scripts and model cards hold this source: it needs torch alone."""

import inspect
from typing import Any

import torch
from torch import nn


class SoftPrompt(nn.Module):
    """Vectors that stand before a row as words would, (tokens, width); an encoder may make them while they learn.

    tasks: where there are several, each has factors of its own, which the vectors are multiplied by: the product of
    left, (tasks, tokens, rank), and right, (tasks, rank, width).
    """

    def __init__(self, tokens: int, width: int, tasks: int = 0, rank: int = 1) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(tokens, width))
        self.left = nn.Parameter(torch.ones(tasks, tokens, rank)) if tasks else None
        self.right = nn.Parameter(torch.ones(tasks, rank, width)) if tasks else None
        self.tasks = [0]
        """Of which task each row is that comes next, counted from 0, or one for all."""
        self.encoder: nn.Module | None = None
        self.has_room = False
        """Whether rows begin with placeholders for the vectors, as they do during generation."""

    def forward(self, row: torch.Tensor) -> torch.Tensor:
        """row: (rows, tokens, width) → the same with the vectors before it."""
        vectors = self.vectors if self.encoder is None else self.encoder(self.vectors)
        if self.left is not None and self.right is not None:
            vectors = _of_tasks(vectors, self.left, self.right, self.tasks[: len(row)])
        return torch.cat([vectors.to(row.dtype).expand(len(row), -1, -1), row], dim=1)


def attach(model: Any, config: dict[str, Any]) -> Any:
    """Put virtual tokens before every row; what comes out has the places of the real ones alone.

    They join where words have become vectors: in a decoder before positions count, in an encoder after (its real
    tokens keep their positions).
    """
    tokens = config["tokens"]
    body = getattr(model.base_model, "decoder", model.base_model)
    encodes = hasattr(body, "embeddings")
    prompt = model.soft_prompt = SoftPrompt(
        tokens, config["width"], len(config.get("tasks", [])), config.get("rank", 1)
    ).to(model.device)
    signature = inspect.signature(body.forward)
    # Rotary encoders count positions before there are embeddings; their distances stay as they were.
    counts = encodes and "position_ids" not in inspect.signature(body.embeddings.forward).parameters
    cold = [False]

    def before(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[tuple[()], dict[str, Any]]:
        given = dict(signature.bind_partial(*args).arguments) | kwargs
        cache = given.get("past_key_values")
        cold[0] = cache is None or not cache.get_seq_length()
        if not cold[0]:
            return (), given
        mask, positions = given.get("attention_mask"), given.get("position_ids")
        if mask is not None and not prompt.has_room:
            given["attention_mask"] = _widened(mask, tokens)
        if encodes:
            if counts and positions is None and "position_ids" in signature.parameters:
                length = tokens + given["input_ids"].shape[1]
                given["position_ids"] = torch.arange(length, device=model.device)[None]
            return (), given
        ids = given.pop("input_ids")
        given["inputs_embeds"] = prompt(body.get_input_embeddings()(ids[:, tokens:] if prompt.has_room else ids))
        if positions is not None and not prompt.has_room:
            first = torch.arange(tokens, device=positions.device).expand(len(positions), -1)
            given["position_ids"] = torch.cat([first, positions + tokens], dim=1)
        return (), given

    def after(module: Any, args: Any, output: Any) -> None:
        if cold[0] and not prompt.has_room:
            output.last_hidden_state = output.last_hidden_state[:, tokens:]

    if encodes:
        body.embeddings.register_forward_hook(lambda module, given, row: prompt(row))
    body.register_forward_pre_hook(before, with_kwargs=True)
    body.register_forward_hook(after)
    if model.can_generate():
        model.generate = _generator(model.generate, prompt, tokens)
    return model


def _widened(mask: torch.Tensor, tokens: int) -> torch.Tensor:
    """A mask with virtual tokens before it, which every row sees; of tokens (rows, tokens), or of pairs of tokens."""
    if mask.dim() == 2:
        return torch.cat([mask.new_ones(len(mask), tokens), mask], dim=1)
    seen, hidden = (True, False) if mask.dtype == torch.bool else (0.0, torch.finfo(mask.dtype).min)
    wider = nn.functional.pad(mask, (tokens, 0, tokens, 0), value=hidden)
    wider[..., :tokens] = seen
    wider[..., :tokens, :tokens].masked_fill_(torch.ones(tokens, tokens, device=mask.device).triu(1).bool(), hidden)
    return wider


def _of_tasks(vectors: torch.Tensor, left: torch.Tensor, right: torch.Tensor, tasks: list[int]) -> torch.Tensor:
    """(rows, tokens, width). Chosen by a product, whose gradient is the same each time on every device."""
    with torch.autocast(vectors.device.type, enabled=False):
        each = vectors * (left @ right)
        chosen = torch.zeros(len(tasks), len(each), device=each.device)
        chosen[torch.arange(len(tasks)), tasks] = 1
        return (chosen @ each.flatten(1)).view(-1, *vectors.shape)


def _generator(generate: Any, prompt: SoftPrompt, tokens: int) -> Any:
    """`generate` with placeholders before each row, so that caches, masks and positions are as long as they should."""

    def generates(input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **further: Any) -> torch.Tensor:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        room = input_ids[:, :1].expand(-1, tokens)
        prompt.has_room = True
        try:
            out = generate(
                input_ids=torch.cat([room, input_ids], dim=1),
                attention_mask=torch.cat([torch.ones_like(room), mask], dim=1),
                **further,
            )
        finally:
            prompt.has_room = False
        return out[:, tokens:]

    return generates
