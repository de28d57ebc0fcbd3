"""The child that proposes words for labels (see engine.word_choice). Run as `python -m engine.compute.word_choice`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.children import Record, serve
from engine.compute.cloze import WordLosses, padded
from engine.compute.label_scores import filled
from engine.compute.model import untrained
from engine.compute.precision import autocast
from engine.data.example import Example
from engine.methods.job import Job
from engine.planning.jobs import open_job
from engine.texts import label_words

POOL = 400
"""Of a label's likeliest tokens, so many may become its word: rare ones separate by chance."""
BEST = 20
"""Of these, so many are kept to choose from."""
SHOWN = 3
SHORTEST = 2
"""Letters."""
ROWS_AT_ONCE = 4


def handle(request: Record, send: Callable[[Any], None], cancelled: Callable[[], bool]) -> None:
    """Send a list of proposals, one for each label."""
    job = open_job(Path(request["folder"]), lambda text: None, to_train=False)
    torch.set_num_threads(job.plan.threads)
    send(proposals(job, mean_logs(job, untrained(job), job.examples["train"])))


def mean_logs(job: Job, model: nn.Module, rows: Sequence[Example]) -> torch.Tensor:
    """How likely each token is in the slot of a label's rows, in their mean: (labels, vocabulary), nats."""
    device = next(model.parameters()).device
    losses: WordLosses = job.objective.losses_of(job)  # type: ignore[attr-defined]
    filling = (job.tokens.mask_id,) if job.facts.kind == "encoder" else ()
    sums: dict[str, torch.Tensor] = {}
    texts = job.objective.asked_rows(job, rows)  # type: ignore[attr-defined]
    for number in range(len(texts[0])):
        for start in range(0, len(rows), ROWS_AT_ONCE):
            batch = padded([own[number] for own in texts[start : start + ROWS_AT_ONCE]], job.tokens.pad_id or 0)
            inputs = {key: value.to(device) for key, value in batch.items()}
            ids, mask = filled(inputs["input_ids"], inputs["attention_mask"], inputs["slots"], filling)
            places = inputs["slots"][:, None] - (0 if filling else 1)
            with torch.no_grad(), autocast(job.plan):
                logs = torch.log_softmax(losses.asking(model, inputs)(ids, mask, places)[:, 0].float(), dim=-1).cpu()
            for row, found in zip(rows[start:], logs, strict=False):
                sums[row.label] = sums.get(row.label, torch.zeros_like(found)) + found
    counts = {label: len(texts[0]) * sum(row.label == label for row in rows) for label in job.labels}
    return torch.stack([sums[label] / counts[label] for label in job.labels])


def proposals(job: Job, means: torch.Tensor) -> list[dict[str, Any]]:
    """For each label a word that no other one has. means: as `mean_logs` gives them."""
    apart = means - (means.sum(dim=0) - means) / (len(means) - 1)
    listed: list[tuple[float, int, str]] = []
    for number, (own, gain) in enumerate(zip(means, apart, strict=True)):
        likely = own.topk(min(POOL, len(own))).indices
        order = likely[gain[likely].argsort(descending=True)].tolist()
        found = [(float(gain[token]), word) for token in order if (word := _word(job, token))]
        listed += [(nats, number, word) for nats, word in found[:BEST]]
    chosen: dict[int, tuple[float, str]] = {}
    taken: set[str] = set()
    for nats, number, word in sorted(listed, key=lambda one: (-one[0], one[1], one[2])):
        if number not in chosen and word.casefold() not in taken:
            chosen[number] = nats, word
            taken.add(word.casefold())
    return [
        {
            "label": label,
            "word": chosen[number][1],
            "nats": chosen[number][0],
            "others": [word for _, own, word in listed if own == number and word != chosen[number][1]][:SHOWN],
        }
        for number, label in enumerate(job.labels)
        if number in chosen
    ]


def _word(job: Job, token: int) -> str:
    """The word that is this token in the slot of every template, or "" where there is none."""
    word = job.tokens.decode([token]).strip()
    if len(word) < SHORTEST or not word.isalpha() or token in job.tokens.special_ids:
        return ""
    made = job.objective_settings.templates(job.facts.kind == "encoder")
    fits = all(label_words.word_ids(job.tokens, template, word) == (token,) for template in made)
    return word if fits else ""


if __name__ == "__main__":
    serve(handle)
