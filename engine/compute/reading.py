"""How well a language model foresees text that it has not read, or guesses what is hidden of it: bits for each byte."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from engine.compute import tasks
from engine.compute.language import ROWS_AT_A_TIME, padded, row_losses
from engine.compute.score import ratio
from engine.data.example import Example
from engine.judging.scores import ScoredRow, Scores
from engine.methods.job import Job, Report
from engine.planning import jobs
from engine.texts.tokens import Encoded


@dataclass(frozen=True)
class How:
    """How text is read to be scored, and what the score is called."""

    metric: str
    unit: str
    batch: Callable[[list[dict[str, Any]], int], dict[str, torch.Tensor]]
    """Rows and the padding token to tensors, as the objective's losses want them."""
    bytes: Callable[[Job, Example, Encoded], int]
    """How many bytes of a row its learned tokens stand for."""


@dataclass(frozen=True)
class Read:
    """One text as it was read: nats over the learned `tokens`, which are `bytes` of UTF-8."""

    nats: float
    tokens: int
    bytes: int

    @property
    def bits(self) -> float:
        return self.nats / math.log(2) / self.bytes if self.bytes else 0.0


def foreseen_bytes(job: Job, row: Example, encoded: Encoded) -> int:
    """All of them but the first token's, which nothing comes before."""
    first = job.tokens.decode([encoded.ids[0]]) if encoded.ids else ""
    return max(0, len(row.text.encode()) - len(first.encode()))


FORESEEN = How("bits_per_byte", "bits a byte", padded, foreseen_bytes)


def scores(
    job: Job, model: nn.Module, rows: list[Example], beside: list[Example], report: Report, how: How = FORESEEN
) -> Scores:
    """Bits for each byte of the rows, long ones in parts, and of what is scored beside them."""
    rows = jobs.divided(job.objective, job.tokens, rows, job.training.max_tokens)
    beside = jobs.divided(job.objective, job.tokens, beside, job.training.max_tokens)
    done = read(job, model, [*rows, *beside], report, how)
    own, other = done[: len(rows)], done[len(rows) :]
    found = [
        ScoredRow(row.row, row.text, "", f"{seen.bits:.3f} {how.unit}", seen.bits, seen.nats / seen.tokens)
        if seen.tokens
        else ScoredRow(row.row, row.text, "", "nothing to foresee", 0.0)
        for row, seen in zip(rows, own, strict=True)
    ]
    metrics = {
        **_bits(how.metric, own),
        **(_bits(f"general_{how.metric}", other) if other else {}),
        "loss": sum(seen.nats for seen in own) / max(1, sum(seen.tokens for seen in own)),
        **tasks.scores(job, rows, [row.score for row in found], how.metric),
    }
    return Scores(how.metric, metrics, found)


def read(job: Job, model: nn.Module, rows: Sequence[Example], report: Report, how: How = FORESEEN) -> list[Read]:
    """Each of the rows, none longer than the longest row, as the model reads it."""
    encoded = [job.objective.encode(row, job.tokens, job.objective_settings, job.training.max_tokens) for row in rows]
    order = sorted(range(len(rows)), key=lambda index: -len(encoded[index].ids))
    found: dict[int, Read] = {}
    for start in range(0, len(order), ROWS_AT_A_TIME):
        chosen = order[start : start + ROWS_AT_A_TIME]
        losses = row_losses(job, model, [rows[i] for i in chosen], batch=how.batch).mean
        for index, mean in zip(chosen, losses, strict=True):
            learned = sum(encoded[index].learned)
            size = how.bytes(job, rows[index], encoded[index])
            found[index] = Read((mean or 0.0) * learned, learned if mean is not None else 0, size)
        report(len(found), len(rows))
    return [found[index] for index in range(len(rows))]


def _bits(name: str, done: Sequence[Read]) -> dict[str, float]:
    return ratio(name, [seen.nats / math.log(2) for seen in done], [seen.bytes for seen in done])
