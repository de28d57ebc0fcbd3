"""What a file becomes when it is read: rows with their places, and what was noticed on the way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.data.example import SplitName
from engine.errors import DataError

MAX_BYTES = 512 * 1024**2
"""Largest file, unpacked. All rows are held in memory, at several times the size of the file."""
MAX_ROWS = 2_000_000
ACCEPTED = (
    "CSV, TSV, JSON, JSON Lines, Parquet, Excel (.xlsx), words with tags (.conll), text (.txt), "
    "Markdown (.md), HTML, PDF, Word (.docx), EPUB, subtitles (.srt, .vtt), source code, or a .gz or .zip of these"
)

SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""What data sets call their own parts."""


@dataclass(frozen=True)
class RowProblem:
    """Why a row can't be used. `row` counts from 1 in the source; `place` is where a person finds it ("line 18")."""

    row: int
    place: str
    problem: str
    fix: str
    source: int = 0
    """Index of the data entry in the spec."""
    kind: str = ""
    """What a remedy goes by; see `engine.data.remedies`."""

    def __str__(self) -> str:
        return f"Row {self.row} ({self.place}): {self.problem}"


class UnusableRows(DataError):
    """Every row has a problem."""

    def __init__(self, name: str, problems: list[RowProblem]) -> None:
        super().__init__(f"No row of {name or 'the data'} can be used. {problems[0]}", problems[0].fix)
        self.problems = problems


@dataclass(frozen=True)
class Table:
    """Rows as they stand in the source. A missing or null value is absent or None, never made up.

    `rows`, `places` and `numbers` have equal length; `numbers` are the rows' positions in the source, from 1
    (rows in `problems` are counted, but not among `rows`). `splits` is empty, or says for each row which part
    of the source's own division it belongs to. `continuous` is empty, or says for each row which document it is a
    part of, counted from 0: rows of one document follow each other in one text.
    """

    columns: list[str]
    rows: list[dict[str, Any]]
    places: list[str]
    notices: list[str] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    source: str = ""
    numbers: list[int] = field(default_factory=list)
    splits: list[SplitName] = field(default_factory=list)
    continuous: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.numbers:
            object.__setattr__(self, "numbers", list(range(1, len(self.rows) + 1)))

    def first(self, count: int) -> Table:
        """Its first rows, without what is said of others."""
        return replace(
            self,
            rows=self.rows[:count],
            places=self.places[:count],
            numbers=self.numbers[:count],
            splits=self.splits[:count],
            continuous=self.continuous[:count],
            problems=[],
        )


def column_names(header: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Names for the columns, unique and not empty, and notices about those that had to be changed."""
    names: list[str] = []
    notices: list[str] = []
    given = {_one_line(cell) for cell in header}
    unnamed: list[str] = []
    repeated: list[str] = []
    for number, cell in enumerate(header, start=1):
        name = _one_line(cell)
        base = name or f"column_{number}"
        unique, copy = base, 2
        while unique in names or (unique != name and unique in given):
            unique, copy = f"{base}_{copy}", copy + 1
        if not name:
            unnamed.append(unique)
        elif unique != name:
            repeated.append(f"{name} → {unique}")
        names.append(unique)
    if unnamed:
        notices.append(f"{counted(len(unnamed), 'column has', 'columns have')} no name: called {listed(unnamed)}.")
    if repeated:
        notices.append(f"Column names that stand twice were renamed: {listed(repeated)}.")
    return names, notices


def check_rows(count: int, name: str) -> None:
    if count > MAX_ROWS:
        raise DataError(
            f"{name} has more than {MAX_ROWS:,} rows.",
            "Take a part of it, or split it into several data sets of that size.",
        )


def check_bytes(count: int, name: str) -> None:
    if count > MAX_BYTES:
        raise DataError(
            f"{name} is larger than {MAX_BYTES // 1024**2} MB unpacked.",
            "Take a part of it, or split it into several files.",
        )


def counted(count: int, one: str, many: str) -> str:
    """ "1 row is", "12,000 rows are"."""
    return f"{count:,} {one if count == 1 else many}"


def listed(items: Sequence[object], most: int = 8) -> str:
    """The first items with commas, and how many more there are."""
    shown = ", ".join(str(item) for item in items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most:,} more"


def _one_line(cell: Any) -> str:
    return "" if cell is None else re.sub(r"\s+", " ", str(cell)).strip()
