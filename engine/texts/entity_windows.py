"""Texts with marked words that are longer than a model reads: windows that overlap, of which each word counts in one.

At the edge of a window the model doesn't see what stands beyond. So neighbours share a quarter of what they read, and
the words of the shared part count in that window where they stand further from the edge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from engine.data.example import Example
from engine.texts.entity_tags import words_of
from engine.texts.tokens import Tokens

SHARED = 4
"""The part of a window that the next one reads again: one in so many."""
SPARE = 4
"""Tokens that a window leaves free: cut out of its text, some tokenizers need more for it."""


@dataclass(frozen=True)
class Window:
    """From which character to which it reads, and in which of these words count."""

    begin: int
    end: int
    core: tuple[int, int]


def windows(tokens: Tokens, text: str, most: int) -> list[Window]:
    """Windows of at most `most` tokens; one where the text is no longer. Raises ValueError where no token has room."""
    room = most - sum(map(len, tokens.frame))
    _, offsets = tokens.encode_bare(text)
    if len(offsets) <= room:
        return [Window(0, len(text), (0, len(text)))]
    if room < 2:
        raise ValueError(f"{most} tokens leave no room for text")
    own = room - min(SPARE, room // 3)
    begins = _word_begins(text, offsets)
    found: list[tuple[int, int]] = []
    first = 0
    while True:
        end = _back(begins, first + own, first + own // 2)
        if first + own >= len(offsets):
            found.append((first, len(offsets)))
            break
        found.append((first, end))
        first = _back(begins, end - own // SHARED, first + 1) if own >= SHARED else end
    edges = [0]
    for (_, end), (begin, _) in pairwise(found):
        edges.append(offsets[_back(begins, (begin + end) // 2, begin)][0])
    edges.append(len(text))
    return [
        Window(
            0 if place == 0 else offsets[begin][0],
            len(text) if place == len(found) - 1 else offsets[end][0],
            (edges[place], edges[place + 1]),
        )
        for place, (begin, end) in enumerate(found)
    ]


def parts(row: Example, tokens: Tokens, most: int) -> list[Example]:
    """A row as the windows of its text, each with its marks and where its words count; itself where it is one."""
    found = windows(tokens, row.text, most)
    if len(found) == 1:
        return [row]
    return [
        replace(
            row,
            text=row.text[one.begin : one.end],
            marks=[
                (begin - one.begin, end - one.begin, label)
                for begin, end, label in row.marks or []
                if begin < one.end and one.begin < end
            ],
            core=(one.core[0] - one.begin, one.core[1] - one.begin),
        )
        for one in found
    ]


def _word_begins(text: str, offsets: list[tuple[int, int]]) -> list[bool]:
    """Whether a word begins with each token."""
    begins = {begin for begin, _ in words_of(text)}
    found = []
    for begin, end in offsets:
        while begin < end and text[begin].isspace():
            begin += 1
        found.append(begin in begins)
    return found


def _back(begins: list[bool], place: int, least: int) -> int:
    """The last token from `least` on, `place` at most, with which a word begins; else `place` itself."""
    place = min(place, len(begins) - 1)
    return next((at for at in range(place, least - 1, -1) if begins[at]), place)
