"""The audit as `python -m engine check` prints it: as plain values, and as lines for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from engine.data import columns, pairs, table
from engine.data.audit import audit, label_counts
from engine.data.example import Example
from engine.data.formats import TITLES, Guess, recognise
from engine.data.prepare import Prepared, prepare
from engine.data.rows import RowProblem, Table, UnusableRows, counted, listed
from engine.errors import DataError
from engine.job import Wants
from engine.sections import Data

_EXAMPLES = 3
_PLACES = 20
_WIDTH = 110


def check(entry: Data | str, wants: Wants = "messages", seed: int = 42) -> dict[str, Any]:
    """All that can be told of a data entry before training, as JSON values.

    Where the rows can be read but not used, `error` holds {"problem", "fix"} and the rest is as far as it came;
    where they can't be read, DataError is raised.
    """
    entry = Data(source=entry) if isinstance(entry, str) else entry
    read = table.load(entry)
    guess = recognise(read, {}, entry.format, bool(entry.prompt))
    report: dict[str, Any] = {
        "source": read.source,
        "wants": wants,
        "format": guess.format,
        "title": TITLES[guess.format],
        "why": guess.why,
        "roles": guess.columns,
        "alternatives": guess.alternatives,
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
    }
    try:
        prepared = prepare([entry], wants, seed, tables={entry.source: read})
    except DataError as error:
        report["error"] = {"problem": error.problem, "fix": error.fix}
        if isinstance(error, UnusableRows):
            report["problems"] = _grouped(error.problems)
        else:
            report |= _unused(guess, read)
    else:
        report |= _used(prepared, read)
    return report


def lines(report: dict[str, Any]) -> list[str]:
    """The report for a terminal."""
    out = [f"{report['source']}: {counted(report['rows'], 'row', 'rows')}, {report['title']}. {report['why']}"]
    if report["roles"]:
        out.append("Parts: " + ", ".join(f"{role} = {name}" for role, name in report["roles"].items()))
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
    return out


def _used(prepared: Prepared, read: Table) -> dict[str, Any]:
    guess = prepared.guesses[0]
    places = dict(zip(read.numbers, read.places, strict=True))
    return {
        "format": guess.format,
        "title": TITLES[guess.format],
        "why": guess.why,
        "roles": guess.columns,
        "alternatives": guess.alternatives,
        "notices": prepared.notices,
        "problems": _grouped(prepared.problems),
        "usable": len(prepared.examples),
        "examples": [{"place": places[example.row], **example.as_dict()} for example in prepared.examples[:_EXAMPLES]],
        "findings": [asdict(finding) for finding in prepared.findings],
        "labels": label_counts(prepared.examples),
        "splits": prepared.counts(),
    }


def _unused(guess: Guess, read: Table) -> dict[str, Any]:
    """What can be said of rows that no objective here learns from: texts by themselves, preference pairs."""
    if guess.format == "preferences":
        problems = [*read.problems, *pairs.problems(read)]
        return {"problems": _grouped(problems), "usable": len(read.rows) + len(read.problems) - len(problems)}
    if guess.format != "text":
        return {}
    name = guess.columns["text"]
    texts = [(number, row.get(name)) for number, row in zip(read.numbers, read.rows, strict=True)]
    kept = [Example(number, text=text) for number, text in texts if isinstance(text, str) and text.strip()]
    return {"usable": len(kept), "findings": [asdict(finding) for finding in audit(kept)]}


def _grouped(problems: list[RowProblem]) -> list[dict[str, Any]]:
    """Equal problems together, with their count and the first places."""
    groups: dict[str, list[RowProblem]] = {}
    for problem in problems:
        groups.setdefault(problem.problem, []).append(problem)
    return [
        {
            "problem": text,
            "fix": members[0].fix,
            "count": len(members),
            "rows": [member.row for member in members[:_PLACES]],
            "places": [member.place for member in members[:_PLACES]],
        }
        for text, members in groups.items()
    ]


def _section(title: str, body: list[str]) -> list[str]:
    return ["", title, *body] if body else []


def _problem_lines(group: dict[str, Any]) -> list[str]:
    rest = group["count"] - len(group["places"])
    places = ", ".join(group["places"][:6]) + (
        f" and {rest + len(group['places'][6:]):,} more" if group["count"] > 6 else ""
    )
    return [f"  {counted(group['count'], 'row', 'rows')}: {group['problem']} {group['fix']}", f"    {places}"]


def _finding_lines(finding: dict[str, Any]) -> list[str]:
    rows = f" Rows {listed(finding['rows'], 6)}." if finding["rows"] else ""
    return [f"  {finding['count']:,}  {finding['title']}.", f"    {finding['help']}{rows}"]


def _example_lines(example: dict[str, Any]) -> list[str]:
    head = f"  Row {example['row']} ({example['place']}, {example['split']})"
    if "messages" in example:
        return [head, *(f"    {turn['role']}: {_short(turn['content'], _WIDTH)}" for turn in example["messages"])]
    return [head, f"    text: {_short(example['text'], _WIDTH)}", f"    label: {example['label']}"]


def _short(text: str, width: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."
