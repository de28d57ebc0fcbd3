"""DoRA: LoRA on the direction of each weight, and a length of its own (Liu et al. 2024, arXiv 2402.09353)."""

from __future__ import annotations

from typing import Any, Literal

from engine.peft_tuner import WHERE, PeftTuner
from engine.settings import Section, setting


class Dora(PeftTuner):
    name = "dora"
    title = "DoRA"
    help = (
        "LoRA that also learns how long each weight's rows are. Often a little better than LoRA at low ranks, and "
        "slower: each step computes the norms of all weights."
    )
    paper = "https://arxiv.org/abs/2402.09353"
    order = 12
    base_rate = 5e-4
    config_class = "LoraConfig"

    class Settings(Section):
        rank: int = setting(
            16,
            "Rank",
            "Width of the additions. More learns more, and costs more memory and a larger file.",
            ge=1,
            le=1024,
        )
        dropout: float = setting(
            0.0, "Dropout", "Share of the additions' inputs left out at random.", advanced=True, ge=0, lt=1
        )
        targets: Literal["all-linear", "attention"] = setting("all-linear", "Where", WHERE, advanced=True)

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {
            "r": settings.rank,
            "lora_alpha": 2 * settings.rank,
            "lora_dropout": settings.dropout,
            "use_dora": True,
        }

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank * (inputs + outputs) + outputs)


METHOD = Dora()
