"""LoKr: a Kronecker product of a small and a low-rank matrix (Yeh et al. 2023, arXiv 2309.14859)."""

from __future__ import annotations

import math
from typing import Any

from engine.methods.peft_tuner import PeftTuner, Placed
from engine.methods.tuner import UNROUNDED
from engine.settings import setting


class Lokr(PeftTuner):
    name = "lokr"
    title = "LoKr"
    help = "Each addition is a Kronecker product, which says much with few weights."
    choose = "Choose it for a very small result. Slower than LoRA, since the whole addition is built in each step."
    paper = "https://arxiv.org/abs/2309.14859"
    order = 35
    base_rate = 1e-3
    loads = UNROUNDED | {"8bit"}  # PEFT takes the shape of packed 4-bit weights for theirs
    config_class = "LoKrConfig"
    transposed = False

    class Settings(Placed):
        rank: int = setting(16, "Rank", "Width of the larger factor. More learns more.", ge=1, le=1024)

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"r": settings.rank, "alpha": 2 * settings.rank}

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        return 0.0, width * outputs * inputs, 0.0  # the built addition

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        small_out, large_out = _factors(outputs)
        small_in, large_in = _factors(inputs)
        whole = settings.rank >= max(large_out, large_in) / 2
        large = large_out * large_in if whole else settings.rank * (large_out + large_in)
        return int(small_out * small_in + large)


def _factors(size: int) -> tuple[int, int]:
    """The two factors of a size that are nearest to each other, the smaller first."""
    small = max(factor for factor in range(1, math.isqrt(size) + 1) if size % factor == 0)
    return small, size // small


METHOD = Lokr()
