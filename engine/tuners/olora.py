"""OLoRA: LoRA that starts from an orthonormal basis of each weight (Büyükakyüz 2024, arXiv 2406.01775)."""

from __future__ import annotations

from typing import Any

from engine.methods.peft_tuner import LowRank, PeftTuner


class Olora(PeftTuner):
    name = "olora"
    title = "OLoRA"
    help = "LoRA whose additions start from the weight's own directions (a QR decomposition) in place of chance."
    choose = "Choose it where LoRA is slow to get going: it can learn faster in the first steps."
    paper = "https://arxiv.org/abs/2406.01775"
    family = "LoRA and its kin"
    order = 31
    base_rate = 2e-4
    config_class = "LoraConfig"
    plain = True

    Settings = LowRank

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {
            "r": settings.rank,
            "lora_alpha": 2 * settings.rank,
            "lora_dropout": settings.dropout,
            "init_lora_weights": "olora",
        }

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        return width * settings.rank, 0.0, 0.0

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank * (inputs + outputs))


METHOD = Olora()
