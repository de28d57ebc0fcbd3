"""OFT: each weight is turned by an orthogonal matrix (Qiu et al. 2023, arXiv 2306.07280)."""

from __future__ import annotations

from typing import Any, Literal

from engine.peft_tuner import WHERE, PeftTuner
from engine.settings import Section, setting


class Oft(PeftTuner):
    name = "oft"
    title = "OFT"
    help = (
        "Turns what each layer reads by a small rotation, which keeps the angles between its weights and so what the "
        "model knows. Costs more time than LoRA."
    )
    paper = "https://arxiv.org/abs/2306.07280"
    order = 36
    base_rate = 1e-3
    config_class = "OFTConfig"
    transposed = False

    class Settings(Section):
        block: int = setting(
            32, "Block size", "Inputs that are turned together. Larger blocks can learn more.", ge=2, le=1024
        )
        targets: Literal["all-linear", "attention"] = setting("all-linear", "Where", WHERE, advanced=True)

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"oft_block_size": settings.block}

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        block = fitting_block(inputs, settings.block)
        return inputs // block * (block * (block - 1) // 2)


def fitting_block(size: int, wanted: int) -> int:
    """The block size that PEFT takes where the wanted one does not divide: the nearest divisor, the smaller of two."""
    if wanted <= size and size % wanted == 0:
        return wanted
    divisors = [number for number in range(1, size + 1) if size % number == 0]
    return min(divisors, key=lambda number: (abs(number - wanted), number))


METHOD = Oft()
