"""Several labels of a text: binary losses, the threshold from which on a label is given, and scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from engine.compute import tasks
from engine.compute.classifier import APART, answer_of, class_scores, ranked
from engine.compute.score import interval, several_f1
from engine.data.example import Example
from engine.data.rows import counted
from engine.judging import calibration
from engine.judging.scores import ScoredRow, Scores
from engine.methods.job import Job, Losses, Report
from engine.planning.jobs import chosen_rows

USUAL = 0.5
THRESHOLDS = np.round(np.arange(0.05, 0.951, 0.01), 2)
NONE = "(no label)"
"""How a row without labels is written."""


def losses(weights: list[float] | None) -> Losses:
    """Binary cross-entropy of each row, the mean over labels. weights: as much as having a label counts, (labels,).

    Rows that only watch count all labels alike.
    """

    def of_batch(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        logits = model(inputs["input_ids"], inputs["attention_mask"], inputs.get("kinds")).float()
        found = _binary(logits, inputs["wanted"])
        if weights is not None:
            weighed = _binary(logits, inputs["wanted"], torch.tensor(weights, device=logits.device))
            found = torch.where(inputs["weighed"].unsqueeze(1), weighed, found)
        return _of_rows(found, logits), torch.arange(len(found), device=found.device)

    return of_batch


def _binary(logits: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """(rows, labels)."""
    return nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none", pos_weight=weights)


def _of_rows(losses: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The mean over the labels that a row can have, (rows,). Both: (rows, labels)."""
    own = logits > APART
    return (losses * own).sum(dim=1) / own.sum(dim=1)


def threshold_of(job: Job, model: nn.Module) -> float:
    """The chance from which on a label is given: chosen after training, or said by a person."""
    return float(model.threshold or job.objective_settings.threshold or USUAL)


def choose_threshold(job: Job, model: nn.Module, report: Report) -> str:
    """Give the model the threshold that suits its validation rows, by micro F1; what came of it, in a sentence."""
    said, model.calibrated_on = job.objective_settings.threshold, 0
    if said is not None:
        model.threshold = said
        return f"A label is given where its chance is {said:g} or more, as you chose (objective.threshold)."
    rows = chosen_rows(job.examples["validation"], calibration.MOST_ROWS, job.training.seed)
    if len(rows) < calibration.FEWEST_ROWS:
        model.threshold = USUAL
        return (
            f"A label is given where its chance is {USUAL:g} or more: {counted(len(rows), 'row', 'rows')} watched the "
            f"training, and at least {calibration.FEWEST_ROWS} are needed to choose better (data.split.validation)."
        )
    chances = torch.sigmoid(class_scores(job, model, rows, report)).numpy()
    model.threshold, model.calibrated_on = best_threshold(chances, matrix(job, rows)), len(rows)
    told = (
        f"A label is given where its chance is {model.threshold:g} or more, which gave the highest micro F1 on "
        f"{len(rows):,} validation rows."
    )
    return told if job.examples["test"] else f"{told} These rows are scored as well, which flatters the result."


def best_threshold(chances: np.ndarray, wanted: np.ndarray) -> float:
    """The threshold of the highest micro F1; among equals the one nearest to a half. Both: (rows, labels)."""

    def found(threshold: float) -> float:
        given = chances >= threshold
        whole = given.sum() + wanted.sum()
        return float(2 * (given & wanted).sum() / whole) if whole else 1.0

    return float(max(THRESHOLDS, key=lambda threshold: (found(threshold), -abs(threshold - USUAL))))


def matrix(job: Job, rows: Sequence[Example]) -> np.ndarray:
    """Which row has which label, (rows, labels), bool. Labels that the model never saw are not in it."""
    found = np.zeros((len(rows), len(job.labels)), dtype=bool)
    for line, row in zip(found, rows, strict=True):
        places = [job.place(label, row.source) for label in row.labels or []]
        line[[place for place in places if place >= 0]] = True
    return found


def score(job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
    """Give held-out rows their labels and score them."""
    scores = class_scores(job, model, rows, report)
    given = torch.sigmoid(scores).numpy() >= threshold_of(job, model)
    wanted = matrix(job, rows)
    lost = _of_rows(_binary(scores, torch.from_numpy(wanted).float()), scores).tolist()
    found = [
        _scored(job, row, [label for label, has in zip(job.labels, marks, strict=True) if has], loss)
        for row, marks, loss in zip(rows, given, lost, strict=True)
    ]
    exact = [float(set(row.wanted or []) == set(row.given or [])) for row in found]
    main = job.objective.main(job.objective_settings)
    metrics = {
        **interval(main, [row.score for row in found]),
        **several_f1(
            [[row.named(label) for label in row.wanted or []] for row in found],
            [[row.named(label) for label in row.given or []] for row in found],
        ),
        **interval("exact_labels", exact),
        "loss": sum(lost) / len(lost),
        **tasks.scores(job, rows, [row.score for row in found], main),
    }
    return Scores(main, metrics, found)


def _scored(job: Job, row: Example, given: list[str], loss: float) -> ScoredRow:
    wanted = sorted(row.labels or [])
    whole = len(wanted) + len(given)
    overlap = 2 * len(set(wanted) & set(given)) / whole if whole else 1.0
    said, answered = (", ".join(labels) or NONE for labels in (wanted, given))
    task = tasks.headed(job, row)
    return ScoredRow(row.row, row.read, said, answered, overlap, loss, wanted, given, task=task)


def chances(job: Job, model: nn.Module, example: Example) -> list[tuple[str, float]]:
    """Every label with its own chance, the likeliest first; they don't add up to 1."""
    return ranked(job, example, torch.sigmoid(answer_of(job, model, example)).tolist())
