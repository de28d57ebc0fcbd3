"""BOFT: orthogonal turns as a product of sparse ones (Liu et al. 2023, arXiv 2311.06243)."""

from __future__ import annotations

from typing import Any, Literal

from engine.models import ModelFacts
from engine.peft_tuner import PeftTuner, Placed, unfit
from engine.settings import setting


class Boft(PeftTuner):
    name = "boft"
    title = "BOFT"
    help = "Rotations as in OFT, built of smaller ones (butterflies), so that fewer weights reach further."
    choose = "Choose it to compare with OFT. Costs more time than OFT."
    paper = "https://arxiv.org/abs/2311.06243"
    order = 37
    base_rate = 1e-3
    config_class = "BOFTConfig"
    transposed = False

    class Settings(Placed):
        block: Literal["2", "4", "8", "16"] = setting(
            "4", "Block size", "Inputs that are turned together. Larger blocks can learn more, and cost more."
        )

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"boft_block_size": int(settings.block), "boft_n_butterfly_factor": 1}

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        # A butterfly turns two blocks together.
        return unfit(facts, self.shapes(facts, settings), 2 * int(settings.block)) or super().refuses(facts, settings)

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        # The turn as a whole matrix, before and after inputs are put into another order; that order as a matrix.
        return width * outputs, (4 + width) * inputs * inputs, 4 * inputs * inputs

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        block = int(settings.block)
        return inputs // block * block * block + outputs


METHOD = Boft()
