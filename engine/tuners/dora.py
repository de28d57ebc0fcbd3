"""DoRA: LoRA on the direction of each weight, and a length of its own (Liu et al. 2024, arXiv 2402.09353)."""

from __future__ import annotations

from typing import Any

from engine.methods.peft_tuner import LowRank, PeftTuner
from engine.methods.tuner import UNROUNDED


class Dora(PeftTuner):
    name = "dora"
    title = "DoRA"
    help = "LoRA that also learns how long each weight's rows are."
    choose = (
        "Choose it for low ranks, where it is often a little better than LoRA. Slower: each step computes the norms"
        " of all weights."
    )
    paper = "https://arxiv.org/abs/2402.09353"
    family = "LoRA and its kin"
    order = 30
    base_rate = 5e-4
    loads = UNROUNDED | {"4bit"}  # PEFT can't read 8-bit weights here, whose norm it needs
    config_class = "LoraConfig"

    Settings = LowRank

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {
            "r": settings.rank,
            "lora_alpha": 2 * settings.rank,
            "lora_dropout": settings.dropout,
            "use_dora": True,
        }

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        return width * (settings.rank + 2 * outputs), 0.0, 0.0  # what both products gave, for the lengths

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank * (inputs + outputs) + outputs)


METHOD = Dora()
