"""MiSS: one shared block is added to all shards of a weight (Kang, Yin 2024, arXiv 2409.15371)."""

from __future__ import annotations

from typing import Any

from engine.methods.peft_tuner import PeftTuner, Placed
from engine.settings import setting


class Miss(PeftTuner):
    name = "miss"
    title = "MiSS"
    help = "One small block is added to all parts of a weight, in place of LoRA's two matrices."
    choose = "Choose it as a quick addition with half as many weights as a LoRA of its rank."
    paper = "https://arxiv.org/abs/2409.15371"
    order = 40
    base_rate = 5e-4
    config_class = "MissConfig"
    transposed = False

    class Settings(Placed):
        rank: int = setting(32, "Rank", "Width of the block. More learns more. An even number.", ge=2, le=1024)

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"r": settings.rank}

    def rereads(self, width: int) -> bool:
        return False

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        return width * settings.rank, 0.0, 0.0

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank * outputs)


METHOD = Miss()
