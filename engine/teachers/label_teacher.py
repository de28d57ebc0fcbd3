"""A classifier that another one learns from: found, and its labels held against the data's. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.bases import lineage, models
from engine.bases.models import ModelFacts
from engine.errors import ModelError
from engine.files import read_json
from engine.specs.sections import Model
from engine.texts import text_pairs

NAMED = 3
"""Labels that a refusal names."""


@dataclass(frozen=True)
class LabelTeacher:
    """folder: of the run whose result it is, or of the model itself."""

    id: str
    facts: ModelFacts
    folder: Path
    labels: tuple[str, ...]
    """In the order of its scores."""
    is_run: bool
    pairs: bool | None
    """Whether it reads two texts at a time; None where it reads one or two."""


def gather(name: str, labels: Sequence[str], report: Callable[[str], None]) -> LabelTeacher:
    """The teacher of this name for data with these labels.

    report: told in a sentence what takes time. Raises ModelError where it is no classifier, or of other labels.
    """
    found = _of_run(name) if lineage.is_run(name) else _of_model(name, report)
    differing = [
        f"{who} {_listed(sorted(mine - theirs))}"
        for who, mine, theirs in (
            ("it lacks", set(labels), set(found.labels)),
            ("the data lacks", set(found.labels), set(labels)),
        )
        if mine - theirs
    ]
    if differing:
        raise ModelError(
            f"The teacher {found.id} has other labels than the data: {'; '.join(differing)}.",
            "Choose a teacher that was trained on these labels, or name the data's alike.",
        )
    return found


def _of_run(name: str) -> LabelTeacher:
    parent = lineage.parent(name)
    kept = read_json(parent.result / "classifier.json") or {}
    if not kept.get("labels"):
        raise ModelError(
            f"Run {parent.id} is no classifier: its objective is {parent.objective}.", "Choose one that classifies."
        )
    if kept.get("tasks"):
        raise ModelError(
            f"Run {parent.id} reads each of its data sets in a way of its own; a teacher reads all rows alike.",
            "Choose a run whose data sets share a head (objective.heads) and have no name before their texts.",
        )
    return LabelTeacher(
        name.strip(),
        models.facts(parent.model),
        parent.folder,
        tuple(map(str, kept["labels"])),
        is_run=True,
        pairs=text_pairs.of_result(parent.result),
    )


def _of_model(name: str, report: Callable[[str], None]) -> LabelTeacher:
    section = Model(id=name.strip())
    report(f"Getting the teacher {section.id}.")
    facts, place = models.facts(section), models.ensure(section, report)
    config = read_json(place / "config.json") or {}
    named = config.get("id2label")
    kinds = config.get("architectures") or []
    if not isinstance(named, dict) or not any(str(kind).endswith("ForSequenceClassification") for kind in kinds):
        raise ModelError(
            f"The teacher {section.id} is no classifier of texts: its config.json names none.",
            "Choose a model for sequence classification, or run:ID, a run that classifies.",
        )
    labels = tuple(str(named[number]) for number in sorted(named, key=int))
    return LabelTeacher(section.id, facts, place, labels, is_run=False, pairs=None)


def _listed(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - NAMED:,} more" if len(labels) > NAMED else ""
    return ", ".join(map(repr, labels[:NAMED])) + more
