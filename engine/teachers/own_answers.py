"""Answers that a model writes itself while it learns: what they come to, before any is written. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Counts = tuple[list[int], list[int]]
"""Tokens of some rows, and how many of them are learned."""


@dataclass(frozen=True)
class Own:
    share: float
    """Of the rows, in each update."""
    tokens: int
    """Of an answer, at most."""

    def longest(self, lengths: Sequence[int], learned: Sequence[int], most: int) -> Counts:
        """What rows may come to be. most: tokens of a row, with its answer.

        Where a row holds several answers only the last is written anew, which may be its shortest.
        """
        longer = [max(length, min(most, length + self.tokens)) for length in lengths]
        return longer, [max(count, self.tokens) for count in learned]

    def usual(self, lengths: Sequence[int], learned: Sequence[int], most: int) -> Counts:
        """What rows are on the whole, while each answer is as long as it may be and a row holds one."""
        found: Counts = ([], [])
        for length, count in zip(lengths, learned, strict=True):
            prompt = length - count
            answer = max(0, min(self.tokens, most - prompt))
            found[0].append(round((1 - self.share) * length + self.share * (prompt + answer)))
            found[1].append(round((1 - self.share) * count + self.share * answer))
        return found
