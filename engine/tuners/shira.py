"""SHiRA: a few scattered entries of each weight learn (Bhardwaj et al. 2024, arXiv 2406.13175)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.bases.models import ModelFacts
from engine.methods.peft_tuner import PeftTuner, Placed
from engine.settings import setting

if TYPE_CHECKING:
    from torch import nn


class Shira(PeftTuner):
    name = "shira"
    title = "SHiRA"
    help = "One to two of a hundred entries of each weight learn, chosen at random."
    choose = (
        "Choose it for results that are switched quickly, or for several at once, which get less into each other's way."
    )
    paper = "https://arxiv.org/abs/2406.13175"
    idea = "some layers"
    family = "Parts of layers"
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

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        # The changed weight, its sparse change; the places of the entries.
        own = self.count(outputs, inputs, settings)
        return 0.0, width * outputs * inputs + 4 * own, 8 * own

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank * (inputs + outputs))

    def saved_parameters(self, facts: ModelFacts, settings: Any) -> int:
        # Each entry with its row and column.
        return 3 * self.trainable_parameters(facts, settings)


def _trust_indices() -> None:
    """PEFT makes the indices of its sparse tensors itself; torch wants to be told whether to check them."""
    import torch

    torch.sparse.check_sparse_tensor_invariants.disable()


METHOD = Shira()
