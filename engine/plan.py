"""How a run will be computed on this machine, decided once and shown before the start. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MemoryPart:
    name: str
    bytes: int


@dataclass(frozen=True)
class Plan:
    device: Literal["cpu", "cuda", "mps"]
    compute: Literal["float32", "bfloat16", "float16"]
    """Number format of the arithmetic (autocast)."""
    weights: Literal["float32", "bfloat16", "float16", "8bit", "4bit"]
    """Format in which frozen weights are held; trained ones are always float32."""
    packing: bool
    checkpointing: bool
    micro_batch: int
    accumulation: int
    total_steps: int
    warmup_steps: int
    evaluate_every: int
    learning_rate: float
    head_rate: float | None
    threads: int
    memory: list[MemoryPart]
    memory_available: int
    reasons: list[str]
    """One sentence for each choice that was made for the person."""

    @property
    def memory_bytes(self) -> int:
        return sum(part.bytes for part in self.memory)
