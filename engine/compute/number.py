"""A number of a text: squared error of its standard score, and scores in the data's own unit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from engine.compute import tasks
from engine.compute.classifier import answer_of, class_scores
from engine.compute.score import of_numbers
from engine.data.example import Example
from engine.judging.measures import digits
from engine.judging.scores import ScoredRow, Scores
from engine.methods.job import Job, Report

MAIN = "mean_absolute_error"


def losses(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared error of each row in deviations, (rows,), and the rows' numbers."""
    found = model(inputs["input_ids"], inputs["attention_mask"], inputs.get("kinds")).float()
    return (found[:, 0] - inputs["wanted"][:, 0]) ** 2, torch.arange(len(found), device=found.device)


def score(job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
    """Give held-out rows their numbers and score them."""
    found = class_scores(job, model, rows, report)[:, 0].tolist()
    scores = scores_of(rows, [job.scale.undone(one) for one in found], job.scale.deviation)
    scores.metrics.update(tasks.scores(job, rows, [row.score for row in scores.rows], MAIN))
    return scores


def scores_of(rows: Sequence[Example], given: Sequence[float], deviation: float) -> Scores:
    """Scores of the numbers that were given to rows; a row's own is its absolute error, its loss in deviations."""
    wanted = [float(row.number or 0.0) for row in rows]
    found = [
        ScoredRow(
            row.row, row.read, digits(right), digits(answer), abs(answer - right), ((answer - right) / deviation) ** 2
        )
        for row, right, answer in zip(rows, wanted, given, strict=True)
    ]
    lost = sum(row.loss or 0.0 for row in found) / len(found)
    return Scores(MAIN, {**of_numbers(wanted, given), "loss": lost}, found)


def number(job: Job, model: nn.Module, example: Example) -> float:
    """What the model says of a text or a pair of them, in the data's own unit."""
    return job.scale.undone(float(answer_of(job, model, example)[0]))
