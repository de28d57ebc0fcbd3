"""OFT: each weight is turned by an orthogonal matrix (Qiu et al. 2023, arXiv 2306.07280)."""

from __future__ import annotations

from typing import Any

from engine.bases.models import ModelFacts
from engine.methods.peft_tuner import PeftTuner, Placed, unfit
from engine.settings import setting


class Oft(PeftTuner):
    name = "oft"
    title = "OFT"
    help = "Turns what each layer reads by a small rotation, which keeps the angles between its weights."
    choose = "Choose it where the model should keep what it knows. Costs more time than LoRA."
    paper = "https://arxiv.org/abs/2306.07280"
    order = 36
    base_rate = 1e-3
    config_class = "OFTConfig"
    transposed = False

    class Settings(Placed):
        block: int = setting(
            32, "Block size", "Inputs that are turned together. Larger blocks can learn more.", ge=2, le=1024
        )

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"oft_block_size": settings.block}

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        return unfit(facts, self.shapes(facts, settings), settings.block) or super().refuses(facts, settings)

    def rereads(self, width: int) -> bool:
        return width == 4

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        # Powers of the blocks from which each turn is built; in 16 bits a cast of what was turned.
        return width * inputs if width == 2 else 0.0, (14 if width == 2 else 16) * inputs * settings.block, 0.0

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(inputs // settings.block * (settings.block * (settings.block - 1) // 2))


METHOD = Oft()
