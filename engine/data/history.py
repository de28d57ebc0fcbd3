"""Where a version of a person's data came from: the file before it, and what each remedy did."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.files import read_json, write_json

SUFFIX = ".history"
PLACES = ".places"
_MARK = re.compile(r"^[0-9a-f]{12}-")
"""Put before the names of files, so that no two are equal."""


@dataclass(frozen=True)
class Step:
    """One remedy. `changed` and `removed` are row numbers of the version before it, from 1."""

    remedy: str
    told: str
    rows_before: int
    rows_after: int
    changed: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class History:
    """`parent` is the source before the last step, `title` what the first source is called."""

    parent: str
    title: str
    steps: list[Step]

    def __str__(self) -> str:
        return f"Made from {self.title}: {', then '.join(step.told for step in self.steps)}."


def title(source: str) -> str:
    """What a person calls a source: a file's own name, the first file's of a version, a Hub id."""
    made = read(source)
    if made:
        return made.title
    path = Path(source)
    return unmarked(path.name) if path.is_absolute() else source


def unmarked(name: str) -> str:
    """A file's name as its person gave it."""
    return _MARK.sub("", name)


def read(source: str) -> History | None:
    """The history of a version; None for a source that no remedy made."""
    if not source.endswith(".jsonl"):
        return None
    record = read_json(_beside(Path(source)))
    try:
        return None if record is None else _parsed(record)
    except (TypeError, KeyError, AttributeError):
        return None


def write(path: Path, history: History) -> None:
    """Note it beside the version that lies at `path`."""
    write_json(_beside(path), asdict(history))


def write_places(path: Path, places: list[str], continuous: list[int]) -> None:
    """Note beside a version of documents where its rows stand in them, which its own lines would not tell."""
    write_json(path.with_name(path.name + PLACES), {"places": places, "continuous": continuous})


def read_places(path: Path, rows: int) -> tuple[list[str], list[int]] | None:
    """What `write_places` noted; None where nothing was, or where it does not fit the rows there are."""
    record = read_json(path.with_name(path.name + PLACES)) if path.suffix == ".jsonl" else None
    if not isinstance(record, dict):
        return None
    places, continuous = record.get("places"), record.get("continuous")
    if not (isinstance(places, list) and isinstance(continuous, list) and len(places) == len(continuous) == rows):
        return None
    return [str(place) for place in places], [int(number) for number in continuous]


def _beside(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def _parsed(record: dict[str, Any]) -> History:
    steps = [Step(**step) for step in record["steps"]]
    return History(str(record["parent"]), str(record["title"]), steps)


def one_line(value: Any) -> str:
    """A row as a line of a version's file. Dates and the like become text, bytes what they say."""
    line = json.dumps(value, ensure_ascii=False, default=_plain)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold and UTF-8 can't
        line = json.dumps(value, default=_plain)
    return line + "\n"


def _plain(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
