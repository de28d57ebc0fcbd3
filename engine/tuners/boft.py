"""BOFT: orthogonal turns as a product of sparse ones (Liu et al. 2023, arXiv 2311.06243)."""

from __future__ import annotations

from typing import Any, Literal

from engine.peft_tuner import WHERE, PeftTuner
from engine.settings import Section, setting


class Boft(PeftTuner):
    name = "boft"
    title = "BOFT"
    help = (
        "Rotations as in OFT, built of smaller ones (butterflies), so that fewer weights reach further. Costs more "
        "time than OFT."
    )
    paper = "https://arxiv.org/abs/2311.06243"
    order = 38
    base_rate = 1e-3
    config_class = "BOFTConfig"
    transposed = False

    class Settings(Section):
        block: Literal["2", "4", "8", "16"] = setting(
            "4", "Block size", "Inputs that are turned together. Larger blocks can learn more, and cost more."
        )
        targets: Literal["all-linear", "attention"] = setting("all-linear", "Where", WHERE, advanced=True)

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"boft_block_size": int(settings.block), "boft_n_butterfly_factor": 1}

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        block = int(settings.block)
        return inputs // block * block * block + outputs


METHOD = Boft()
