"""A teacher of this machine writes answers: the likeliest ones, token by token, some prompts at a time."""

from __future__ import annotations

import gc
from collections.abc import Mapping

import torch

from engine.compute import allocator, distillation
from engine.compute.language import continued
from engine.methods.job import Job, Report
from engine.teachers.teacher import Teacher
from engine.teachers.teacher_answers import Answer, Answers

ROWS_BETWEEN_NOTES = 32
"""Answers are kept after each so many prompts; no more have to be written again."""


def write(job: Job, teacher: Teacher, prompts: Mapping[str, list[int]], answers: Answers, report: Report) -> None:
    """Answer prompts (token ids of the teacher, by their keys). job: the run's, with the teacher's tokens and folder.

    Prompts to which it says nothing stay without an answer. The teacher is gone again afterwards.
    """
    torch.set_num_threads(job.plan.threads)
    report(0, len(prompts))
    model = distillation.load(job, teacher)
    most = job.objective_settings.answer_tokens
    order = sorted(prompts, key=lambda key: len(prompts[key]))
    for start in range(0, len(order), ROWS_BETWEEN_NOTES):
        chosen = order[start : start + ROWS_BETWEEN_NOTES]
        written = continued(job, model, [prompts[key] for key in chosen], most)
        for key, (text, whole) in zip(chosen, written, strict=True):
            if text:
                answers.keep(key, Answer(text, whole))
            else:
                answers.fail(key, "empty")
        report(start + len(chosen), len(order))
    del model
    gc.collect()
    allocator.trim()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
