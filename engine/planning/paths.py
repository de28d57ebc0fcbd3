"""Chooses how layers are computed: as the libraries do, or on the fast path (`engine.compute.fast`). Needs no torch."""

from __future__ import annotations

from typing import Literal

from engine.bases.models import ModelFacts
from engine.planning.number_formats import Formats
from engine.specs.spec import RunSpec

ComputingPath = Literal["generic", "fast"]
FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Model types whose layers the fast path knows."""
ALL = 4
"""The level of recomputing that makes all of a layer again: what others call gradient checkpointing."""
LEVELS: dict[ComputingPath, tuple[int, ...]] = {"generic": (0, ALL), "fast": (0, 1, 2, 3, ALL)}
"""How much of a layer may be made again in the backward pass, 0 being nothing."""
SAID = {
    1: "Gate and up of each layer are",
    2: "Gate, up, query, key and value of each layer are",
    3: "Gate, up, query, key, value and attention of each layer are",
    4: "All of each layer is",
}
"""What is computed twice at each level."""


def choose(spec: RunSpec, facts: ModelFacts, formats: Formats, reasons: list[str]) -> ComputingPath:
    if spec.training.path == "generic" or not suits(spec, facts, formats):
        return "generic"
    reasons.append(
        f"{spec.tuner.title} on this model is computed on the fast path: Tunesmith's own forward and backward pass."
    )
    return "fast"


def suits(spec: RunSpec, facts: ModelFacts, formats: Formats) -> bool:
    """Whether the fast path can compute it. Whether it does so rightly here is tried before the first step."""
    config = facts.config
    known = config.get("model_type") in FAMILIES and config.get("hidden_act", "silu") == "silu"
    whole = spec.objective.packs and spec.tuner.low_rank(spec.tuner_settings)
    return bool(known and whole and not config.get("attention_dropout") and holds(formats))


def holds(formats: Formats) -> bool:
    """Whether the fast path computes with weights held so: as they are computed, or in 4 bits."""
    return formats.weights in (formats.compute, "4bit")


def told(path: ComputingPath, level: int) -> str:
    """What a level of recomputing means, in a sentence."""
    if path == "generic":
        return "Gradient checkpointing is on, to save memory: a step takes about a quarter longer."
    return f"{SAID[level]} computed twice, to save memory."
