"""Words for labels, proposed from the data: those that the model itself finds likelier with a label's rows.

After LM-BFF (Gao, Fisch, Chen 2020, arXiv 2012.15723, section 5) and PETAL (Schick, Schmid, Schütze 2020, arXiv
2010.13641): words of one token, by how much likelier they are where a row of the label stands. Needs no torch; the
model is asked in a child process.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from typing import Any

from engine.bases import models
from engine.children import Child, Died, OutOfMemory, Settings, TooSlow
from engine.data import example as examples_file
from engine.data.example import Example
from engine.data.prepare import Prepared
from engine.errors import DataError, MachineError, SettingError
from engine.planning.jobs import require_pair
from engine.specs.spec import RunSpec
from engine.texts import label_words

ROWS_OF_A_LABEL = 16
MOST_ROWS = 240
MOST_LABELS = 120
SECONDS = 600.0
IDLE_SECONDS = 60.0


@dataclass(frozen=True)
class Proposal:
    label: str
    word: str
    nats: float
    """By how much its log-probability in the slot is higher with this label's rows than in the mean of the others'."""
    others: list[str]
    """The next best."""

    @property
    def times(self) -> float:
        """How many times as likely it is there."""
        return exp(min(self.nats, 20.0))


def proposed(spec: RunSpec, prepared: Prepared) -> list[Proposal]:
    """A word for every label, each another one, by what the untouched model makes of some rows to learn from.

    Raises SettingError where the objective has no label words or doesn't go with the model, DataError where the rows
    hold too few or too many labels, MachineError where the model can't be asked.
    """
    if not spec.objective.fills_slot:
        raise SettingError([f"{spec.objective.title} has no label words."], "Choose the objective cloze.")
    facts = models.facts(spec.model)
    require_pair(spec, facts)
    models.ensure(spec.model, lambda text: None)
    rows = asked(prepared.examples, spec.training.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _plain(spec, sorted({row.label for row in rows})).save(folder / "spec.yaml")
        examples_file.save(rows, folder / "examples.jsonl")
        return [Proposal(**one) for one in _answer(folder)]


def asked(examples: Sequence[Example], seed: int) -> list[Example]:
    """Some rows of every label to learn from, drawn by the seed. Raises DataError."""
    places: dict[str, list[Example]] = {}
    for example in examples:
        if example.split == "train":
            places.setdefault(example.label, []).append(example)
    if not 2 <= len(places) <= MOST_LABELS:
        raise DataError(
            f"Words are proposed for 2 to {MOST_LABELS} labels; these rows have {len(places)}.",
            "Write them yourself, or leave them empty: then the labels' names are the words.",
        )
    most = max(1, min(ROWS_OF_A_LABEL, MOST_ROWS // len(places)))
    drawn = random.Random(seed)
    return [row for _, own in sorted(places.items()) for row in drawn.sample(own, min(most, len(own)))]


def _plain(spec: RunSpec, labels: Sequence[str]) -> RunSpec:
    """With words that say nothing of the labels, and no tuner's demands: nothing learns here."""
    words = label_words.written({label: f"w{number}" for number, label in enumerate(labels)})
    settings = spec.objective_settings.model_copy(update={"label_words": words, "few_shot_rows": 0})
    return replace(spec, objective_settings=settings)


def _answer(folder: Path) -> list[dict[str, Any]]:
    child = Child(Settings(module="engine.compute.word_choice", idle_seconds=IDLE_SECONDS))
    try:
        found: list[dict[str, Any]] = child.call({"folder": str(folder)}, SECONDS)
    except TooSlow:
        raise MachineError(
            f"The model took more than {SECONDS / 60:.0f} minutes.", "Choose a smaller model, or write the words."
        ) from None
    except (OutOfMemory, Died):
        raise MachineError(
            "The model's process ended without an answer; the memory may be full.",
            f"End other programs or runs, or choose a smaller model. Details are in {child.log}.",
        ) from None
    finally:
        child.close()
    return found
