"""How a run will be computed on this machine, decided once and shown before the start. Needs no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class MemoryPart:
    name: str
    bytes: int


@dataclass(frozen=True)
class TimePart:
    name: str
    """As the phases of `engine.events.Progress`."""
    seconds: float
    calibrated: float
    """Seconds from the machine's speed alone, before what earlier runs took corrects them."""


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
    path: Literal["generic", "fast"] = field(default="generic", kw_only=True)
    """Whether layers are computed as the libraries do, or by `engine.compute.fast`."""
    recompute: int = field(default=0, kw_only=True)
    """How much of a layer the backward pass makes again, from 0, nothing, to 4, all of it (`engine.planning.paths`)."""
    processes: int = field(default=1, kw_only=True)
    """How many learn together; `micro_batch` rows are computed by each at a time."""
    reasons: list[str]
    """One sentence for each choice that was made for the person."""
    optimizer: Literal["adamw", "adamw-8bit", "paged-adamw-8bit"] = "adamw"
    """What updates the weights (`engine.specs.optimizers`)."""
    seconds: list[TimePart] = field(default_factory=list)
    """Of the whole run, by part; empty where this machine's speed is not known."""
    seconds_within: float = 1.0
    """The true time lies within this factor of the prediction."""
    alike: list[str] = field(default_factory=list)
    """What makes runs comparable in time (`engine.planning.timing`)."""

    @property
    def memory_bytes(self) -> int:
        return sum(part.bytes for part in self.memory)

    @property
    def estimate_seconds(self) -> float | None:
        return sum(part.seconds for part in self.seconds) if self.seconds else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as `plan.json` holds them."""
        return asdict(self) | {"estimate_seconds": self.estimate_seconds}
