"""Losses of a model that learns from another: how far its words are from the teacher's, beside the data's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from engine.compute.divergence import bucketed, divergence, softened
from engine.compute.language import LearnedLogits, learned_targets
from engine.compute.model import load_backbone
from engine.methods.job import Job
from engine.teachers.teacher import Teacher


def load(job: Job, teacher: Teacher) -> nn.Module:
    """The teacher, frozen and as the arithmetic wants it, on the plan's device."""
    # 16-bit arithmetic needs no more than 16-bit weights where none of them learns.
    plan = replace(job.plan, weights=job.plan.compute)
    return load_backbone(replace(job, plan=plan, facts=teacher.facts, model_folder=teacher.folder), "causal")


class DistillLosses:
    """Loss of each learned token. The teacher is no part of the model.

    It is loaded when it is first needed, or not at all where what it says was written down (`compute.taught`).
    """

    def __init__(self, job: Job, settings: Any, teacher: Teacher) -> None:
        self._job, self._settings, self._of = job, settings, teacher
        self._teacher: nn.Module | None = None
        self._taught: Any = None
        self._mine, self._theirs = LearnedLogits(), LearnedLogits()

    def __call__(self, model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        settings = self._settings
        targets, rows = learned_targets(inputs)
        words, theirs = self._kept(inputs) if settings.top_k else (None, self._asked(inputs))
        logits = self._mine(model, inputs).float()
        if words is None:
            mine = softened(logits, self._of.words, settings.temperature)
        else:
            mine = bucketed(logits, self._of.words, settings.temperature, words)
        # Softened gradients shrink with the square of the temperature (Hinton et al. 2015, section 2).
        share = (1 - settings.data_weight) * settings.temperature**2
        loss = share * divergence(settings.divergence, mine, theirs)
        if settings.data_weight:
            expected = nn.functional.cross_entropy(logits, targets, reduction="none")
            loss = loss + settings.data_weight * expected
        return loss, rows

    def _asked(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The teacher's log-probabilities at the learned positions."""
        if self._teacher is None:
            self._teacher = load(self._job, self._of)
        with torch.no_grad():
            logits = self._theirs(self._teacher, inputs)
        return softened(logits, self._of.words, self._settings.temperature)

    def _kept(self, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Its likeliest words there, and the log-probabilities of these and of all others."""
        from engine.compute.taught import Taught

        if self._taught is None:
            self._taught = Taught(self._job.folder, self._settings.top_k)
        words, logs = self._taught.of(inputs["taught"].tolist())
        device = inputs["input_ids"].device
        return words.to(device), logs.to(device)
