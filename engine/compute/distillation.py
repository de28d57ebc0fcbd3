"""Losses of a model that learns from another: how far its words are from the teacher's, beside the data's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from engine.compute import rows_apart, tasks
from engine.compute.divergence import bucketed, divergence, softened
from engine.compute.language import LearnedLogits, learned_targets
from engine.compute.model import load_backbone
from engine.compute.own_answers import Writing, rewritten
from engine.methods.job import Job
from engine.planning.memory import rows_at_once
from engine.teachers.teacher import Teacher


def load(job: Job, teacher: Teacher) -> nn.Module:
    """The teacher, frozen and as the arithmetic wants it, on the plan's device."""
    # 16-bit arithmetic needs no more than 16-bit weights where none of them learns.
    plan = replace(job.plan, weights=job.plan.compute)
    model = load_backbone(replace(job, plan=plan, facts=teacher.facts, model_folder=teacher.folder), "causal")
    if plan.packing:
        rows_apart.use(model)
    return model


class DistillLosses:
    """Loss of each learned token. The teacher is no part of the model.

    It is loaded when it is first needed, or not at all where what it says was written down (`compute.taught`). Of what
    the model wrote itself ("own" in the batch, (positions,)) nothing is expected: the divergence is all of the loss.
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
        apart = settings.temperature**2 * divergence(settings.divergence, mine, theirs)
        if not settings.data_weight:
            return apart, rows
        expected = nn.functional.cross_entropy(logits, targets, reduction="none")
        loss = settings.data_weight * expected + (1 - settings.data_weight) * apart
        return torch.where(inputs["own"], apart, loss) if "own" in inputs else loss, rows

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


def writing(job: Job, settings: Any, teacher: Teacher) -> Writing:
    """How the model writes answers itself: no row becomes longer than it, its teacher and the run's longest row."""
    context = job.facts.context - job.tuner.virtual_tokens(job.tuner_settings) if job.facts.context else 0
    longest = min(job.training.max_tokens, context or 10**9, teacher.facts.context or 10**9)
    now = max((len(row.ids) for row in job.encoded["train"]), default=0)
    return Writing(
        share=settings.own_share,
        temperature=settings.own_temperature,
        most=settings.own_tokens,
        longest=longest,
        context=context,
        at_once=rows_at_once(min(longest, now + settings.own_tokens)),
        stops=tuple(sorted(job.tokens.stop_ids)),
        pad=job.tokens.pad_id or 0,
    )


def with_own(
    job: Job, model: nn.Module, rows: list[dict[str, Any]], writing: Writing, step: int
) -> list[dict[str, Any]]:
    """An update's rows with what the model writes; "own" says of each whether it did. step: updates before this one."""
    apart = tasks.tells_apart(job)
    of = [row["task"] if apart else 0 for row in rows]
    found = rewritten(
        model,
        [(row["input_ids"], row["labels"]) for row in rows],
        writing,
        writing.seed(job.training.seed, step),
        of,
        lambda task: tasks.tell(job, model, [task]) if apart else None,
    )
    return [
        {**row, "input_ids": found[place][0], "labels": found[place][1], "own": True}
        if place in found
        else {**row, "own": False}
        for place, row in enumerate(rows)
    ]
