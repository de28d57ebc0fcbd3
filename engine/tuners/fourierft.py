"""FourierFT: additions from a few learned Fourier coefficients (Gao et al. 2024, arXiv 2405.03003)."""

from __future__ import annotations

from typing import Any

from engine.bases.models import ModelFacts
from engine.methods.peft_tuner import PeftTuner, Placed
from engine.settings import setting


class Fourierft(PeftTuner):
    name = "fourierft"
    title = "FourierFT"
    help = "Each addition is made from a few learned waves (Fourier coefficients)."
    choose = "Choose it for a tiny result. Wants a high learning rate, and costs more time than LoRA."
    paper = "https://arxiv.org/abs/2405.03003"
    order = 39
    base_rate = 3e-2
    config_class = "FourierFTConfig"

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        smallest = min((outputs * inputs for outputs, inputs in self.shapes(facts, settings)), default=0)
        if 0 < smallest < settings.frequencies:
            return f"The smallest layer of {facts.id} has {smallest} weights: set 'Waves a layer' to at most that."
        return super().refuses(facts, settings)

    class Settings(Placed):
        frequencies: int = setting(
            1000, "Waves a layer", "Learned coefficients in each layer. More learns more.", ge=1, le=100_000
        )

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"n_frequency": settings.frequencies, "random_loc_seed": 777}

    def rereads(self, width: int) -> bool:
        return width == 4

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        # The built addition, the places of its waves; in 16 bits a cast of what the layer reads.
        places = 16 * settings.frequencies
        return width * inputs if width == 2 else 0.0, width * outputs * inputs + places, places

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.frequencies)


METHOD = Fourierft()
