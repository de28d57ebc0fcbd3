"""What objectives of causal language models have in common: they learn the next token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.methods.job import Job, Losses
from engine.methods.objective import Objective

if TYPE_CHECKING:
    import torch
    from torch import nn


class CausalObjective(Objective):
    architectures = frozenset({"decoder"})
    gives = frozenset({"gradients", "answers", "trainable base"})
    scores_in_parts = True
    packs = True

    def load(self, job: Job) -> nn.Module:
        from engine.compute.model import load_backbone

        return load_backbone(job, "causal")

    def trainer(self) -> tuple[type, type, dict[str, Any]]:
        from trl import SFTConfig, SFTTrainer

        return SFTTrainer, SFTConfig, {"dataset_kwargs": {"skip_prepare_dataset": True}, "max_length": None}

    def batch(self, job: Job, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        from engine.compute import language

        return language.joined(rows) if job.plan.packing else language.padded(rows, job.tokens.pad_id or 0)

    def losses(self, job: Job) -> Losses:
        from engine.compute.language import NextTokenLosses
        from engine.compute.tasks import told

        return told(job, NextTokenLosses())
