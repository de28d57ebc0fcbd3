"""The kinds of answers that a classifier gives, one file each. The objective `classify` leaves to them what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.data.example import Example
from engine.files import read_json
from engine.kinds.base import Kind
from engine.kinds.marked_words import MarkedWords
from engine.kinds.number import Number
from engine.kinds.one_label import OneLabel
from engine.kinds.several_labels import SeveralLabels
from engine.method import KindName

KINDS: dict[str, Kind] = {kind.name: kind for kind in (OneLabel(), SeveralLabels(), Number(), MarkedWords())}


def of(name: str) -> Kind:
    """By its name; what is not settled yet ("auto") is taken for one label."""
    return KINDS.get(name, KINDS["one label"])


def of_rows(examples: Sequence[Example]) -> KindName:
    """What the answers of a run's rows are."""
    if any(example.marks is not None for example in examples):
        return "marked words"
    if any(example.number is not None for example in examples):
        return "number"
    return "several labels" if any(example.labels is not None for example in examples) else "one label"


def of_result(kept: Mapping[str, Any]) -> Kind:
    """By what a result's `classifier.json` holds."""
    return of(str(kept.get("kind", "one label")))


def of_folder(result: Path) -> Kind:
    """What the result in a folder answers."""
    return of_result(read_json(result / "classifier.json") or {})


@dataclass(frozen=True)
class Said:
    """What a result says of a text.

    number: of one that gives numbers; else chances of all labels, the highest first.
    """

    chances: list[tuple[str, float]]
    given: list[str]
    """The labels that it gets."""
    number: float | None
    several: bool
    """Whether it may get several labels, or none."""
    holds: str
    """How that is to be taken, in a sentence."""


def said(result: Path, found: Sequence[tuple[str, float]]) -> Said:
    """found: as `engine.chat.labels` gives it, of the run whose result lies in the folder `result`."""
    kept = read_json(result / "classifier.json") or {}
    kind = of_result(kept)
    number = None if kind.tells_labels else found[0][1]
    chances = list(found) if kind.tells_labels else []
    return Said(chances, kind.given(found, kept), number, kind.name == "several labels", kind.holds(kept))
