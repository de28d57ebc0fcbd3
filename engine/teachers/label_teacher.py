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
from engine.teachers.teacher import difference
from engine.texts import text_pairs
from engine.texts.tokens import Tokens

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
    fitted: bool = False
    """Whether its labels come from a classifier that was fitted to the vectors of a model that stayed as it was."""

    @property
    def files(self) -> Path:
        """The folder with its tokenizer."""
        return self.folder / "model" if self.is_run else self.folder


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


def planned(name: str, labels: Sequence[str], report: Callable[[str], None]) -> LabelTeacher:
    """What a model will be as a teacher, once an earlier stage has made a classifier of it."""
    section = Model(id=name.strip())
    place = models.ensure(section, report)
    return LabelTeacher(section.id, models.facts(section), place, tuple(labels), is_run=False, pairs=None)


def require_states(teacher: LabelTeacher, student: ModelFacts, folder: Path) -> None:
    """Raises ModelError where a model in this folder can't learn the teacher's hidden states, token by token."""
    way = "Choose another teacher, or set 'Weight of hidden states' (objective.hidden_weight) to 0."
    if teacher.fitted:
        raise ModelError(
            f"The teacher {teacher.id} has no hidden states that know the labels: it is a classifier that was "
            "fitted to vectors of a model that stayed as it was.",
            way,
        )
    differing = difference(Tokens.load(folder).vocabulary, Tokens.load(teacher.files).vocabulary)
    if differing:
        raise ModelError(
            f"Hidden states are learned token by token, and the teacher {teacher.id} has other words than "
            f"{student.id}: {differing}.",
            way,
        )


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
        fitted="form" in kept,
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
