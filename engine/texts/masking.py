"""Which tokens of a text are hidden, to be guessed from what stands around them. Standalone scripts hold this source.

Devlin et al. 2018, arXiv 1810.04805, section 3.1; whole words as in their later models. What is drawn follows from
the seed, the pass and the text alone, so that a run that goes on after a break hides the same words.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

LONGEST_WORD = 8
"""Tokens. What has more without an end (languages that put no spaces between words) is hidden token by token."""
AS_MASK, AS_OTHER = 0.8, 0.1
"""Of the hidden tokens, how many stand as the mask and as any other token; the rest stays as it is."""


def draw(*of: object) -> random.Random:
    """Chance that is the same for the same seed, pass and text."""
    return random.Random(" ".join(map(str, of)))


def places(words: Sequence[int], share: float, whole: bool, chance: random.Random) -> list[int]:
    """Places of the tokens to be guessed, about this share of those that may be, and at least one.

    words: of each token the number of its word, from 0; -1 where it may not be hidden. whole: all tokens of a word or
    none.
    """
    own: dict[int, list[int]] = {}
    for place, word in enumerate(words):
        if word >= 0:
            own.setdefault(word, []).append(place)
    parts: list[list[int]] = []
    for at in own.values():
        parts += [at] if whole and len(at) <= LONGEST_WORD else [[place] for place in at]
    wanted = max(1, round(share * sum(map(len, parts))))
    chance.shuffle(parts)
    found: list[int] = []
    for part in parts:
        if len(found) >= wanted:
            break
        if not found or len(found) + len(part) <= wanted:
            found += part
    return sorted(found)


def hidden(
    ids: Sequence[int], at: Sequence[int], mask: int, vocabulary: int, special: Collection[int], chance: random.Random
) -> list[int]:
    """The tokens as they are read while the ones `at` these places are guessed: most of them as the mask.

    vocabulary: any id below it may stand in a place but the special ones.
    """
    read = list(ids)
    for place in at:
        number = chance.random()
        if number < AS_MASK:
            read[place] = mask
        elif number < AS_MASK + AS_OTHER:
            other = chance.randrange(vocabulary)
            while other in special:
                other = chance.randrange(vocabulary)
            read[place] = other
    return read
