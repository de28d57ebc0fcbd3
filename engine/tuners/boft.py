"""BOFT: orthogonal turns as a product of sparse ones (Liu et al. 2023, arXiv 2311.06243), here with one factor.

Several factors need a CUDA kernel in PEFT, which falls back to one without it. One is what works everywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine.bases.models import ModelFacts
from engine.methods.peft_tuner import PeftTuner, Placed, unfit
from engine.settings import setting

if TYPE_CHECKING:
    from torch import nn


class Boft(PeftTuner):
    name = "boft"
    title = "BOFT"
    help = (
        "Turns small blocks of what each layer reads, as OFT does, and gives each output a factor of its own. "
        "The paper multiplies several such turns; here it is one."
    )
    choose = "Choose it to compare with OFT: smaller blocks, and outputs that can grow or shrink."
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
        return unfit(facts, self.shapes(facts, settings), int(settings.block)) or super().refuses(facts, settings)

    def apply(self, backbone: nn.Module, settings: Any, seed: int) -> nn.Module:
        from engine.compute.block_turns import in_place_of_dense

        with in_place_of_dense():
            return super().apply(backbone, settings, seed)

    def restore(self, backbone: nn.Module, folder: Path) -> nn.Module:
        from engine.compute.block_turns import in_place_of_dense

        with in_place_of_dense():
            return super().restore(backbone, folder)

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        # What each output is before its factor; the blocks, what they are solved from, and their cast to 16 bits.
        return width * outputs, (14 if width == 2 else 12) * inputs * int(settings.block), 0.0

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        block = int(settings.block)
        return inputs // block * block * block + outputs


METHOD = Boft()
