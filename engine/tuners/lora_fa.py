"""LoRA-FA: LoRA whose first matrix stays as it begins, at random (Zhang et al. 2023, arXiv 2308.03303)."""

from __future__ import annotations

from typing import Any

from engine.methods.peft_tuner import LowRank, PeftTuner


class LoraFa(PeftTuner):
    name = "lora-fa"
    title = "LoRA-FA"
    help = "LoRA with its first matrix frozen as it was drawn at random, so that about half as many weights learn."
    choose = "Choose it where LoRA takes a little too much memory. The result is an ordinary LoRA."
    paper = "https://arxiv.org/abs/2308.03303"
    family = "LoRA and its kin"
    order = 32
    base_rate = 1e-3
    config_class = "LoraConfig"
    plain = True
    frozen = ".lora_A."

    Settings = LowRank

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"r": settings.rank, "lora_alpha": 2 * settings.rank, "lora_dropout": settings.dropout}

    def rereads(self, width: int) -> bool:
        return False

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        return width * settings.rank, 0.0, 0.0

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank * outputs)

    def frozen_count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank * inputs)


METHOD = LoraFa()
