"""VeRA: one pair of random matrices for all layers, small vectors learn (Kopiczko et al. 2023, arXiv 2310.11454)."""

from __future__ import annotations

from typing import Any

from engine.peft_tuner import PeftTuner, Placed
from engine.settings import setting


class Vera(PeftTuner):
    name = "vera"
    title = "VeRA"
    help = (
        "All layers share one pair of fixed random matrices, and only small vectors beside them learn: far fewer "
        "weights than LoRA, at about its cost in time."
    )
    paper = "https://arxiv.org/abs/2310.11454"
    order = 33
    base_rate = 5e-3
    config_class = "VeraConfig"

    class Settings(Placed):
        rank: int = setting(
            256, "Rank", "Width of the shared matrices. More can learn more; the vectors grow with it.", ge=1, le=1024
        )

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"r": settings.rank}

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank + outputs)


METHOD = Vera()
