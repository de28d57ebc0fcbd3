"""LoRA-FA: LoRA whose first matrix stays as it begins, at random (Zhang et al. 2023, arXiv 2308.03303)."""

from __future__ import annotations

from typing import Any

from engine.peft_tuner import LowRank, PeftTuner


class LoraFa(PeftTuner):
    name = "lora-fa"
    title = "LoRA-FA"
    help = (
        "LoRA with its first matrix frozen as it was drawn at random: about half as many weights learn, which saves "
        "memory. The result is an ordinary LoRA."
    )
    paper = "https://arxiv.org/abs/2308.03303"
    family = "LoRA and its kin"
    order = 32
    base_rate = 1e-3
    loads = frozenset({"auto", "32bit", "16bit", "8bit", "4bit"})
    config_class = "LoraConfig"
    frozen = ".lora_A."

    Settings = LowRank

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"r": settings.rank, "lora_alpha": 2 * settings.rank, "lora_dropout": settings.dropout}

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank * outputs)

    def frozen_count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank * inputs)


METHOD = LoraFa()
