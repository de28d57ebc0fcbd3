"""The five ideas of tuning: how much of a model changes. Tuners are offered and told under them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from engine.methods.tuner import Tuner

Idea = Literal["all weights", "some layers", "small additions", "only the input", "only the head"]
IDEAS: dict[Idea, tuple[str, str]] = {
    "all weights": ("All weights", "The whole model learns. It can change most, and costs most."),
    "some layers": ("Some layers, or parts", "A part of the model's own weights learns; the rest stays as it is."),
    "small additions": ("Small additions", "The model stays as it is; what is added inside its layers learns."),
    "only the input": ("Only the input", "The model stays as it is; what stands before each text learns."),
    "only the head": ("Only the head", "The model stays as it is; a classifier on top of it learns."),
}
"""Title and a sentence, from what changes most to what changes least."""
OTHERS = "Others"
"""Where a tuner is folded that names no family."""

FROM_ANOTHER = "From another model"
"""Under what objectives are folded by which a model learns from a teacher."""


@dataclass(frozen=True)
class Chapter:
    """The tuners of one idea."""

    title: str
    text: str
    usual: list[Tuner] = field(default_factory=list)
    families: dict[str, list[Tuner]] = field(default_factory=dict)
    """All others, by the heading under which they are folded."""


def chapters(tuners: Iterable[Tuner]) -> list[Chapter]:
    """Tuners by their ideas, in the order in which they come; ideas without any are left out."""
    found = {idea: Chapter(*words) for idea, words in IDEAS.items()}
    for tuner in tuners:
        chapter = found[tuner.idea]
        place = chapter.usual if tuner.usual else chapter.families.setdefault(tuner.family or OTHERS, [])
        place.append(tuner)
    return [chapter for chapter in found.values() if chapter.usual or chapter.families]
