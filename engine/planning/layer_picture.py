"""What of a model is frozen and what learns, layer by layer, for a tuner with its settings. Needs no torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from engine.bases import depth
from engine.bases.architecture import in_backbone
from engine.bases.models import ModelFacts
from engine.methods.objective import Objective
from engine.methods.tuner import Tuner

Place = Literal["head", "language head", "last norm", "rest", "layer", "embeddings", "input"]
PARTS = ("attention", "feed-forward", "norms")
WHOLE = "all"
"""The one part of what is no layer."""
_NORM = re.compile(r"norm|(^|[._])ln(_|\d|\.|$)", re.IGNORECASE)
_ATTENTION = re.compile(r"attn|attention|Wqkv")


@dataclass(frozen=True)
class Part:
    name: str
    """One of PARTS, or WHOLE."""
    total: int
    """Weights that the model has here; what is added does not count."""
    learned: int
    """Of these, or added to them."""


@dataclass(frozen=True)
class Band:
    """Layers one above the other that are alike; or what lies above, below or before them."""

    place: Place
    parts: tuple[Part, ...]
    """Of each layer."""
    first: int = 0
    """The lowest layer, counted from 1 at the bottom; 0 where it is no layer."""
    last: int = 0
    joins: tuple[float, float] | None = None
    """Where layers join one after another: the share of the run from which the topmost learns, and the lowest."""
    read: bool = False
    """Whether a classifier is fitted to what comes out here."""

    @property
    def count(self) -> int:
        return self.last - self.first + 1

    @property
    def total(self) -> int:
        """Of each layer."""
        return sum(part.total for part in self.parts)

    @property
    def learned(self) -> int:
        """In each layer."""
        return sum(part.learned for part in self.parts)


@dataclass(frozen=True)
class Picture:
    bands: list[Band]
    """From the output down to the input."""
    adds: bool
    """Whether what learns is put beside the model's own weights."""
    learned: int
    total: int
    """The weights that the model has, and those that are added."""
    per_label: int
    """Weights of a new head that learn for each label besides; 0 where there is none."""


def picture(facts: ModelFacts, objective: Objective, tuner: Tuner, settings: Any) -> Picture:
    """For a pair and settings that aren't refused."""
    whole = objective.whole(facts)
    totals = {name: info.count for name, info in facts.tensors.items() if whole or in_backbone(name)}
    learns = {name: count for name, count in tuner.learns(facts, settings).items() if whole or in_backbone(name)}
    added = sum(learns.values()) + tuner.frozen_parameters(facts, settings) if tuner.adds else 0
    begins = not whole and tuner.kind != "merge" and objective.head_parameters(facts, 1) > 0
    has_head = begins and objective.wants == "labelled"
    bands = [Band("head", ())] if has_head else []
    if (facts.tied and whole) or objective.beside_parameters(facts) or (begins and not has_head):
        bands.append(Band("language head", ()))
    return Picture(
        bands=[*bands, *_bands(totals, learns, tuner.joins(facts, settings), tuner.reads(facts, settings))],
        adds=tuner.adds and tuner.idea != "some layers",
        learned=sum(learns.values()),
        total=sum(totals.values()) + added,
        per_label=objective.head_parameters(facts, 1) if has_head and tuner.kind == "gradient" else 0,
    )


def _bands(
    totals: Mapping[str, int], learns: Mapping[str, int], joins: Mapping[int, float], reads: range
) -> Iterator[Band]:
    own, changed = _sorted(totals), _sorted(learns)
    layers = sorted({number for place, number, _ in [*own, *changed] if place == "layer"}, reverse=True)
    yield from _single("language head", own, changed)
    yield from _single("last norm", own, changed)
    yield from _single("rest", own, changed)
    waiting: list[tuple[int, Band]] = []
    for number in layers:
        parts = tuple(Part(name, own["layer", number, name], changed["layer", number, name]) for name in PARTS)
        band = Band("layer", parts, number + 1, number + 1, read=number in reads)
        if waiting and not _alike(waiting[-1][1], band):
            yield _joined(waiting, joins)
            waiting = []
        waiting.append((number, band))
    if waiting:
        yield _joined(waiting, joins)
    yield from _single("embeddings", own, changed)
    yield from _single("input", own, changed)


def _single(place: Place, own: Counter[Any], changed: Counter[Any]) -> Iterator[Band]:
    key = (place, 0, WHOLE)
    if own[key] or changed[key]:
        yield Band(place, (Part(WHOLE, own[key], changed[key]),))


def _alike(one: Band, other: Band) -> bool:
    return (one.parts, one.read) == (other.parts, other.read)


def _joined(layers: Iterable[tuple[int, Band]], joins: Mapping[int, float]) -> Band:
    numbers, bands = zip(*layers, strict=True)
    late = (joins.get(numbers[0], 0.0), joins.get(numbers[-1], 0.0))
    return Band("layer", bands[0].parts, numbers[-1] + 1, numbers[0] + 1, late if late[1] else None, bands[0].read)


def _sorted(counts: Mapping[str, int]) -> Counter[tuple[Place, int, str]]:
    """Sums by place, number of the layer from 0, and part."""
    found: Counter[tuple[Place, int, str]] = Counter()
    for name, count in counts.items():
        found[_key(name)] += count
    return found


@lru_cache(maxsize=4096)
def _key(name: str) -> tuple[Place, int, str]:
    number = depth.layer(name + ".")
    if number is not None:
        within = name.split(f".{number}.", 1)[-1]
        part = "norms" if _NORM.search(within) else "attention" if _ATTENTION.search(within) else "feed-forward"
        return "layer", number, part
    if name == depth.INPUT:
        return "input", 0, WHOLE
    if name.startswith(depth.HEADS):
        return "language head", 0, WHOLE
    if any(word in name for word in depth.EMBEDDINGS):
        return "embeddings", 0, WHOLE
    return "last norm" if _NORM.search(name) else "rest", 0, WHOLE
