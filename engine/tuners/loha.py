"""LoHa: the elementwise product of two low-rank matrices (Hyeon-Woo et al. 2021, arXiv 2108.06098)."""

from __future__ import annotations

from typing import Any

from engine.methods.peft_tuner import PeftTuner, Placed
from engine.methods.tuner import UNROUNDED
from engine.settings import setting


class Loha(PeftTuner):
    name = "loha"
    title = "LoHa"
    help = (
        "Each addition is the elementwise product of two low-rank ones, which reaches a higher rank with as many "
        "weights."
    )
    choose = (
        "Choose it where LoRA's rank falls short. Slower than LoRA, since the whole addition is built in each step."
    )
    paper = "https://arxiv.org/abs/2108.06098"
    order = 34
    base_rate = 1e-3
    loads = UNROUNDED | {"8bit"}  # PEFT takes the shape of packed 4-bit weights for theirs
    config_class = "LoHaConfig"
    transposed = False

    class Settings(Placed):
        rank: int = setting(8, "Rank", "Width of the additions; the product's rank is up to its square.", ge=1, le=1024)

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"r": settings.rank, "alpha": 2 * settings.rank}

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        return 0.0, width * outputs * inputs, 0.0  # the built addition

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(2 * settings.rank * (inputs + outputs))


METHOD = Loha()
