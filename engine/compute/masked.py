"""A masked language model in two parts: body and head loaded, hidden words' losses, and what is kept of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from engine.bases import parts
from engine.bases.lineage import WHOLE
from engine.compute import tasks
from engine.compute.label_scores import Given, Masked
from engine.compute.model import load_backbone
from engine.compute.precision import autocast
from engine.compute.reading import How
from engine.data.example import Example
from engine.errors import ModelError
from engine.methods.job import Job
from engine.texts.tokens import Encoded

IGNORED = -100


def load_masked(job: Job, new_head: bool = False) -> Masked:
    """The base's body and its head, which stays as it is; or with a new one, which learns.

    Raises ModelError where the head can't be used apart from its body.
    """
    begun = job.goes_on and job.start is not None and (job.start / parts.LANGUAGE_HEAD).exists()
    whole = load_backbone(job, "masked with a new head" if new_head or begun else "masked")
    ids = torch.tensor([[job.tokens.mask_id or 0, *(job.tokens.encode_bare("a b c")[0])]], device=whole.device)
    mask, places = torch.ones_like(ids), torch.arange(ids.shape[1], device=whole.device)[None]
    with torch.no_grad(), autocast(job.plan):
        before = whole(input_ids=ids, attention_mask=mask).logits
        parted = Masked(whole).eval()
        after = parted(ids, mask, places)
    if (before - after).abs().max() > 1e-3 * before.abs().max().clamp(min=1):
        raise ModelError(
            f"The masked-language head of {job.facts.id} can't be used apart from its body.", "Choose another model."
        )
    parted.head_learns = new_head
    return parted


def own_parameters(model: Any) -> dict[str, nn.Parameter]:
    """Parameters of the head by name, but for the word embeddings that it shares with the body."""
    shared = {id(parameter) for parameter in model.backbone.parameters()}
    return {
        f"language_head.{name}": parameter
        for name, parameter in model.language_head.named_parameters()
        if id(parameter) not in shared
    }


def padded(rows: list[dict[str, Any]], pad_id: int) -> dict[str, torch.Tensor]:
    """Rows of equal length, (rows, tokens), padded on the right, with the mask of their real tokens."""
    longest = max(len(row["input_ids"]) for row in rows)
    shape = (len(rows), longest)
    ids, labels, mask = torch.full(shape, pad_id), torch.full(shape, IGNORED), torch.zeros(shape, dtype=torch.long)
    for index, row in enumerate(rows):
        count = len(row["input_ids"])
        ids[index, :count] = torch.tensor(row["input_ids"], dtype=torch.long)
        labels[index, :count] = torch.tensor(row["labels"], dtype=torch.long)
        mask[index, :count] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask, **tasks.of_rows(rows)}


def hidden_losses(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of each hidden token; the words are scored at their places alone."""
    hidden = inputs["labels"] != IGNORED
    read = model.backbone(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
    scores = model.scores(read[hidden][None])[0]
    losses = nn.functional.cross_entropy(scores.float(), inputs["labels"][hidden], reduction="none")
    return losses, hidden.nonzero()[:, 0]


def hidden_bytes(job: Job, row: Example, encoded: Encoded) -> int:
    """Bytes of the text that stand behind its hidden tokens; of a character hidden in part, all."""
    before = len(job.tokens.frame[0])
    _, spans = job.tokens.encode_bare(row.text)
    found = {place for at, learned in enumerate(encoded.learned) if learned for place in range(*spans[at - before])}
    return sum(len(row.text[place].encode()) for place in found)


HOW = How("bits_per_hidden_byte", "bits a hidden byte", padded, hidden_bytes)
"""How well hidden words are guessed, as `reading.scores` wants it."""


def assembled(model: Any) -> Any:
    """Body and head as one model of transformers, for as long as nothing else is done with them."""
    whole = model.language_head
    setattr(whole, whole.base_model_prefix, model.backbone)
    return whole


def save(model: Any, about: dict[str, Any], folder: Path) -> None:
    """The head beside what learned; where the folder holds a whole body, it becomes the whole model, head and all."""
    head = {name: p.detach().contiguous() for name, p in _bare(model).items()}
    if any((folder / name).exists() for name in WHOLE):
        for file in folder.glob("model*.safetensors*"):
            file.unlink()
        whole = assembled(model)
        try:
            whole.save_pretrained(folder)
        finally:
            setattr(whole, whole.base_model_prefix, Given())
    save_file(head, folder / parts.LANGUAGE_HEAD)
    (folder / parts.MASKED_FILE).write_text(json.dumps(about, indent=1), encoding="utf-8")


def restore(model: Any, folder: Path) -> None:
    """Take the head that `save` wrote. Raises ModelError where it is not one of this model."""
    try:
        saved = load_file(folder / parts.LANGUAGE_HEAD)
        model.head_learns = json.loads((folder / parts.MASKED_FILE).read_text(encoding="utf-8"))["head_learned"]
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(
            f"The language head in {folder.name} can't be read: {error}.", "Train the run again."
        ) from None
    own = _bare(model)
    if saved.keys() != own.keys() or any(saved[name].shape != own[name].shape for name in saved):
        raise ModelError(f"The language head in {folder.name} is not one of this model.", "Train the run again.")
    with torch.no_grad():
        for name, tensor in saved.items():
            own[name].copy_(tensor)


def _bare(model: Any) -> dict[str, nn.Parameter]:
    return {name.removeprefix("language_head."): one for name, one in own_parameters(model).items()}
