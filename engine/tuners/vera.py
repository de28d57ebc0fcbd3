"""VeRA: one pair of random matrices for all layers, small vectors learn (Kopiczko et al. 2023, arXiv 2310.11454)."""

from __future__ import annotations

from typing import Any

from engine.bases.models import ModelFacts
from engine.methods.peft_tuner import PeftTuner, Placed
from engine.settings import setting


class Vera(PeftTuner):
    name = "vera"
    title = "VeRA"
    help = "All layers share one pair of fixed random matrices, and only small vectors beside them learn."
    choose = "Choose it for far fewer learned weights than LoRA, at about its cost in time."
    paper = "https://arxiv.org/abs/2310.11454"
    order = 33
    base_rate = 5e-2
    rate_beside_head = 2e-3
    config_class = "VeraConfig"

    class Settings(Placed):
        rank: int = setting(
            256, "Rank", "Width of the shared matrices. More can learn more; the vectors grow with it.", ge=1, le=1024
        )

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"r": settings.rank}

    def rereads(self, width: int) -> bool:
        return False

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        # The shared matrices are brought into 16 bits at each layer anew.
        shared = settings.rank * (outputs + inputs)
        return width * (settings.rank + outputs), width * shared if width == 2 else 0.0, 0.0

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank + outputs)

    def saved_parameters(self, facts: ModelFacts, settings: Any) -> int:
        # The shared matrices go with the result: from the widest inputs, to the widest outputs.
        shapes = self.shapes(facts, settings) or [(0, 0)]
        shared = settings.rank * sum(max(sizes) for sizes in zip(*shapes, strict=True))
        return int(self.trainable_parameters(facts, settings) + shared)


METHOD = Vera()
