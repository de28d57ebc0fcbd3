"""Where two tokenizers agree: the places in a conversation at which both go on from the same text. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Step = tuple[int, int]
"""An answer of the conversation, and how many of its characters stand before."""


@dataclass(frozen=True)
class Steps:
    """A conversation as one tokenizer has it."""

    ids: list[int]
    places: dict[Step, int]
    """Which token goes on from there."""
    answers: list[str]
    """With what ends them."""


def steps(
    ids: Sequence[int],
    offsets: Sequence[tuple[int, int]],
    learned: Sequence[bool],
    text: str,
    answers: Sequence[tuple[int, int]],
) -> Steps:
    """offsets: of each token in the text. learned: whether it is part of an answer. answers: their spans, ordered.

    What stands before a token is told by the end of the one before it, since some tokenizers leave spaces out where a
    token begins. Of tokens that share a character only the last one's follower begins with whole characters before it.
    """
    places: dict[Step, int] = {}
    reach = number = 0
    for place, ((_, end), is_learned) in enumerate(zip(offsets, learned, strict=True)):
        if is_learned and place:
            while number + 1 < len(answers) and answers[number][1] <= reach:
                number += 1
            places[number, max(0, reach - answers[number][0])] = place
        reach = max(reach, end)
    kept = {step: place for step, place in places.items() if place < len(ids)}
    return Steps(list(ids), kept, [text[begin:end] for begin, end in answers])


def paired(mine: Steps, theirs: Steps) -> list[tuple[int, int]]:
    """Places of tokens, here and there, that go on from the same text of the same answer; ordered."""
    alike = [_shared(*both) for both in zip(mine.answers, theirs.answers, strict=False)]
    return sorted(
        (place, theirs.places[step])
        for step, place in mine.places.items()
        if step in theirs.places and step[0] < len(alike) and step[1] <= alike[step[0]]
    )


def _shared(first: str, second: str) -> int:
    """Characters with which both begin."""
    return next(
        (at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
