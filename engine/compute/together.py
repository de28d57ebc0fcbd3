"""All words that may stand in a slot, read beside the row in one sequence, by a model that reads from left to right.

Each of them goes on where the row ends, and sees the row and itself, none of the others. So a row is read once, in
place of once for every beginning of a word; the scores are those of `engine.compute.label_scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from engine.compute.label_scores import label_scores, of_labels
from engine.texts.label_words import grouped

Ask = Callable[..., torch.Tensor]
"""ids, mask, places and, of sequences with more than a row in them, positions → logits, (rows, places, vocabulary)."""
CLOSE, ROUNDED = 1e-3, 0.05
"""How far scores may be apart, in nats, in float32 and in 16 bits."""


def scores(ask: Ask, rows: dict[str, torch.Tensor], slot: Any, normalised: bool) -> torch.Tensor:
    """As `label_scores`: log-probability of each label's word in the slot, (rows, labels), float32.

    Words that are too many for one sequence are read in several; what these keep for the backward pass is made again
    then, one after the other.
    """
    fillings, targets = slot
    if len(fillings) < 2:
        return label_scores(ask, rows, slot, normalised)
    groups = grouped(fillings)
    found = torch.zeros(len(rows["ids"]), len(targets), device=rows["ids"].device)
    for group in groups:
        asked = [
            _Asked(label, group.index(reading), place, token, 1 / len(target) if normalised else 1.0)
            for label, target in enumerate(targets)
            for reading, place, token in target
            if reading in group
        ]
        given = (ask, rows, [fillings[number] for number in group], asked, len(targets))
        found = found + (
            checkpoint(_reading, *given, use_reentrant=False)
            if len(groups) > 1 and torch.is_grad_enabled()
            else _reading(*given)
        )
    return found


def agrees(ask: Ask, rows: dict[str, torch.Tensor], slot: Any) -> bool:
    """Whether a model, which is in the mode for evaluation, says of one row what it says of it word by word."""
    first = {name: value[:1] for name, value in rows.items()}
    with torch.no_grad():
        apart = label_scores(ask, first, slot, True)
        try:
            beside = scores(ask, first, slot, True)
        except (RuntimeError, TypeError, ValueError, IndexError):  # it has no use for such masks or positions
            return False
        exact = ask(first["ids"], first["mask"], first["slots"][:, None] - 1).dtype == torch.float32
    return bool((apart - beside).abs().max() <= (CLOSE if exact else ROUNDED))


@dataclass(frozen=True)
class _Asked:
    """A token of a label's word. place: after the slot's first token, in its filling."""

    label: int
    filling: int
    place: int
    token: int
    share: float


def _reading(
    ask: Ask, rows: dict[str, torch.Tensor], fillings: list[tuple[int, ...]], asked: list[_Asked], labels: int
) -> torch.Tensor:
    """What one sequence of each row adds to the scores, (rows, labels)."""
    ids, slots = rows["ids"], rows["slots"]
    length = ids.shape[1]
    begins = [length, *(length + end for end in accumulate(map(len, fillings)))]
    words = torch.tensor([token for one in fillings for token in one], device=ids.device)
    within = torch.tensor([place for one in fillings for place in range(len(one))], device=ids.device)
    positions = torch.cat(
        [torch.arange(length, device=ids.device).expand(len(ids), -1), slots[:, None] + within], dim=1
    )
    # The slot's own place is the token before it, which all words share; others lie in the fillings.
    shared = sorted({begins[one.filling] + one.place for one in asked if one.place >= 0})
    at = torch.cat([slots[:, None] - 1, torch.tensor(shared, device=ids.device).expand(len(ids), -1).long()], dim=1)
    logits = ask(torch.cat([ids, words.expand(len(ids), -1)], dim=1), seen(slots, length, fillings), at, positions)
    logs = torch.log_softmax(logits.float(), dim=-1)
    places = [0 if one.place < 0 else 1 + shared.index(begins[one.filling] + one.place) for one in asked]
    found = logs[:, places, [one.token for one in asked]]
    return of_labels(found, [(one.label, one.share) for one in asked], labels)


def seen(slots: torch.Tensor, length: int, fillings: Sequence[tuple[int, ...]]) -> torch.Tensor:
    """Which tokens each may look at, (rows, 1, tokens, tokens): those of its row before it, or of its filling.

    slots: where each row ends, (rows,). length: of the padded rows, which fillings stand behind.
    """
    owner = [0] * length + [number for number, one in enumerate(fillings, start=1) for _ in one]
    own = torch.tensor(owner, device=slots.device)
    at = torch.arange(len(owner), device=slots.device)
    before = (at[None, :] <= at[:, None]) & (own[None, :] == own[:, None])
    of_row = (own[None, :] == 0) & (own[:, None] > 0) & (at[None, None, :] < slots[:, None, None])
    return (before[None] | of_row)[:, None]
