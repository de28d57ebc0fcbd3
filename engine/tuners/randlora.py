"""RandLoRA: full-rank additions from fixed random bases (Albert et al. 2025, arXiv 2502.00987)."""

from __future__ import annotations

import math
from typing import Any

from engine.methods.peft_tuner import PeftTuner, Placed
from engine.settings import setting


class Randlora(PeftTuner):
    name = "randlora"
    title = "RandLoRA"
    help = (
        "Sums many fixed random low-rank matrices with learned weights, so that the addition has full rank at the "
        "size of LoRA."
    )
    choose = (
        "Choose it where LoRA's rank falls short. Slower than LoRA. The bases are made again from a seed wherever "
        "the result is loaded."
    )
    paper = "https://arxiv.org/abs/2502.00987"
    order = 38
    base_rate = 5e-4
    config_class = "RandLoraConfig"

    class Settings(Placed):
        rank: int = setting(
            32, "Rank of each basis", "Smaller bases are more numerous, and more learns.", ge=1, le=1024
        )

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"r": settings.rank, "randlora_alpha": 20 * settings.rank, "save_projection": False}

    def rereads(self, width: int) -> bool:
        return False

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        # What each basis reads out; in 16 bits all bases, joined.
        narrow = min(outputs, inputs)
        return width * narrow, width * narrow * (outputs + inputs) if width == 2 else 4 * narrow * narrow, 0.0

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        narrow = min(inputs, outputs)
        bases = math.ceil(narrow / settings.rank)
        return int(settings.rank * bases + bases * narrow)


METHOD = Randlora()
