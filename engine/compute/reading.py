"""How well a language model foresees text that it has not read: bits per byte, which do not hang on its tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from engine import jobs
from engine.compute import tasks
from engine.compute.language import ROWS_AT_A_TIME, row_losses
from engine.compute.score import ratio
from engine.data.example import Example
from engine.job import Job, Report
from engine.scores import ScoredRow, Scores


@dataclass(frozen=True)
class Read:
    """One text as it was foreseen: nats over `tokens`, which are `bytes` of UTF-8. Its first token is not foreseen."""

    nats: float
    tokens: int
    bytes: int

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes if self.bytes else 0.0


def scores(job: Job, model: nn.Module, rows: list[Example], beside: list[Example], report: Report) -> Scores:
    """Bits per byte of the rows, long ones in parts, and of what is scored beside them."""
    rows = jobs.divided(job.objective, job.tokens, rows, job.training.max_tokens)
    beside = jobs.divided(job.objective, job.tokens, beside, job.training.max_tokens)
    done = read(job, model, [*rows, *beside], report)
    own, other = done[: len(rows)], done[len(rows) :]
    found = [
        ScoredRow(
            row.row, row.text, "", f"{seen.bits_per_byte:.3f} bits a byte", seen.bits_per_byte, seen.nats / seen.tokens
        )
        if seen.tokens
        else ScoredRow(row.row, row.text, "", "nothing to foresee", 0.0)
        for row, seen in zip(rows, own, strict=True)
    ]
    metrics = {
        **_bits("bits_per_byte", own),
        **(_bits("general_bits_per_byte", other) if other else {}),
        "loss": sum(seen.nats for seen in own) / max(1, sum(seen.tokens for seen in own)),
        **tasks.scores(job, rows, [row.score for row in found], "bits_per_byte"),
    }
    return Scores(job.objective.main_metric, metrics, found)


def read(job: Job, model: nn.Module, rows: Sequence[Example], report: Report) -> list[Read]:
    """Each of the rows, none longer than the longest row, as the model foresees it."""
    encoded = [job.objective.encode(row, job.tokens, job.objective_settings, job.training.max_tokens) for row in rows]
    order = sorted(range(len(rows)), key=lambda index: -len(encoded[index].ids))
    found: dict[int, Read] = {}
    for start in range(0, len(order), ROWS_AT_A_TIME):
        chosen = order[start : start + ROWS_AT_A_TIME]
        for index, mean in zip(chosen, row_losses(job, model, [rows[i] for i in chosen]).mean, strict=True):
            learned = sum(encoded[index].learned)
            first = job.tokens.decode([encoded[index].ids[0]]) if encoded[index].ids else ""
            size = len(rows[index].text.encode()) - len(first.encode())
            found[index] = Read((mean or 0.0) * learned, learned if mean is not None else 0, max(0, size))
        report(len(found), len(rows))
    return [found[index] for index in range(len(rows))]


def _bits(name: str, done: Sequence[Read]) -> dict[str, float]:
    return ratio(name, [seen.nats / math.log(2) for seen in done], [seen.bytes for seen in done])
