"""Rows of several tasks, a data set each: a tuner that tells them apart is told of which its next rows are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from engine.compute.score import interval
from engine.data import mixture
from engine.data.example import Example
from engine.methods.job import Job, Losses


def tell(job: Job, model: nn.Module, tasks: Sequence[int]) -> None:
    """tasks: of each row that comes next, or one for all of them."""
    job.tuner.tell(job.objective.backbone(model), list(tasks))
    job.objective.tell(model, list(tasks))


def tells_apart(job: Job) -> bool:
    return bool(job.tuner.tasks(job.tuner_settings) or job.heads)


def told(job: Job, losses: Losses) -> Losses:
    """`losses` that says first of which task the rows of a batch are: its "tasks", (rows,)."""
    if not tells_apart(job):
        return losses

    def first_told(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        tell(job, model, inputs["tasks"].tolist())
        return losses(model, inputs)

    return first_told


def noted(job: Job, example: Example) -> dict[str, int]:
    """What a row of the trainer's data set holds besides, where its task matters: its data set's number."""
    return {"task": max(0, example.source)} if tells_apart(job) or job.mixture else {}


def of_rows(rows: list[dict[str, object]]) -> dict[str, torch.Tensor]:
    """A batch's "tasks", where its rows note them."""
    return {"tasks": torch.tensor([row["task"] for row in rows])} if "task" in rows[0] else {}


def scores(job: Job, rows: Sequence[Example], values: Sequence[float], metric: str) -> dict[str, float]:
    """The metric of each data set's rows alone, as "METRIC, task NAME" with its interval, where there are several."""
    found: dict[str, float] = {}
    for task, name in enumerate(job.sets):
        own = [value for row, value in zip(rows, values, strict=True) if row.source == task]
        if own:
            found |= interval(f"{metric}, task {name}", own)
    return found


def headed(job: Job, row: Example) -> str:
    """The name of a row's data set, where each has a head of its own; else empty."""
    return job.sets[row.source] if job.heads else ""


def described(job: Job) -> list[dict[str, Any]]:
    """What a result keeps of its data sets, where a text is asked as one of them: name, what stands before its texts,
    and with a head for each its first label's place and how many it has."""
    prefixed = job.objective.prefixed(job.objective_settings)
    if not job.sets or not (job.heads or prefixed):
        return []
    spans = [job.span(task) for task in range(len(job.sets))]
    return [
        {"name": name, "before": mixture.prefix(name) if prefixed else "", "first": span.start, "labels": len(span)}
        for name, span in zip(job.sets, spans, strict=True)
    ]
