"""A language model that chooses among label words: losses, scores, chances, and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from engine.bases import parts
from engine.compute import classifier, tasks, together
from engine.compute.generation import causal
from engine.compute.label_scores import at_places, label_scores
from engine.compute.language import head_is_plain
from engine.compute.masked import load_masked
from engine.compute.model import load_backbone
from engine.compute.precision import autocast
from engine.data.example import Example
from engine.methods.job import Job, Report
from engine.planning.memory import rows_at_once
from engine.texts.label_words import Slot, beside

CONFIG_FILE = "cloze.json"


def load(job: Job, masked: bool) -> nn.Module:
    """A causal model as it is, a masked one in two parts."""
    return load_masked(job) if masked else load_backbone(job, "causal")


class WordLosses:
    """Cross-entropy of each row's label among all, by the scores of their words: (rows,), and the rows' numbers."""

    def __init__(self, slots: Sequence[Slot], normalised: bool) -> None:
        self.slots = [(slot.fillings, slot.targets) for slot in slots]
        self.normalised = normalised
        self._direct: bool | None = None
        self._together: bool | None = None

    def __call__(self, model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        losses = nn.functional.cross_entropy(self.scores(model, inputs), inputs["labels"], reduction="none")
        return losses, torch.arange(len(losses), device=losses.device)

    def scores(self, model: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Of each label, before they are made chances: (rows, labels), float32."""
        ask = self.asking(model, inputs)
        numbers = inputs["templates"].tolist()
        found: list[torch.Tensor] = []
        order: list[int] = []
        for number in sorted(set(numbers)):
            own = [place for place, one in enumerate(numbers) if one == number]
            some = {
                "ids": inputs["input_ids"][own],
                "mask": inputs["attention_mask"][own],
                "slots": inputs["slots"][own],
            }
            read = together.scores if self._reads_together(model, ask, some, self.slots[number]) else label_scores
            found.append(read(ask, some, self.slots[number], self.normalised))
            order += own
        return torch.cat(found)[torch.tensor(order).argsort().to(found[0].device)]

    def asking(self, model: nn.Module, inputs: dict[str, torch.Tensor]) -> Any:
        """What gives the words' scores at places of rows, as `label_scores` asks for them. inputs: any batch."""
        if self._direct is None:
            self._direct = not hasattr(model, "language_head") and head_is_plain(model, inputs)
        if hasattr(model, "language_head"):
            return model

        inner = causal(model)

        def ask(
            ids: torch.Tensor, mask: torch.Tensor, places: torch.Tensor, positions: torch.Tensor | None = None
        ) -> torch.Tensor:
            given: dict[str, Any] = {"input_ids": ids, "use_cache": False}
            # Rows by themselves need no mask: a causal model's real tokens never look at what follows them.
            if positions is not None:
                given |= {"position_ids": positions, "attention_mask": _added(mask, inner)}
            if not self._direct:
                return at_places(model(**given).logits, places)
            hidden = getattr(inner, inner.base_model_prefix)(**given).last_hidden_state
            return inner.get_output_embeddings()(at_places(hidden, places))

        return ask

    def _reads_together(self, model: nn.Module, ask: Any, rows: dict[str, torch.Tensor], slot: Any) -> bool:
        """Whether label words of several beginnings are read beside the row: of a causal model that can."""
        if hasattr(model, "language_head") or len(slot[0]) < 2:
            return False
        if self._together is None:
            training = model.training
            model.eval()
            try:
                self._together = together.agrees(ask, rows, slot)
            finally:
                model.train(training)
        return self._together


def _added(seen: torch.Tensor, model: Any) -> torch.Tensor:
    """What may be seen as attention takes it: as it is, or, where it is added to the scores, as numbers."""
    if getattr(model.config.get_text_config(), "_attn_implementation", "") != "eager":
        return seen
    lowest = torch.finfo(model.dtype).min
    return torch.zeros_like(seen, dtype=model.dtype).masked_fill(~seen, lowest)


def padded(rows: list[dict[str, Any]], pad_id: int) -> dict[str, torch.Tensor]:
    """Rows without their words, padded as a classifier's; of each also its slot and its template, (rows,)."""
    places = {
        name: torch.tensor([row[key] for row in rows]) for name, key in (("slots", "slot"), ("templates", "template"))
    }
    return {**classifier.padded(rows, pad_id), **places}


def log_chances(
    job: Job,
    model: nn.Module,
    losses: WordLosses,
    texts: Sequence[list[dict[str, Any]]],
    of_tasks: Sequence[int],
    report: Report,
) -> torch.Tensor:
    """Of each label for each text, in the mean over templates: (texts, labels), nats.

    texts: of each, its row for every template. of_tasks: of which task it is.
    """
    model.eval()
    device = next(model.parameters()).device
    order = sorted(range(len(texts)), key=lambda index: len(texts[index][0]["input_ids"]))
    found = torch.zeros(len(texts), len(job.labels))
    more = max(beside(fillings) for fillings, _ in losses.slots) if not hasattr(model, "language_head") else 0
    size = rows_at_once(more + max((len(row["input_ids"]) for rows in texts for row in rows), default=1))
    for start in range(0, len(texts), size):
        some = order[start : start + size]
        tasks.tell(job, model, [of_tasks[index] for index in some])
        for number in range(len(losses.slots)):
            batch = padded([texts[index][number] for index in some], job.tokens.pad_id or 0)
            inputs = {key: value.to(device) for key, value in batch.items()}
            with torch.no_grad(), autocast(job.plan):
                scores = losses.scores(model, inputs)
            found[some] += torch.log_softmax(scores, dim=-1).cpu() / len(losses.slots)
        report(min(start + size, len(texts)), len(texts))
    return torch.log_softmax(found, dim=-1)


def predictions(job: Job, rows: Sequence[Example], found: torch.Tensor) -> tuple[list[str], list[float]]:
    """The label that is given to each row, and the loss of the right one in nats.

    found: as `log_chances` gives it. A row whose label is none of the run's has the loss of the least likely one.
    """
    given = [job.labels[int(place)] for place in found.argmax(dim=-1)]
    losses = [
        float(-scores[job.labels.index(row.label)] if row.label in job.labels else -scores.min())
        for row, scores in zip(rows, found, strict=True)
    ]
    return given, losses


def save(job: Job, model: nn.Module, about: dict[str, Any], folder: Path) -> None:
    """cloze.json with template and words; of a masked model also the head, which its body's files don't hold."""
    (folder / CONFIG_FILE).write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")
    if hasattr(model, "language_head"):
        words = {id(parameter) for parameter in job.objective.backbone(model).parameters()}
        own = {n: p.detach().contiguous() for n, p in model.language_head.named_parameters() if id(p) not in words}
        save_file(own, folder / parts.LANGUAGE_HEAD)
