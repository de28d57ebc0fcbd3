"""Losses of a model that learns from one with another tokenizer: how likely words are, in order of likelihood alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from engine.compute import distillation
from engine.compute.divergence import sorted_distance
from engine.compute.language import IGNORED, LearnedLogits, joined, learned_targets, padded
from engine.methods.job import Job
from engine.teachers.teacher import Teacher


def batch(rows: list[dict[str, Any]], pad_id: int, packing: bool) -> dict[str, torch.Tensor]:
    """The teacher's tokens of some rows, (rows, its tokens), and where both models are held against each other.

    "their_labels" is not -100 at the teacher's places; "aligned" (rows, tokens) is true at the model's.
    """

    def together(parts: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return joined(parts) if packing else padded(parts, pad_id)

    theirs = together(
        [{"input_ids": row["their_ids"], "labels": _at(row["their_places"], row["their_ids"])} for row in rows]
    )
    mine = together([{"input_ids": row["input_ids"], "labels": _at(row["places"], row["input_ids"])} for row in rows])
    found = {"their_ids": theirs["input_ids"], "their_labels": theirs["labels"], "aligned": mine["labels"] != IGNORED}
    return {**found, "their_positions": theirs["position_ids"]} if "position_ids" in theirs else found


class AcrossLosses:
    """Loss of each learned token; where the tokenizers agree on what stands before it, the teacher counts, too."""

    def __init__(self, job: Job, settings: Any, teacher: Teacher) -> None:
        self._job, self._settings, self._of = job, settings, teacher
        self._teacher: nn.Module | None = None
        self._mine, self._theirs = LearnedLogits(), LearnedLogits()

    def __call__(self, model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        settings = self._settings
        targets, rows = learned_targets(inputs)
        logits = self._mine(model, inputs).float()
        loss = settings.data_weight * nn.functional.cross_entropy(logits, targets, reduction="none")
        aligned = inputs["aligned"][:, 1:][inputs["labels"][:, 1:] != IGNORED]
        apart = torch.zeros_like(loss)
        apart[aligned] = sorted_distance(logits[aligned], self._asked(inputs), settings.temperature)
        # Softened gradients shrink with the temperature, of probabilities as they are.
        return loss + (1 - settings.data_weight) * settings.temperature * apart, rows

    def _asked(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The teacher's logits where both agree, in the order of the model's: (places, its words)."""
        if self._teacher is None:
            self._teacher = distillation.load(self._job, self._of)
        given = {"input_ids": inputs["their_ids"], "labels": inputs["their_labels"]}
        if "their_positions" in inputs:
            given["position_ids"] = inputs["their_positions"]
        with torch.no_grad():
            return self._theirs(self._teacher, given)


def _at(places: list[int], ids: list[int]) -> list[int]:
    chosen = set(places)
    return [token if place in chosen else IGNORED for place, token in enumerate(ids)]
