"""SHiRA: a few scattered entries of each weight learn (Bhardwaj et al. 2024, arXiv 2406.13175)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.models import ModelFacts
from engine.peft_tuner import PeftTuner, Placed
from engine.settings import setting

if TYPE_CHECKING:
    from torch import nn


class Shira(PeftTuner):
    name = "shira"
    title = "SHiRA"
    help = (
        "Changes one to two of a hundred entries of each weight, chosen at random, in place of adding to all. Such "
        "results can be switched quickly, and several get less into each other's way."
    )
    paper = "https://arxiv.org/abs/2406.13175"
    order = 41
    base_rate = 1e-3
    config_class = "ShiraConfig"
    transposed = False

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if any(self.count(*shape, settings) > shape[0] * shape[1] for shape in self.shapes(facts, settings)):
            return f"Rank {settings.rank} asks for more entries than a layer of {facts.id} has: lower it."
        return super().refuses(facts, settings)

    class Settings(Placed):
        rank: int = setting(
            16, "Size as a LoRA of rank", "As many entries learn as a LoRA of this rank has.", ge=1, le=1024
        )

    def apply(self, backbone: nn.Module, settings: Any, seed: int) -> nn.Module:
        _trust_indices()
        return super().apply(backbone, settings, seed)

    def restore(self, backbone: nn.Module, folder: Path) -> nn.Module:
        _trust_indices()
        return super().restore(backbone, folder)

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"r": settings.rank, "random_seed": 42}

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank * (inputs + outputs))


def _trust_indices() -> None:
    """PEFT makes the indices of its sparse tensors itself; torch wants to be told whether to check them."""
    import torch

    torch.sparse.check_sparse_tensor_invariants.disable()


METHOD = Shira()
