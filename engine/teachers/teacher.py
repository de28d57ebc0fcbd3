"""A model that another one learns from: fetched, and compared with it before anything starts. Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.bases import models
from engine.bases.models import ModelFacts
from engine.errors import ModelError
from engine.judging.scores import TEACHER, Scores
from engine.methods.job import Job
from engine.specs.sections import Model
from engine.texts.tokens import Tokens

NAMED = 3
"""Tokens that a refusal names."""
FIX = (
    "Choose a teacher of the same family, whose tokenizer is the same, or set 'Divergence' (objective.divergence) to "
    "sorted, which compares across tokenizers."
)


@dataclass(frozen=True)
class Teacher:
    """A model that is ready to be read."""

    facts: ModelFacts
    folder: Path
    words: int
    """How many scores of words it has: of both models, where they are compared; rows that only one of them is padded
    with are left out."""
    is_student: bool
    """Whether it is the very model that learns, as it is before."""


def section(name: str, student: Model) -> Model:
    """What a teacher's name means beside the model that learns; empty is that model itself, whole."""
    return (
        Model(id=name.strip())
        if name.strip()
        else student.model_copy(update={"load": "auto", "continued": False, "keep_layers": 0})
    )


def fetched(name: str, student: Model, folder: Path, report: Callable[[str], None]) -> Teacher:
    """The teacher of a model in this folder, whatever its tokenizer.

    report: told in a sentence what takes time. Raises ModelError where it writes no answers.
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
    return Teacher(found, place, found.vocabulary, is_student=place.resolve() == folder.resolve())


def gather(name: str, student: Model, facts: ModelFacts, folder: Path, report: Callable[[str], None]) -> Teacher:
    """The teacher of a model with these facts, in this folder, whose words are the same.

    report: told in a sentence what takes time. Raises ModelError where it can't teach that model.
    """
    teacher = fetched(name, student, folder, report)
    found = teacher.facts
    mine, theirs = Tokens.load(folder).vocabulary, Tokens.load(teacher.folder).vocabulary
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
    return replace(teacher, words=words)


def fingerprint(folder: Path) -> str:
    """Of a model's files, by name, size and time: another one where any was changed."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    told = [(file.name, (about := file.stat()).st_size, about.st_mtime_ns) for file in files]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


@lru_cache(maxsize=2)
def tokens(folder: Path) -> Tokens:
    """Of a teacher, which every row is read with."""
    return Tokens.load(folder)


def as_job(job: Job, teacher: Teacher) -> Job:
    """The run's job with the teacher's tokens in place of the model's, for what it writes or answers."""
    tokens = Tokens.load(teacher.folder)
    return replace(job, facts=teacher.facts, model_folder=teacher.folder, tokens=tokens)


def comparable(job: Job, teacher: Teacher, scores: Scores) -> Scores:
    """The teacher's scores without its loss where its tokens are others: loss counts by the token."""
    if not difference(job.tokens.vocabulary, Tokens.load(teacher.folder).vocabulary):
        return scores
    metrics = {name: value for name, value in scores.metrics.items() if name != "loss"}
    return replace(scores, metrics=metrics, rows=[replace(row, loss=None) for row in scores.rows])


def beside_student(student: ModelFacts, teacher: ModelFacts, scores: Mapping[str, Scores]) -> dict[str, Any]:
    """Size and speed of teacher and model, where both were scored; a part of a run's metrics."""
    theirs = scores.get(f"before, {TEACHER}")
    if theirs is None:
        return {}
    found = {TEACHER: (teacher, theirs)}
    found |= {name: (student, scores[name]) for name in ("before", "after") if name in scores}
    return {
        "models": {
            name: {"parameters": of.parameters, "tokens_per_second": scored.tokens_per_second or 0.0}
            for name, (of, scored) in found.items()
        }
    }


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
