"""Losses of a model that learns from another: how far its words are from the teacher's, beside the data's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from engine.compute.divergence import divergence, softened
from engine.compute.language import LearnedLogits, learned_targets
from engine.compute.model import load_backbone
from engine.job import Job
from engine.teacher import Teacher


def load(job: Job, teacher: Teacher) -> nn.Module:
    """The teacher, frozen and as the arithmetic wants it, on the plan's device."""
    # 16-bit arithmetic needs no more than 16-bit weights where none of them learns.
    plan = replace(job.plan, weights=job.plan.compute)
    return load_backbone(replace(job, plan=plan, facts=teacher.facts, model_folder=teacher.folder), "causal")


class DistillLosses:
    """Loss of each learned token. The teacher is loaded when it is first needed; it is no part of the model."""

    def __init__(self, job: Job, settings: Any, teacher: Teacher) -> None:
        self._job, self._settings, self._of = job, settings, teacher
        self._teacher: nn.Module | None = None
        self._mine, self._theirs = LearnedLogits(), LearnedLogits()

    def __call__(self, model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        settings, words = self._settings, self._of.words
        targets, rows = learned_targets(inputs)
        theirs = self._taught(inputs)
        logits = self._mine(model, inputs).float()
        apart = divergence(settings.divergence, softened(logits, words, settings.temperature), theirs)
        # Softened gradients shrink with the square of the temperature (Hinton et al. 2015, section 2).
        loss = (1 - settings.data_weight) * settings.temperature**2 * apart
        if settings.data_weight:
            expected = nn.functional.cross_entropy(logits, targets, reduction="none")
            loss = loss + settings.data_weight * expected
        return loss, rows

    def _taught(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The teacher's log-probabilities at the learned positions."""
        if self._teacher is None:
            self._teacher = load(self._job, self._of)
        with torch.no_grad():
            logits = self._theirs(self._teacher, inputs)
        return softened(logits, self._of.words, self._settings.temperature)
