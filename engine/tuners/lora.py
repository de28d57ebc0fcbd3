"""LoRA: the weights stay, a low-rank product is added to each and learns (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

from typing import Any

from engine.methods.peft_tuner import LowRank, PeftTuner
from engine.settings import setting


class Lora(PeftTuner):
    name = "lora"
    title = "LoRA"
    help = "The model's weights stay as they are; a small addition to each of them learns."
    choose = (
        "Choose it first for most data: little memory, a file of a few megabytes, and close to full fine-tuning on "
        "most tasks."
    )
    paper = "https://arxiv.org/abs/2106.09685"
    order = 10
    usual = True
    family = "LoRA and its kin"
    recommended = True
    base_rate = 5e-4
    config_class = "LoraConfig"
    plain = True

    class Settings(LowRank):
        alpha: float | None = setting(
            None,
            "Alpha",
            "Strength of the additions: they are multiplied by alpha / rank. Empty means twice the rank.",
            advanced=True,
            gt=0,
            le=4096,
        )
        rank_stabilised: bool = setting(
            False,
            "Rank-stabilised (rsLoRA)",
            "Divides by the root of the rank in place of the rank, so that high ranks learn as fast as low ones.",
            advanced=True,
        )

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {
            "r": settings.rank,
            "lora_alpha": settings.alpha or 2 * settings.rank,
            "lora_dropout": settings.dropout,
            "use_rslora": settings.rank_stabilised,
        }

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        return width * settings.rank, 0.0, 0.0

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank * (inputs + outputs))


METHOD = Lora()
