"""OLoRA: LoRA that starts from an orthonormal basis of each weight (Büyükakyüz 2024, arXiv 2406.01775)."""

from __future__ import annotations

from typing import Any, Literal

from engine.peft_tuner import WHERE, PeftTuner
from engine.settings import Section, setting


class Olora(PeftTuner):
    name = "olora"
    title = "OLoRA"
    help = (
        "LoRA whose additions start from the weight's own directions (a QR decomposition) in place of chance. It can "
        "learn faster in the first steps."
    )
    paper = "https://arxiv.org/abs/2406.01775"
    order = 14
    base_rate = 2e-4
    config_class = "LoraConfig"

    class Settings(Section):
        rank: int = setting(
            16,
            "Rank",
            "Width of the additions. More learns more, and costs more memory and a larger file.",
            ge=1,
            le=1024,
        )
        targets: Literal["all-linear", "attention"] = setting("all-linear", "Where", WHERE, advanced=True)

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {
            "r": settings.rank,
            "lora_alpha": 2 * settings.rank,
            "init_lora_weights": "olora",
        }

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank * (inputs + outputs))


METHOD = Olora()
