"""check, mend: what a data file holds, before anything is trained, and a version of it without its faults."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace, _SubParsersAction
from pathlib import Path
from typing import Any

from engine import home, objectives
from engine.bases import access
from engine.data import history, remedies, report, versions
from engine.errors import UserError
from engine.settings import parse
from engine.specs.sections import Data


def add(commands: _SubParsersAction[Any]) -> None:
    check = commands.add_parser("check", help="look at a data file: format, rows, problems, findings")
    add_entry(check)
    check.add_argument("--objective", default=objectives.DEFAULT, help="what it is meant for (default: %(default)s)")
    check.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    check.set_defaults(call=_check)

    mend = commands.add_parser("mend", help="make a new version of a data file; the file itself stays as it is")
    mend.add_argument("data", metavar="DATA", help="a file, a folder, a Hub data set, or sample:NAME")
    mend.add_argument(
        "--with",
        dest="remedies",
        action="append",
        required=True,
        metavar="REMEDY",
        help=f"what to do, may be given several times: {', '.join(remedy.name for remedy in remedies.REMEDIES)}",
    )
    mend.add_argument("--to", metavar="FOLDER", help="where to write the new version (default: the home's files)")
    mend.set_defaults(call=_mend)


def add_entry(command: ArgumentParser) -> None:
    """The options by which rows are named, which `entry` reads."""
    command.add_argument("data", metavar="DATA", help="a file, a folder, a Hub data set, or sample:NAME")
    command.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="PART=COLUMN",
        help="which column plays which part, such as label=category",
    )
    command.add_argument("--format", default="auto", help="how the rows are laid out (default: found by looking)")


def entry(options: Namespace) -> Data:
    """The data entry that the options name. Raises UserError."""
    columns = {}
    for item in options.column:
        part, equals, column = item.partition("=")
        if not equals:
            raise UserError(
                f"--column {item} names no column.", "Write it as PART=COLUMN, such as --column label=category."
            )
        columns[part] = column
    return parse(Data, {"source": options.data, "columns": columns, "format": options.format}, "data")


def _check(options: Namespace) -> int:
    objective = objectives.get(options.objective)
    chosen = "kind" in objective.Settings.model_fields  # by a person; until then the data says it
    found = report.check(entry(options), objective.wants, kind="auto" if chosen else "one label")
    print(json.dumps(found, ensure_ascii=False) if options.json else "\n".join(report.lines(found)))
    return 2 if found.get("error") or found.get("problems") else 0


def _mend(options: Namespace) -> int:
    given = Path(options.data).expanduser()
    source = str(given.resolve()) if given.exists() else options.data
    folder = Path(options.to).expanduser() if options.to else home.files(access.LOCAL)
    folder.mkdir(parents=True, exist_ok=True)
    path = versions.mend(parse(Data, {"source": source}, "data"), options.remedies, folder)
    print(history.read(str(path)) or "")
    print(path)
    return 0
