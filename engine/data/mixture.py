"""How often a pass takes rows of each data set, where a run learns from several. Needs no torch.

A set's share of a pass goes with its size to the power of 1/T: T is 1 by size, without end equally, and between them by
temperature (Raffel et al. 2020, arXiv 1910.10683, section 3.5.2); times its weight. A pass is as long as it would be
without: sets with a larger share are read more than once in it, others in part, and go on there in the next one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from engine.data import history
from engine.specs.sections import Data
from engine.specs.sections import Mixture as Settings


@dataclass(frozen=True)
class Mixture:
    """What each pass of a run reads."""

    places: list[list[int]]
    """Of each data set, where its rows stand among those to learn from."""
    taken: list[int]
    """How many rows of each a pass takes."""
    beside: list[int]
    """Rows of no data set, of which every pass takes each."""
    seed: int

    def order(self, epoch: int) -> list[int]:
        """Places of the rows of a pass (from 0), one set after the other.

        A set is gone through to its end before any of its rows comes again, and is shuffled each time.
        """
        found: list[int] = []
        for source, (own, count) in enumerate(zip(self.places, self.taken, strict=True)):
            first, last = epoch * count, (epoch + 1) * count
            for turn in range(first // len(own), -(-last // len(own))) if own else ():
                shuffled = list(own)
                random.Random(f"{self.seed} {source} {turn}").shuffle(shuffled)
                begins = turn * len(own)
                found += shuffled[max(0, first - begins) : last - begins]
        return found + self.beside


@dataclass(frozen=True)
class Part:
    """One data set in the mix. rows: to learn from; taken: by one pass; tokens: of those, where they are known."""

    title: str
    rows: int
    taken: int
    tokens: int = 0

    def passes(self, epochs: float) -> float:
        """How often each of its rows is read in a run, on average."""
        return epochs * self.taken / max(1, self.rows)


def mixed(settings: Settings, sources: Sequence[int], sets: int, seed: int) -> Mixture | None:
    """None where a pass reads every row once.

    sources: of each row to learn from, its data set's number; below 0 where it is of none.
    """
    places: list[list[int]] = [[] for _ in range(sets)]
    beside: list[int] = []
    for place, source in enumerate(sources):
        (places[source] if source >= 0 else beside).append(place)
    sizes = [len(own) for own in places]
    taken = counts(settings, sizes)
    return Mixture(places, taken, beside, seed) if taken != sizes else None


def counts(settings: Settings, sizes: Sequence[int]) -> list[int]:
    """How many rows of each set a pass takes, in all as many as there are; at least one."""
    weights = settings.weights or [1.0] * len(sizes)
    power = {"size": 1.0, "equal": 0.0, "temperature": 1 / settings.temperature}[settings.by]
    pull = [weight * size**power if size else 0.0 for weight, size in zip(weights, sizes, strict=True)]
    if not any(pull):
        return [0] * len(sizes)
    exact = [sum(sizes) * one / sum(pull) for one in pull]
    found = [max(1, int(one)) if size else 0 for one, size in zip(exact, sizes, strict=True)]
    # Those that lost most by rounding down get what is left; where ones were given for nothing, the largest give back.
    for place in sorted(range(len(sizes)), key=lambda place: found[place] - exact[place]):
        if sum(found) < sum(sizes) and sizes[place]:
            found[place] += 1
    while sum(found) > sum(sizes):
        found[max(range(len(found)), key=found.__getitem__)] -= 1
    return found


def parts(
    settings: Settings, titles: Sequence[str], sizes: Sequence[int], tokens: Sequence[int] | None = None
) -> list[Part]:
    """What a pass is made of, in the order of the data sets. tokens: of all rows of each."""
    taken, every = counts(settings, sizes), tokens or [0] * len(sizes)
    read = [round(one * count / max(1, size)) for one, count, size in zip(every, taken, sizes, strict=True)]
    return [Part(*one) for one in zip(titles, sizes, taken, read, strict=True)]


def unread(found: Sequence[Part], epochs: float) -> list[str]:
    """A sentence for each data set of which a run does not read all rows."""
    return [
        f"Of {part.title} about {round(part.taken * epochs):,} of {part.rows:,} rows are read at all: a pass takes "
        f"{part.taken:,}. More passes, or more weight for this set, read the rest."
        for part in found
        if part.passes(epochs) < 1
    ]


def names(data: Sequence[Data]) -> list[str]:
    """Data sets by the names of their tasks, else by their own without places; equal ones are numbered."""
    found: list[str] = []
    for number, entry in enumerate(data, 1):
        known = history.title(entry.source).rstrip("/").removeprefix("sample:")
        name = " ".join(entry.task.split()) or known.rpartition("/")[2] or f"task {number}"
        found.append(f"{name} ({number})" if name in found else name)
    return found


def prefix(name: str) -> str:
    """What stands before each text of a data set of this name, where it is told to the model."""
    return f"{name}: "
