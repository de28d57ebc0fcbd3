"""The kinds of answers that a classifier gives, one file each. The objective `classify` leaves to them what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.data.example import Example
from engine.kinds.base import Kind
from engine.kinds.number import Number
from engine.kinds.one_label import OneLabel
from engine.kinds.several_labels import SeveralLabels
from engine.method import KindName

KINDS: dict[str, Kind] = {kind.name: kind for kind in (OneLabel(), SeveralLabels(), Number())}


def of(name: str) -> Kind:
    """By its name; what is not settled yet ("auto") is taken for one label."""
    return KINDS.get(name, KINDS["one label"])


def of_rows(examples: Sequence[Example]) -> KindName:
    """What the answers of a run's rows are."""
    if any(example.number is not None for example in examples):
        return "number"
    return "several labels" if any(example.labels is not None for example in examples) else "one label"


def of_result(kept: Mapping[str, Any]) -> Kind:
    """By what a result's `classifier.json` holds."""
    return of(str(kept.get("kind", "one label")))
