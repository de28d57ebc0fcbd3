"""General text that comes with Tunesmith: to measure by what a model forgets, and to read again beside other text."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import cache
from typing import Literal

from engine import home
from engine.data.example import Example
from engine.errors import MachineError

FILE = "general.jsonl"
OF_NO_SET = -1
"""`Example.source` of such text: it is of none of the run's data sets."""


def meter() -> list[Example]:
    """Passages on which forgetting is measured; they are never learned."""
    return [Example(number, "test", text=text) for number, text in enumerate(_passages("meter"), 1)]


def replayed(share: float, train: Sequence[Example], seed: int) -> list[Example]:
    """Passages to mix into `train`, so that they make up this share of the characters that are read; at most all."""
    wanted = share / (1 - share) * sum(len(example.text) for example in train)
    passages = list(_passages("replay"))
    random.Random(seed).shuffle(passages)
    taken: list[Example] = []
    while passages and wanted > 0:
        text = passages.pop(0)
        wanted -= len(text)
        taken.append(Example(0, text=text, source=OF_NO_SET))
    return taken


@cache
def _passages(use: Literal["meter", "replay"]) -> tuple[str, ...]:
    path = home.samples() / FILE
    try:
        with open(path, encoding="utf-8") as lines:
            found = [json.loads(line) for line in lines]
        return tuple(item["text"] for item in found if item["use"] == use)
    except (OSError, ValueError, KeyError):
        raise MachineError(f"{path} is missing or damaged.", "Get Tunesmith's files again.") from None
