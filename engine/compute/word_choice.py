"""The child that proposes words for labels (see engine.word_choice). Run as `python -m engine.compute.word_choice`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
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
WORDS_AT_ONCE = 32


def handle(request: Record, send: Callable[[Any], None], cancelled: Callable[[], bool]) -> None:
    """Send a list of proposals, one for each label."""
    job = open_job(Path(request["folder"]), lambda text: None, to_train=False)
    torch.set_num_threads(job.plan.threads)
    model = untrained(job)
    listed = candidates(job, mean_logs(job, model, job.examples["train"]))
    send(proposals(job, listed, begun(job, model, sorted({one.token for own in listed for one in own}))))


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


@dataclass(frozen=True)
class Candidate:
    """A token that is likelier with a label's rows than with the others'. nats: by how much; see `Proposal.nats`."""

    token: int
    word: str
    nats: float


def candidates(job: Job, means: torch.Tensor) -> list[list[Candidate]]:
    """Of each label the words to choose from, the best first. means: as `mean_logs` gives them."""
    apart = means - (means.sum(dim=0) - means) / (len(means) - 1)
    listed = []
    for own, gain in zip(means, apart, strict=True):
        likely = own.topk(min(POOL, len(own))).indices
        order = likely[gain[likely].argsort(descending=True)].tolist()
        found = [Candidate(token, word, float(gain[token])) for token in order if (word := _word(job, token))]
        listed.append(found[:BEST])
    return listed


def begun(job: Job, model: nn.Module, tokens: Sequence[int]) -> set[int]:
    """Of these tokens those that are the beginning of a longer word ("Pok"), by what the model expects after them."""
    device = next(model.parameters()).device
    losses: WordLosses = job.objective.losses_of(job)  # type: ignore[attr-defined]
    masked = job.facts.kind == "encoder"
    begin, end = job.tokens.frame
    made = job.objective_settings.templates(masked)[0]
    before = [*begin, *job.tokens.encode_bare(made.anchor)[0]]
    after = [job.tokens.mask_id, *end] if masked else []
    found: set[int] = set()
    for start in range(0, len(tokens), WORDS_AT_ONCE):
        some = list(tokens[start : start + WORDS_AT_ONCE])
        ids = torch.tensor([[*before, token, *after] for token in some], device=device)
        mask, places = torch.ones_like(ids), torch.full((len(some), 1), len(before) + masked, device=device)
        with torch.no_grad(), autocast(job.plan):
            ask = losses.asking(model, {"input_ids": ids, "attention_mask": mask})
            chances = ask(ids, mask, places)[:, 0].float().softmax(dim=-1).cpu()
        goes_on = torch.tensor(_continuing(job, some[0], chances.shape[1]))
        found |= {
            token for token, share in zip(some, chances[:, goes_on].sum(dim=-1).tolist(), strict=True) if share > 0.5
        }
    return found


def _continuing(job: Job, after: int, count: int) -> list[int]:
    """Tokens that go on with a word: what they add to one begins with a letter. count: of the vocabulary."""
    before = job.tokens.decode([after])
    added = (job.tokens.decode([after, token])[len(before) :] for token in range(count))
    return [token for token, text in enumerate(added) if text[:1].isalpha()]


def proposals(
    job: Job, listed: Sequence[Sequence[Candidate]], begun: Collection[int] = frozenset()
) -> list[dict[str, Any]]:
    """For each label a word that no other one has, nor one like it ("Card", "cards").

    listed: as `candidates` gives them. begun: tokens that are taken only where nothing else is left.
    """
    ranked = sorted(
        ((one, number) for number, own in enumerate(listed) for one in own),
        key=lambda pair: (pair[0].token in begun, -pair[0].nats, pair[1], pair[0].word),
    )
    chosen: dict[int, Candidate] = {}
    taken: set[str] = set()
    for one, number in ranked:
        if number not in chosen and _kin(one.word) not in taken:
            chosen[number] = one
            taken.add(_kin(one.word))
    return [
        {
            "label": job.labels[number],
            "word": one.word,
            "nats": one.nats,
            "others": _others(listed[number], taken, begun),
        }
        for number, one in sorted(chosen.items())
    ]


def _others(own: Sequence[Candidate], taken: Collection[str], begun: Collection[int]) -> list[str]:
    """The next best of a label, each unlike the others and unlike all that was chosen."""
    found: dict[str, str] = {}
    for one in own:
        if one.token not in begun and _kin(one.word) not in taken:
            found.setdefault(_kin(one.word), one.word)
    return list(found.values())[:SHOWN]


def _kin(word: str) -> str:
    """What a word has in common with its other forms of writing, as far as people would take them for the same."""
    return word.casefold().removesuffix("s")


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
