"""Which rows are held out: drawn once, seeded, equal content on one side, classes in proportion."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from engine.data import content
from engine.data.example import Example, SplitName
from engine.data.rows import counted
from engine.errors import DataError
from engine.specs.sections import Split


@dataclass(frozen=True)
class SplitReport:
    train: int
    validation: int
    test: int
    groups: int
    """Different prompts."""
    stratified: bool
    notices: list[str] = field(default_factory=list)


def split(
    examples: list[Example],
    wanted: Split,
    seed: int,
    divided: bool = False,
    taken: Mapping[str, SplitName] | None = None,
    keys: list[str] | None = None,
) -> tuple[list[Example], SplitReport]:
    """The examples, in their order, with `split` set.

    divided: the examples carry their source's own splits, which stay; only parts that the source lacks are drawn
    from its training rows. taken: by prompt key, where earlier data entries have put equal content; it goes there.
    keys: the examples' prompt keys, if they are known.
    Raises DataError when there are too few rows.
    """
    keys = keys if keys is not None else content.prompt_keys(examples)
    sides: list[SplitName | None] = [None] * len(examples)
    for index, key in enumerate(keys):
        if divided and examples[index].split != "train":
            sides[index] = examples[index].split
        elif not divided and taken and key in taken:
            sides[index] = taken[key]
    targets = _targets(wanted, sides, divided)
    strata, stratified = _strata(examples)
    notices: list[str] = []
    for name, target in targets.items():
        if target:
            free = [index for index, side in enumerate(sides) if side is None]
            drawn = _draw(free, keys, strata, target, f"{seed}:{name}")
            if not drawn:
                raise DataError(
                    f"The {counted(len(free), 'row', 'rows')} have too few different prompts to hold out {name} rows.",
                    f"Add rows, or set the {name} share to 0.",
                )
            if len(drawn) != target:
                told = counted(len(drawn), "row is", "rows are")
                notices.append(
                    f"{told} held out for {name} in place of {target:,}, as rows that belong together stay so."
                )
            for index in drawn:
                sides[index] = name
    chosen: list[SplitName] = [side or "train" for side in sides]
    if "train" not in chosen:
        raise DataError("No rows are left to learn from.", "Add rows, or hold out fewer.")
    result = [
        example if example.split == side else replace(example, split=side)
        for example, side in zip(examples, chosen, strict=True)
    ]
    train, validation, test = (chosen.count(name) for name in ("train", "validation", "test"))
    return result, SplitReport(train, validation, test, len(set(keys)), stratified, notices)


def _targets(wanted: Split, sides: list[SplitName | None], divided: bool) -> dict[SplitName, int]:
    """How many rows to draw for each part from those that have no side yet."""
    free = sides.count(None)
    targets: dict[SplitName, int] = {"test": 0, "validation": 0}
    asked: list[tuple[SplitName, float, int | None]] = [
        ("test", wanted.test, wanted.test_rows),
        ("validation", wanted.validation, wanted.validation_rows),
    ]
    for name, share, rows in asked:
        there = sides.count(name)
        if divided and there:
            continue
        if rows is not None:
            targets[name] = max(0, rows - there)
        elif share and free:
            targets[name] = max(0 if there else 1, round(free * share))
    needed = sum(targets.values())
    left = free - needed + sides.count("train")
    if needed > free or left < 1:
        raise DataError(
            f"{counted(free, 'usable row is', 'usable rows are')} too few to hold out {targets['test']:,} for the test "
            f"and {targets['validation']:,} for validation, and still learn from some.",
            "Add rows, or set smaller shares (0 holds out none).",
        )
    return targets


def _strata(examples: list[Example]) -> tuple[list[str], bool]:
    """What each example is grouped by for equal proportions: its label, where answers are classes; else nothing."""
    answers = content.classes(examples)
    several = any(example.labels is not None or example.marks is not None for example in examples)
    if answers is None or several or len(set(answers)) > len(answers) // 2:
        return [""] * len(examples), False
    return answers, True


def _draw(free: list[int], keys: list[str], strata: list[str], target: int, seed: str) -> list[int]:
    """Rows to hold out: whole groups of equal prompts, from each stratum in proportion, `target` in all if they fit.

    Order comes from seeded shuffles of lists in the order of the rows, never from sets, so it is equal everywhere.
    """
    groups: dict[str, list[int]] = {}
    for index in free:
        groups.setdefault(keys[index], []).append(index)
    by_stratum: dict[str, list[list[int]]] = {}
    for group in groups.values():
        by_stratum.setdefault(strata[group[0]], []).append(group)
    quotas = _quotas({name: sum(map(len, members)) for name, members in by_stratum.items()}, target)
    drawn: list[int] = []
    spare: list[list[int]] = []
    for name, members in by_stratum.items():
        random.Random(f"{seed}:{name}").shuffle(members)
        room = quotas[name]
        # The last group of a stratum stays in training, so that no class is held out whole.
        for position, group in enumerate(members):
            if len(group) <= room and position < len(members) - 1:
                drawn += group
                room -= len(group)
            elif position < len(members) - 1:
                spare.append(group)
    random.Random(seed).shuffle(spare)
    for group in spare:
        if len(group) <= target - len(drawn):
            drawn += group
    if not drawn and spare:
        drawn = min(spare, key=len)
    return drawn


def _quotas(sizes: dict[str, int], target: int) -> dict[str, int]:
    """`target` shared out in proportion to the sizes, by largest remainders."""
    total = sum(sizes.values())
    exact = {name: size * target / total for name, size in sizes.items()}
    quotas = {name: int(share) for name, share in exact.items()}
    order = sorted(sizes, key=lambda name: (quotas[name] - exact[name], name))
    for name in order[: target - sum(quotas.values())]:
        quotas[name] += 1
    return quotas
