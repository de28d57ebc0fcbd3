"""LoRA+: of LoRA's two matrices the second learns faster (Hayou, Ghosh, Yu 2024, arXiv 2402.12354)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.methods.peft_tuner import LowRank, PeftTuner
from engine.settings import setting

SECOND = ".lora_B."


class LoraPlus(PeftTuner):
    name = "lora-plus"
    title = "LoRA+"
    help = "LoRA in which the matrix that starts at zero learns faster than the other one."
    choose = "Choose it to get there in fewer steps than LoRA, at no further cost. The result is an ordinary LoRA."
    paper = "https://arxiv.org/abs/2402.12354"
    family = "LoRA and its kin"
    order = 29
    base_rate = 1e-4
    config_class = "LoraConfig"
    plain = True
    may_differ = frozenset({"dropout", "ratio"})

    class Settings(LowRank):
        ratio: float = setting(
            16.0,
            "Ratio of rates",
            "How many times as fast as the first matrix, which has the learning rate, the second one learns.",
            ge=1,
            le=1000,
        )

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"r": settings.rank, "lora_alpha": 2 * settings.rank, "lora_dropout": settings.dropout}

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        return width * settings.rank, 0.0, 0.0

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank * (inputs + outputs))

    def rates(self, names: Iterable[str], settings: Any) -> dict[str, float]:
        return {name: settings.ratio for name in names if SECOND in name}

    def script(self, settings: Any) -> str:
        return f"""{super().script(settings)}

def rates(names):
    return {{name: {settings.ratio} for name in names if {SECOND!r} in name}}
"""


METHOD = LoraPlus()
