"""A model that another one learns from: fetched, and compared with it before anything starts. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine import models
from engine.errors import ModelError
from engine.models import ModelFacts
from engine.sections import Model
from engine.tokens import Tokens

NAMED = 3
"""Tokens that a refusal names."""
FIX = "Choose a teacher of the same family, whose tokenizer is the same."


@dataclass(frozen=True)
class Teacher:
    """A model that is ready to be read."""

    facts: ModelFacts
    folder: Path
    words: int
    """How many scores of words both models have; rows that only one of them is padded with are left out."""
    is_student: bool
    """Whether it is the very model that learns, as it is before."""


def section(name: str, student: Model) -> Model:
    """What a teacher's name means beside the model that learns; empty is that model itself, whole."""
    return (
        Model(id=name.strip())
        if name.strip()
        else student.model_copy(update={"load": "auto", "continued": False, "keep_layers": 0})
    )


def gather(name: str, student: Model, facts: ModelFacts, folder: Path, report: Callable[[str], None]) -> Teacher:
    """The teacher of a model with these facts, in this folder.

    report: told in a sentence what takes time. Raises ModelError where it can't teach that model.
    """
    named = section(name, student)
    found = models.facts(named)
    if found.kind != "decoder":
        raise ModelError(
            f"The teacher {found.id} is of the kind {found.kind}; one that teaches answers is a decoder.",
            "Choose a model that writes.",
        )
    report(f"Getting the teacher {found.id}.")
    place = models.ensure(named, report)
    mine, theirs = Tokens.load(folder).vocabulary, Tokens.load(place).vocabulary
    differing = difference(mine, theirs)
    if differing:
        raise ModelError(f"The teacher {found.id} has other words than {facts.id}: {differing}.", FIX)
    words = min(facts.vocabulary, found.vocabulary)
    if words <= max(mine.values(), default=0):
        raise ModelError(
            f"The teacher {found.id} scores {found.vocabulary:,} words and {facts.id} {facts.vocabulary:,}, but their "
            f"tokenizer has {max(mine.values()) + 1:,}.",
            FIX,
        )
    return Teacher(found, place, words, is_student=place.resolve() == folder.resolve())


def difference(student: Mapping[str, int], teacher: Mapping[str, int]) -> str:
    """What differs between two vocabularies, in words; empty where each token has the same id in both."""
    moved = sorted(
        (student[token], token) for token in student.keys() & teacher.keys() if student[token] != teacher[token]
    )
    if moved:
        _, token = moved[0]
        more = f", and {len(moved) - 1:,} more tokens differ" if len(moved) > 1 else ""
        return f"{token!r} is number {student[token]:,} here and {teacher[token]:,} there{more}"
    lacking = [
        _listed(f"the {who}'s tokenizer lacks", ids, other.keys() - ids.keys(), other)
        for who, ids, other in (("teacher", teacher, student), ("student", student, teacher))
        if other.keys() - ids.keys()
    ]
    return "; ".join(lacking)


def _listed(what: str, ids: Mapping[str, int], tokens: set[str], numbers: Mapping[str, int]) -> str:
    named = ", ".join(repr(token) for token in sorted(tokens, key=lambda token: numbers[token])[:NAMED])
    more = f" and {len(tokens) - NAMED:,} more" if len(tokens) > NAMED else ""
    return f"{what} {named}{more}"
