"""What can be mended with one click. A remedy takes a table and makes another one; it never touches a file.

Adding one: a function `Case → Mended`, and a line in REMEDIES with what it is an answer to.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from engine.data import boilerplate, columns, content, likeness, personal, turns
from engine.data.conversations import EMPTY, ORDER, ROLE
from engine.data.example import Example, SplitName
from engine.data.rows import RowProblem, Table, counted
from engine.errors import DataError

DROP_PROBLEMS = "drop-problems"


@dataclass(frozen=True)
class Case:
    """A table, how it is read, and what was found: `found` has all row numbers of each finding, by its name."""

    table: Table
    roles: dict[str, str]
    examples: list[Example]
    problems: list[RowProblem]
    found: dict[str, list[int]]

    def cells(self, *roles: str) -> list[str]:
        """The columns that play these parts, or any part."""
        return [name for role, name in self.roles.items() if (role in roles if roles else role != "tools")]


@dataclass(frozen=True)
class Mended:
    """The new table, and what was done: a few words, and row numbers of the table that was given."""

    table: Table
    told: str
    changed: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Remedy:
    """`findings` names findings of the audit that it answers, `problems` kinds of problems that it mends."""

    name: str
    title: str
    help: str
    act: Callable[[Case], Mended]
    findings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    keeps_places: bool = True
    """Whether texts keep their length, so that what counts characters in them stays true."""


def get(name: str) -> Remedy:
    """Raises DataError that lists the remedies there are."""
    known = {remedy.name: remedy for remedy in REMEDIES}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise DataError(f"There is no remedy {name!r}.{hint}", f"The remedies are {', '.join(known)}.")
    return known[name]


def for_finding(name: str) -> list[str]:
    """Names of the remedies that answer a finding."""
    return [remedy.name for remedy in REMEDIES if name in remedy.findings]


def for_problem(kind: str) -> list[str]:
    """Names of the remedies that mend rows with such a problem; DROP_PROBLEMS leaves out rows with any."""
    return [remedy.name for remedy in REMEDIES if kind in remedy.problems]


# --- rows that go


def _drop(finding: str, one: str, many: str) -> Callable[[Case], Mended]:
    """A remedy that leaves out the rows of a finding."""

    def act(case: Case) -> Mended:
        gone = set(case.found.get(finding, []))
        # A row may hold several examples; it goes when all of them are meant.
        several = {number for number, count in Counter(example.row for example in case.examples).items() if count > 1}
        return _without(case.table, gone - several, f"{{}} {one}", f"{{}} {many}")

    return act


def _drop_problems(case: Case) -> Mended:
    gone = {problem.row for problem in case.problems}
    return _without(case.table, gone, "{} row with a problem left out", "{} rows with problems left out")


def _drop_copies(case: Case) -> Mended:
    asked = set(case.found.get("near duplicates", []))
    texts = {number: text for number, text in _texts(case).items() if number in asked}
    numbers = list(texts)
    gone = {numbers[copy] for copy in likeness.near(list(texts.values()))}
    return _without(case.table, gone, "{} near copy dropped", "{} near copies dropped")


def _texts(case: Case) -> dict[int, str]:
    """Texts by themselves, by the numbers of their rows; a cell that holds none is an empty one."""
    name = (case.cells("text") or [""])[0]
    cells = [row.get(name) for row in case.table.rows]
    return dict(zip(case.table.numbers, [cell if isinstance(cell, str) else "" for cell in cells], strict=True))


def _without(table: Table, gone: set[int], one: str, many: str) -> Mended:
    """`gone` may name rows that could not be read at all, which no new table holds."""
    kept = [index for index, number in enumerate(table.numbers) if number not in gone]
    splits = [table.splits[index] for index in kept] if table.splits else []
    smaller = replace(
        table,
        rows=[table.rows[index] for index in kept],
        places=[table.places[index] for index in kept],
        numbers=[table.numbers[index] for index in kept],
        problems=[problem for problem in table.problems if problem.row not in gone],
        splits=splits,
        continuous=[table.continuous[index] for index in kept] if table.continuous else [],
    )
    return Mended(smaller, (one if len(gone) == 1 else many).format(f"{len(gone):,}"), removed=sorted(gone))


# --- rows that change


def _changed(table: Table, new: dict[int, dict[str, Any]], told: str) -> Mended:
    """The table with the rows of these numbers replaced."""
    rows = [new.get(number, row) for number, row in zip(table.numbers, table.rows, strict=True)]
    return Mended(replace(table, rows=rows), told, changed=sorted(new))


def _in_turns(case: Case, kinds: tuple[str, ...], edit: Callable[[list[Any]], list[Any]]) -> dict[int, dict[str, Any]]:
    """New rows for those with problems of these kinds, their turns edited."""
    asked = {problem.row for problem in case.problems if problem.kind in kinds}
    new = {}
    for number, row in zip(case.table.numbers, case.table.rows, strict=True):
        if number in asked:
            changed = turns.edited(row, case.cells("messages", "conversations", "prompt"), edit)
            if changed != row:
                new[number] = changed
    return new


def _fix_roles(case: Case) -> Mended:
    new = _in_turns(case, (ROLE, ORDER), turns.in_order)
    return _changed(case.table, new, f"roles of {counted(len(new), 'conversation', 'conversations')} put in order")


def _strip_empty(case: Case) -> Mended:
    new = _in_turns(case, (EMPTY,), turns.without_empty)
    return _changed(case.table, new, f"empty turns of {counted(len(new), 'conversation', 'conversations')} left out")


def _unify_labels(case: Case) -> Mended:
    answers = content.classes(case.examples) or []
    keys = content.label_keys(answers)
    spellings: dict[str, Counter[str]] = {}
    for key, answer in zip(keys, answers, strict=True):
        spellings.setdefault(key, Counter())[answer] += 1
    meant = {key: min(counts, key=lambda item: (-counts[item], item)).strip() for key, counts in spellings.items()}
    wanted = {
        example.row: meant[key]
        for example, key, answer in zip(case.examples, keys, answers, strict=True)
        if answer != meant[key]
    }
    named = case.cells("label") or case.cells("completion", "output")
    spoken = case.cells("messages", "conversations")
    new = {}
    for number, row in zip(case.table.numbers, case.table.rows, strict=True):
        if number in wanted:
            new[number] = turns.with_answer(row, (named or spoken)[0], wanted[number])
    return _changed(case.table, new, f"{counted(len(new), 'label', 'labels')} written alike")


def _mask(case: Case) -> Mended:
    names = case.cells()
    new = {}
    for number, row in zip(case.table.numbers, case.table.rows, strict=True):
        masked = {name: turns.texts_edited(row[name], personal.masked) for name in names if name in row}
        if any(row[name] != value for name, value in masked.items()):
            new[number] = {**row, **masked}
    return _changed(case.table, new, f"personal data in {counted(len(new), 'row', 'rows')} masked")


def _cut_boilerplate(case: Case) -> Mended:
    table, texts = case.table, _texts(case)
    cuts = boilerplate.cuts(list(texts.values()), table.places, table.continuous or [0] * len(texts))
    rests = {table.numbers[index]: cut.rest for index, cut in cuts.items()}
    rows = dict(zip(table.numbers, table.rows, strict=True))
    name = (case.cells("text") or [""])[0]
    shorter = {number: {**rows[number], name: rest} for number, rest in rests.items() if rest}
    kept = _without(_changed(table, shorter, "").table, {number for number, rest in rests.items() if not rest}, "", "")
    told = f"boilerplate taken out of {counted(len(rests), 'row', 'rows')}"
    return replace(kept, told=told, changed=sorted(shorter))


def _resplit(case: Case) -> Mended:
    """Held-out rows that are learned, too, move to the rows that are learned; parts that get empty are drawn anew."""
    table, leaked = case.table, set(case.found.get("leaks", []))
    told = f"{counted(len(leaked), 'held-out row', 'held-out rows')} moved to the rows that are learned"
    if table.splits:
        sides = zip(table.numbers, table.splits, strict=True)
        moved: list[SplitName] = ["train" if number in leaked else side for number, side in sides]
        return Mended(replace(table, splits=moved), told, changed=sorted(leaked))
    name = next((name for name in table.columns if columns.normal(name) in columns.SPLITS), None)
    rows = dict(zip(table.numbers, table.rows, strict=True))
    return _changed(table, {number: {**rows[number], name: "train"} for number in leaked if name}, told)


REMEDIES = [
    Remedy(
        "drop-duplicates",
        "Drop the repeats",
        "Keeps the first of equal rows.",
        _drop("duplicates", "repeat dropped", "repeats dropped"),
        ("duplicates",),
    ),
    Remedy(
        "drop-conflicts",
        "Drop these rows",
        "Leaves out every row of a text that has several labels.",
        _drop("conflicts", "conflicting row dropped", "conflicting rows dropped"),
        ("conflicts",),
    ),
    Remedy(
        "unify-labels",
        "Write them alike",
        "Takes the most frequent spelling of each label, without spaces around it.",
        _unify_labels,
        ("near labels",),
    ),
    Remedy(
        "drop-rare-labels",
        "Drop these rows",
        "Leaves out the rows of labels that have too few.",
        _drop("rare labels", "row of a rare label dropped", "rows of rare labels dropped"),
        ("rare labels",),
    ),
    Remedy(
        "re-split",
        "Move them to one side",
        "Equal rows then stand on the side that is learned from, and scores are honest.",
        _resplit,
        ("leaks",),
    ),
    Remedy(
        "drop-unmarked",
        "Drop these rows",
        "Leaves out answers without the final line.",
        _drop("unmarked answers", "unmarked answer dropped", "unmarked answers dropped"),
        ("unmarked answers",),
    ),
    Remedy(
        "drop-repeating",
        "Drop these rows",
        "Leaves out conversations whose answers repeat.",
        _drop("repeated turns", "repeating conversation dropped", "repeating conversations dropped"),
        ("repeated turns",),
    ),
    Remedy(
        "cut-boilerplate",
        "Take it out",
        "Leaves out such rows, and such lines of others; the text between stays as it is.",
        _cut_boilerplate,
        ("boilerplate",),
    ),
    Remedy(
        "drop-near-duplicates",
        "Drop the copies",
        "Keeps the first of rows that are nearly equal.",
        _drop_copies,
        ("near duplicates",),
    ),
    Remedy(
        "drop-other-languages",
        "Drop these rows",
        "Leaves out rows in other languages; those too short to tell stay.",
        _drop("other languages", "row in another language dropped", "rows in other languages dropped"),
        ("other languages",),
    ),
    Remedy(
        "mask-personal",
        "Mask them",
        "Writes [EMAIL], [PHONE], [IBAN], [CARD] or [IP ADDRESS] in their place, in all columns that are used.",
        _mask,
        tuple(personal.KINDS),
        keeps_places=False,
    ),
    Remedy(
        "drop-long",
        "Drop these rows",
        "Leaves out rows that would most likely be cut.",
        _drop("long rows", "long row dropped", "long rows dropped"),
        ("long rows",),
    ),
    Remedy(
        "fix-roles",
        "Put the turns in order",
        "Speakers become user and assistant, turns of one speaker are joined, and what comes before the first "
        "question is left out.",
        _fix_roles,
        problems=(ROLE, ORDER),
    ),
    Remedy(
        "strip-empty",
        "Leave out empty turns",
        "A question whose answer is empty goes with it.",
        _strip_empty,
        problems=(EMPTY,),
    ),
    Remedy(
        DROP_PROBLEMS,
        "Leave these rows out",
        "Leaves out every row that has a problem.",
        _drop_problems,
    ),
]
