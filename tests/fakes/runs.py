"""Run folders as `store.create` makes them, small enough for a test."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from engine.data import example as examples_file
from engine.data.example import Example, SplitName
from engine.data.marks import told
from engine.specs.spec import RunSpec

INTENTS = {
    "card arrival": [
        "My new card has not arrived.",
        "When will the card come?",
        "Where is my card?",
        "No card yet, why?",
    ],
    "transfer fee": [
        "Why was I charged a fee?",
        "What does the transfer cost?",
        "A fee for my transfer?",
        "Too high a fee.",
    ],
    "exchange rate": [
        "Which exchange rate do you use?",
        "Is the rate good?",
        "The rate was wrong.",
        "What rate for euros?",
    ],
}


SMALL = {
    "fourierft": {"frequencies": 100},
    "shira": {"rank": 2},
    "trainable-tokens": {"tokens": "card <|im_end|>"},
    "vera": {"rank": 16},
}
"""Settings that tiny models have room for, where the defaults ask for more than their layers hold."""


def examples(wants: str, kind: str = "one label") -> list[Example]:
    """Twelve rows of three intents: eight to learn from, two to watch, two to score.

    kind: of several labels, every other row is a question besides, and every fifth has none; a number is one for each
    intent, larger with the text.
    """
    found = []
    for text_number in range(4):
        for label, texts in INTENTS.items():
            row = len(found) + 1
            split: SplitName = "train" if row <= 8 else "validation" if row <= 10 else "test"
            if wants == "text":
                found.append(Example(row, split, text=f"{texts[text_number]} It is about {label}, as it often is."))
            elif kind == "several labels":
                own = [] if row % 5 == 0 else [label, "question"] if row % 2 else [label]
                found.append(Example(row, split, text=texts[text_number], label=", ".join(own), labels=own))
            elif kind == "marked words":
                found.append(marked(row, split, texts[text_number]))
            elif kind == "number":
                number = 10 * list(INTENTS).index(label) + len(texts[text_number]) / 8
                found.append(Example(row, split, text=texts[text_number], label=str(number), number=number))
            elif wants == "labelled":
                found.append(Example(row, split, text=texts[text_number], label=label))
            else:
                messages = [{"role": "user", "content": texts[text_number]}, {"role": "assistant", "content": label}]
                found.append(Example(row, split, messages=messages))
    return found


def marked(row: int, split: SplitName, text: str) -> Example:
    """A text in which the bank's words are marked, "exchange rate" as one."""
    pattern = re.compile(r"(?P<thing>card)|(?P<money>fee|exchange rate|rate|euros)")
    marks = [(match.start(), match.end(), str(match.lastgroup)) for match in pattern.finditer(text)]
    return Example(row, split, text=text, label=told(text, marks), marks=marks)


def spec(model: Path, objective: str | dict[str, Any], tuner: str, **training: Any) -> RunSpec:
    """Four steps of two rows in float32 on one thread."""
    settings = {
        "batch_size": 2,
        "max_steps": 4,
        "precision": "float32",
        "max_tokens": 64,
        "learning_rate": 1e-2,
        **training,
    }
    return RunSpec.parse(
        {
            "model": {"id": str(model)},
            "data": [{"source": "made-by-the-test.jsonl"}],
            "objective": objective,
            "tuner": {"name": tuner, **SMALL.get(tuner, {})},
            "training": settings,
            "evaluation": {"every_steps": 2},
            "launch": {"threads": 1},
        }
    )


def folder(place: Path, run: RunSpec, rows: list[Example] | None = None) -> Path:
    """A run folder that a worker can take up."""
    place.mkdir(parents=True)
    run.save(place / "spec.yaml")
    kind = run.objective.kind(run.objective_settings)
    examples_file.save(rows if rows is not None else examples(run.objective.wants, kind), place / "examples.jsonl")
    return place


def events(place: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place / "events.jsonl").read_text(encoding="utf-8").splitlines()]
