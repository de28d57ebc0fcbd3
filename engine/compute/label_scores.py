"""Scores of labels by the words that stand for them. Standalone scripts and model cards hold this source."""

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_outputs import BaseModelOutput


class Given(nn.Module):
    """Stands in the place of a model's body, whose output it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: torch.Tensor | None = None

    def forward(self, *args: Any, **kwargs: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=self.hidden)


class Masked(nn.Module):
    """A masked language model in two parts: its body, which may learn, and its head, which scores chosen places."""

    head_learns = False

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.config = whole.config
        self.backbone = whole.base_model
        words = whole.get_output_embeddings()
        self.tied = words is not None and words.weight is self.backbone.get_input_embeddings().weight
        setattr(whole, whole.base_model_prefix, Given())
        self.language_head = whole

    def tie(self) -> None:
        """Let the head score words by the vectors that a body which took the first one's place has for them."""
        if self.tied and not hasattr(self.backbone, "get_base_model"):
            self.language_head.get_output_embeddings().weight = self.backbone.get_input_embeddings().weight

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """ids, mask: (rows, tokens); places: (rows, places) → logits, (rows, places, vocabulary)."""
        return self.scores(at_places(self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state, places))

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """hidden: what the body makes of tokens, (rows, places, width) → logits, (rows, places, vocabulary)."""
        body = self.language_head.base_model
        body.hidden = hidden
        try:
            return self.language_head(
                input_ids=torch.zeros(hidden.shape[:2], dtype=torch.long, device=hidden.device)
            ).logits
        finally:
            body.hidden = None


def at_places(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """values: (rows, tokens, width); places: (rows, places) → (rows, places, width)."""
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[-1]))


def filled(ids: torch.Tensor, mask: torch.Tensor, slots: torch.Tensor, filling: Any) -> tuple[Any, Any]:
    """ids and mask, (rows, tokens), with these tokens at each row's slot, (rows,)."""
    count = len(filling)
    if not count:
        return ids, mask
    at = torch.arange(ids.shape[1] + count, device=ids.device).expand(len(ids), -1)
    begin = slots[:, None]
    source = torch.where(at < begin, at, at - count).clamp(0, ids.shape[1] - 1)
    inside = (at >= begin) & (at < begin + count)
    words = torch.tensor(filling, device=ids.device)[(at - begin).clamp(0, count - 1)]
    return torch.where(inside, words, ids.gather(1, source)), torch.where(inside, 1, mask.gather(1, source))


def label_scores(ask: Any, rows: dict[str, torch.Tensor], slot: Any, normalised: bool) -> torch.Tensor:
    """Log-probability of each label's word in the slot, a token's mean of it where `normalised`: (rows, labels).

    ask: ids, mask and places to logits, as `Masked` does. rows: "ids" and "mask", (rows, tokens), without filling,
    and "slots", (rows,). slot: fillings and targets (engine.texts.label_words). Each filling is a reading; where there
    are several, what they keep for the backward pass is made again then, one after the other, so that all need the
    memory of one.
    """
    fillings, targets = slot
    scores = torch.zeros(len(rows["ids"]), len(targets), device=rows["ids"].device)
    for number, filling in enumerate(fillings):
        asked = [
            (label, place, token, 1 / len(target) if normalised else 1.0)
            for label, target in enumerate(targets)
            for reading, place, token in target
            if reading == number
        ]
        if len(fillings) > 1 and torch.is_grad_enabled():
            part = checkpoint(_reading, ask, rows, filling, asked, len(targets), use_reentrant=False)
        else:
            part = _reading(ask, rows, filling, asked, len(targets))
        scores = scores + part
    return scores


def _reading(ask: Any, rows: dict[str, torch.Tensor], filling: Any, asked: Any, labels: int) -> torch.Tensor:
    """What one reading adds to the scores, (rows, labels). asked: label, place after the slot's first, token, share."""
    ids, mask = filled(rows["ids"], rows["mask"], rows["slots"], filling)
    places = sorted({place for _, place, _, _ in asked})
    at = rows["slots"][:, None] + torch.tensor(places, device=ids.device)
    logs = torch.log_softmax(ask(ids, mask, at).float(), dim=-1)
    found = logs[:, [places.index(place) for _, place, _, _ in asked], [token for _, _, token, _ in asked]]
    return of_labels(found, [(label, share) for label, _, _, share in asked], labels)


def of_labels(found: torch.Tensor, asked: Any, labels: int) -> torch.Tensor:
    """Sums of tokens' log-probabilities, (rows, tokens), by label, (rows, labels). asked: of each, its label and share.

    A product, whose gradient is the same each time on every device.
    """
    shares = torch.zeros(len(asked), labels, device=found.device)
    shares[list(range(len(asked))), [label for label, _ in asked]] = torch.tensor(
        [share for _, share in asked], device=found.device
    )
    with torch.autocast(found.device.type, enabled=False):
        return found @ shares
