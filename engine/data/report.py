"""The audit as `python -m engine check` prints it: as plain values, and as lines for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from engine.data import columns, history, pairs, remedies, table, targets, turns
from engine.data.audit import Finding, audit, label_counts
from engine.data.example import Example
from engine.data.formats import TITLES, Guess, recognise
from engine.data.prepare import Prepared, prepare
from engine.data.rows import RowProblem, Table, UnusableRows, counted, listed
from engine.errors import DataError
from engine.method import AskedKind, Wants
from engine.methods.suits import suits
from engine.specs.sections import Data

_EXAMPLES = 3
_PLACES = 20
_WIDTH = 110
_LETTERS = 1200
_COLUMNS = 6
ROWS_AT_ONCE = 20
"""Rows of a finding in one answer."""


@dataclass(frozen=True)
class Inspection:
    """What was read and found; `report` is all of it as JSON values (see `check`)."""

    table: Table
    guess: Guess
    prepared: Prepared | None
    """None where the rows can be read but not used."""
    problems: list[RowProblem]
    report: dict[str, Any]
    findings: list[Finding]

    @cached_property
    def found(self) -> dict[str, list[int]]:
        """All row numbers of each finding, by its name."""
        return {finding.name: finding.rows for finding in self.findings}

    @property
    def case(self) -> remedies.Case:
        # Rows are mended, not the passages that they are joined to.
        plain = _texts(self.guess, self.table) if self.table.continuous else []
        examples = plain or (self.prepared.examples if self.prepared else [])
        return remedies.Case(self.table, self.guess.columns, examples, self.problems, self.found)

    def rows(self, name: str, start: int = 0, most: int = ROWS_AT_ONCE) -> dict[str, Any]:
        """Rows of a finding or of a group of problems: {"count", "rows": [{"row", "place", "cells", "note"}]}.

        name: of the finding or the group. cells: [column, text] of the columns that are used.
        Raises DataError where there is no such finding.
        """
        wrong = {item.row: item.problem for item in self.problems if _group(item) == name}
        numbers = list(wrong) or self.found.get(name)
        notes = wrong or next((finding.notes for finding in self.findings if finding.name == name), {})
        if numbers is None:
            raise DataError("There is no such finding any more.", "Look at the data again.")
        places = {number: index for index, number in enumerate(self.table.numbers)}
        names = self.guess.used or self.table.columns[:_COLUMNS]
        unread = {problem.row: problem.place for problem in self.table.problems}
        shown = []
        for number in numbers[start : start + most]:
            index = places.get(number)
            row = {} if index is None else self.table.rows[index]
            cells = [[column, _long(turns.shown(row.get(column)))] for column in names if index is not None]
            place = unread.get(number, "") if index is None else self.table.places[index]
            shown.append({"row": number, "place": place, "cells": cells, "note": notes.get(number, "")})
        return {"count": len(numbers), "rows": shown}


def check(
    entry: Data | str, wants: Wants | None = None, seed: int = 42, kind: AskedKind = "one label"
) -> dict[str, Any]:
    """All that can be told of a data entry before training, as JSON values.

    Where the rows can be read but not used, `error` holds {"problem", "fix"} and the rest is as far as it came;
    where they can't be read, DataError is raised. kind: as `engine.data.prepare.prepare` takes it.
    """
    return inspect(Data(source=entry) if isinstance(entry, str) else entry, wants, seed, kind=kind).report


def natural(read: Table, entry: Data) -> Wants:
    """As what rows are looked at before anybody knows the objective.

    Plain texts as such, texts of which some may have several labels, or marked words, as those, all others as
    conversations.
    """
    guess = _recognised(read, entry, {role: name for role, name in entry.columns.items() if name in read.columns})
    if guess.format == "labelled":
        return "labelled" if targets.find(read, guess, entry).kind == "several labels" else "messages"
    if guess.format == "marked":
        return "labelled"
    return "text" if _recognised(read, entry, {}).format == "text" else "messages"


def inspect(
    entry: Data,
    wants: Wants | None = None,
    seed: int = 42,
    read: Table | None = None,
    kind: AskedKind = "one label",
) -> Inspection:
    """What `check` tells, with what it was told from. read: the entry's table, if it was read already.

    wants: None for what is `natural`.
    """
    read = read if read is not None else table.load(entry)
    if wants is None:
        wants, kind = natural(read, entry), "auto"
    guess = _recognised(read, entry, {})
    made = history.read(entry.source)
    report: dict[str, Any] = {
        "source": read.source,
        "history": [step.told for step in made.steps] if made else [],
        "title_of_first": made.title if made else "",
        "wants": wants,
        **_guessed(guess),
        "rows": len(read.rows) + len(read.problems),
        "columns": [asdict(column) for column in columns.look(read).values()],
        "notices": read.notices,
        "problems": _grouped(read.problems),
        "usable": 0,
        "examples": [],
        "findings": [],
        "labels": {},
        "splits": {},
        "error": None,
        "suits": [one.as_dict() for one in suits(read, entry)],
    }
    problems, prepared = read.problems, None
    found: list[Finding] = []
    try:
        prepared = prepare([entry], wants, seed, tables=[read], kind=kind)
    except DataError as error:
        report["error"] = {"problem": error.problem, "fix": error.fix}
        if isinstance(error, UnusableRows):
            problems = error.problems
            # How its columns are read, which no row got through, is what the person has chosen.
            guess = _recognised(read, entry, entry.columns)
            report |= {**_guessed(guess), "problems": _grouped(problems)}
        else:
            problems = [*read.problems, *(pairs.problems(read) if guess.format == "preferences" else [])]
            found = audit(_texts(guess, read), read=read)
            report |= _unused(guess, read, problems, found)
    else:
        guess, problems, found = prepared.guesses[0], prepared.problems, prepared.findings
        report |= _used(prepared, read)
        report["notices"] = [notice for notice in report["notices"] if not made or notice != str(made)]
    return Inspection(read, guess, prepared, problems, report, found)


def _recognised(read: Table, entry: Data, chosen: dict[str, str]) -> Guess:
    """Label columns that there are not are refused when rows are made."""
    marks = [name.strip() for name in entry.label_columns.splitlines() if name.strip() in read.columns]
    return recognise(read, chosen, entry.format, bool(entry.prompt), marks)


def lines(report: dict[str, Any]) -> list[str]:
    """The report for a terminal."""
    out = [f"{report['source']}: {counted(report['rows'], 'row', 'rows')}, {report['title']}. {report['why']}"]
    if report["roles"]:
        parts = [f"{role} = {name}" for role, name in report["roles"].items()]
        out.append("Parts: " + ", ".join(parts + [f"label = {name}" for name in report["label_columns"]]))
    if report["alternatives"]:
        out.append("Could also be: " + ", ".join(TITLES[name] for name in report["alternatives"]))
    out += ["", "Columns"]
    for column in report["columns"]:
        filled = f"{column['filled']:,} of {column['looked']:,} filled, {column['distinct']:,} different"
        out.append(f"  {column['name']}: {column['kind']}, {filled}, for example {_short(column['example'], 50)!r}")
    out += _section("Notices", [f"  {notice}" for notice in report["notices"]])
    shown = [line for example in report["examples"] for line in _example_lines(example)]
    out += _section("Rows as they are learned", shown)
    out += _section("Rows with problems", [line for group in report["problems"] for line in _problem_lines(group)])
    out += _section("Findings", [line for finding in report["findings"] for line in _finding_lines(finding)])
    if report["labels"]:
        told = [f"{label} ({count:,})" for label, count in report["labels"].items()]
        out += ["", f"Labels ({len(told):,})", f"  {listed(told, 12)}"]
    if report["splits"]:
        told = [f"{count:,} {name}" for name, count in report["splits"].items()]
        out += ["", f"Rows by use: {', '.join(told)}"]
    if report["error"]:
        out += ["", f"{report['error']['problem']}", report["error"]["fix"]]
    return out + _section("Objectives that can learn from it", list(_suit_lines(report["suits"])))


def _suit_lines(suits: list[dict[str, Any]]) -> Iterator[str]:
    """Those that can, then the others by what they miss."""
    for one in suits:
        if not one["missing"]:
            yield f"  {one['name']}: {one['title']}" + (f", {one['how']}" if one["how"] else "")
    rest: dict[str, list[str]] = {}
    for one in suits:
        if one["missing"]:
            rest.setdefault(one["missing"], []).append(one["name"])
    for missing, names in rest.items():
        yield f"  not {listed(names)}: {missing}"


def _used(prepared: Prepared, read: Table) -> dict[str, Any]:
    guess = prepared.guesses[0]
    places = dict(zip(read.numbers, read.places, strict=True))
    return {
        **_guessed(guess),
        "notices": prepared.notices,
        "problems": _grouped(prepared.problems),
        "usable": len(prepared.examples),
        "examples": [{"place": places[example.row], **example.as_dict()} for example in prepared.examples[:_EXAMPLES]],
        "findings": [_finding(finding, guess) for finding in prepared.findings],
        "labels": label_counts(prepared.examples),
        "splits": prepared.counts(),
    }


def _unused(guess: Guess, read: Table, problems: list[RowProblem], found: list[Finding]) -> dict[str, Any]:
    """What can be said of rows that no objective here learns from: texts by themselves, preference pairs."""
    if guess.format == "preferences":
        return {"problems": _grouped(problems), "usable": len(read.rows) + len(read.problems) - len(problems)}
    return {"usable": len(_texts(guess, read)), "findings": [_finding(finding, guess) for finding in found]}


def _texts(guess: Guess, read: Table) -> list[Example]:
    """Texts by themselves, as examples without answers."""
    if guess.format != "text":
        return []
    texts = [(number, row.get(guess.columns["text"])) for number, row in zip(read.numbers, read.rows, strict=True)]
    return [Example(number, text=text) for number, text in texts if isinstance(text, str) and text.strip()]


def _guessed(guess: Guess) -> dict[str, Any]:
    return {
        "format": guess.format,
        "title": TITLES[guess.format],
        "why": guess.why,
        "roles": guess.columns,
        "label_columns": guess.labels,
        "alternatives": guess.alternatives,
    }


def _finding(finding: Finding, guess: Guess) -> dict[str, Any]:
    """With the names of the remedies that answer it. Where marks count characters, none may change a text."""
    marked = "marks" in guess.columns
    found = [name for name in remedies.for_finding(finding.name) if not marked or remedies.get(name).keeps_places]
    return {**finding.as_dict(), "remedies": found}


def _group(problem: RowProblem) -> str:
    """What problems are told together by: the words without the number of the turn."""
    return re.sub(r"\b([Tt]urn) \d+\b", r"\1 …", problem.problem)


def _grouped(problems: list[RowProblem]) -> list[dict[str, Any]]:
    """Equal problems together, with their count and the first places."""
    groups: dict[str, list[RowProblem]] = {}
    for problem in problems:
        groups.setdefault(_group(problem), []).append(problem)
    return [
        {
            "name": name,
            "problem": members[0].problem if len({member.problem for member in members}) == 1 else name,
            "fix": members[0].fix,
            "count": len(members),
            "rows": [member.row for member in members[:_PLACES]],
            "places": [member.place for member in members[:_PLACES]],
            "remedies": remedies.for_problem(members[0].kind),
        }
        for name, members in groups.items()
    ]


def _section(title: str, body: list[str]) -> list[str]:
    return ["", title, *body] if body else []


def _problem_lines(group: dict[str, Any]) -> list[str]:
    rest = group["count"] - len(group["places"])
    places = ", ".join(group["places"][:6]) + (
        f" and {rest + len(group['places'][6:]):,} more" if group["count"] > 6 else ""
    )
    told = f"  {counted(group['count'], 'row', 'rows')}: {group['problem']} {group['fix']}"
    return [told, f"    {places}", *_remedy_lines([*group["remedies"], remedies.DROP_PROBLEMS])]


def _finding_lines(finding: dict[str, Any]) -> list[str]:
    rows = f" Rows {listed(finding['rows'], 6)}." if finding["rows"] else ""
    told = f"  {finding['count']:,}  {finding['title']}."
    return [told, f"    {finding['help']}{rows}", *_remedy_lines(finding["remedies"])]


def _remedy_lines(names: list[str]) -> list[str]:
    return [f"    Mended by: {', '.join(names)}"] if names else []


def _example_lines(example: dict[str, Any]) -> list[str]:
    head = f"  Row {example['row']} ({example['place']}, {example['split']})"
    if "messages" in example:
        return [head, *(f"    {turn['role']}: {_short(turn['content'], _WIDTH)}" for turn in example["messages"])]
    several = ["    no label"] if example.get("labels") == [] else []
    several = ["    nothing is marked"] if example.get("marks") == [] else several
    name = "marked" if "marks" in example else "label"
    labelled = [f"    {name}: {example['label']}"] if example["label"] else several
    beside = [f"    second text: {_short(example['second'], _WIDTH)}"] if example.get("second") else []
    return [head, f"    text: {_short(example['text'], _WIDTH)}", *beside, *labelled]


def _long(text: str) -> str:
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"


def _short(text: str, width: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."
