"""CSV and its kin: separator, quotes and header found out, cells kept as the text they are."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from engine.data import columns, headers
from engine.data.rows import RowProblem, Table, check_rows, column_names, counted, listed
from engine.errors import DataError

_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
_NONE = "\x1f"
"""Stands for 'no separator': a control character that texts don't hold."""
_SAMPLE_CHARACTERS = 200_000
_SAMPLE_RECORDS = 300
_CELL_CHARACTERS = 2**31 - 1


@dataclass(frozen=True)
class Record:
    line: int
    """The physical line it begins in, from 1."""
    cells: list[str]
    lines: int
    """How many physical lines it spans."""


def separator(text: str, usual: str = ",") -> str | None:
    """The separator that gives most records the same number of cells (at least 2), or None.

    `usual` wins where two do equally well.
    """
    sample = text[:_SAMPLE_CHARACTERS]
    if len(sample) < len(text):
        sample = sample[: max(sample.rfind("\n"), sample.rfind("\r")) + 1] or sample
    best, best_score = None, (0.0, 0, 0)
    for candidate in _SEPARATORS:
        widths = [len(record.cells) for record in _sampled(sample, candidate)]
        if not widths:
            continue
        usual_width, count = Counter(widths).most_common(1)[0]
        agreeing = count / len(widths) * (1.0 if widths[0] == usual_width else 0.6)
        if usual_width < 2:
            agreeing = 0.0 if widths[0] < 2 else 0.1
        score = (agreeing, int(candidate == usual), usual_width)
        if agreeing > 0 and score > best_score:
            best, best_score = candidate, score
    return best


def consistent(text: str) -> bool:
    """Whether pasted text looks like a table: several records, nearly all with the same 2 or more cells."""
    found = separator(text, "\t")
    if found is None:
        return False
    sampled = [record.cells for record in _sampled(text[:_SAMPLE_CHARACTERS], found)]
    widths = [len(cells) for cells in sampled]
    if len(widths) < 2 or widths[0] < 2 or widths.count(widths[0]) < 0.9 * len(widths):
        return False
    if found != "," or any(columns.known(cell) for cell in sampled[0]):
        return True
    # Commas with a space after them are those of sentences.
    later = [cell for cells in sampled for cell in cells[1:]]
    return sum(cell.startswith(" ") for cell in later) < len(later) / 2


def read(text: str, name: str, usual: str = ",") -> Table:
    """A table from separated text. Records of another width than the header become problems, never shifted.

    Raises DataError for a quote that never closes and for a header that does not fit the rest.
    """
    notices: list[str] = []
    hint = re.match(r"sep=(.)\r?\n", text)
    if hint:
        # Excel's own first line. Its line end stays, so that lines keep their numbers.
        usual, text = hint[1], text[hint.end() - 1 :]
    delimiter = separator(text, usual)
    if delimiter is None:
        delimiter = "," if all(len(record.cells) == 1 for record in _sampled(text, ",")) else _NONE
        if delimiter == _NONE:
            notices.append(f"{name} was read as one column: each line is a row, commas and all.")
    elif delimiter != usual:
        notices.append(f"{name} is separated by {_SEPARATORS[delimiter]}.")
    records, said = _records(text, delimiter, name)
    notices += said
    if not records:
        raise DataError(f"{name} is empty.", "Give a file with at least one row.")
    sample = [record.cells for record in records[: headers.SAMPLE + 2]]
    if headers.named(sample):
        header, body = records[0].cells, records[1:]
        both = headers.joined(sample)
        if both:
            header, body = both, body[1:]
            notices.append(headers.JOINED.format(name=name))
    else:
        width = Counter(len(record.cells) for record in records).most_common(1)[0][0]
        header, body = [f"column_{number}" for number in range(1, width + 1)], records
        notices.append(f"{name} has no header: its first row is data, and the columns are called {listed(header)}.")
    return _table(header, body, name, notices)


def _table(given: list[str], body: list[Record], name: str, notices: list[str]) -> Table:
    _check_header(given, body, name)
    header, said = column_names(given)
    notices += said
    width = len(header)
    rows: list[dict[str, str]] = []
    places: list[str] = []
    numbers: list[int] = []
    problems: list[RowProblem] = []
    number = blank = 0
    for record in body:
        cells = record.cells
        if len(cells) != width:
            while len(cells) > width and not cells[-1]:
                cells.pop()
        if not any(cells):
            blank += 1
            continue
        number += 1
        if len(cells) == width:
            rows.append(dict(zip(header, cells, strict=True)))
            places.append(f"line {record.line}")
            numbers.append(number)
        else:
            cell_count = counted(len(cells), "cell", "cells")
            problems.append(
                RowProblem(
                    number,
                    f"line {record.line}",
                    f"It has {cell_count}, the header has {width}.",
                    "Put texts that hold the separator in quotes, or add the missing cells.",
                )
            )
    check_rows(number, name)
    if blank:
        notices.append(f"{counted(blank, 'row', 'rows')} without any text left out.")
    return Table(header, rows, places, notices, problems, name, numbers)


def _check_header(header: list[str], body: list[Record], name: str) -> None:
    if len(body) < 3:
        return
    width, count = Counter(len(record.cells) for record in body).most_common(1)[0]
    if (
        width != len(header)
        and count >= 0.8 * len(body)
        and any(record.cells[len(header) :] != [""] for record in body)
    ):
        first = counted(len(header), "cell", "cells")
        raise DataError(
            f"{name}: the first line has {first}, but {count:,} of {len(body):,} rows have {width}.",
            "Let the first line name every column; delete titles that stand above it.",
        )


def _records(text: str, delimiter: str, name: str) -> tuple[list[Record], list[str]]:
    """All records. Quotes are read as CSV has them, unless the file plainly uses them as ordinary characters."""
    if delimiter == _NONE or '"' not in text:
        return list(_parsed(text, delimiter, csv.QUOTE_NONE)), []
    broken: str | None = None
    try:
        records = list(_parsed(text, delimiter, csv.QUOTE_MINIMAL, strict=True))
    except _QuoteError as error:
        broken, records = str(error), []
    if broken is None and not any(_swallows(record, delimiter) for record in records):
        return records, []
    plain = list(_parsed(text, delimiter, csv.QUOTE_NONE))
    if _stands(plain, delimiter):
        return plain, [f"Quotes in {name} are part of the text: every line is a row by itself."]
    if broken is None:
        return records, []
    records = list(_parsed(text, delimiter, csv.QUOTE_MINIMAL))
    last = records[-1]
    swallowed = "\n" in last.cells[-1].replace("\r", "\n").rstrip("\n") and not text.rstrip("\r\n").endswith('"')
    if broken.endswith("end of data") or swallowed:
        raise DataError(
            f'{name}: a quote (") that opens in line {last.line} never closes.',
            'Close it, or write two quotes ("") where a text holds one.',
        )
    return records, [f"{name}: quotes are out of order ({broken}). Check the rows around it."]


def _swallows(record: Record, delimiter: str) -> bool:
    """Whether a cell holds tabs and line ends: less likely a cell than two stray quotes with rows between them."""
    return delimiter == "\t" and record.lines > 1 and any("\t" in cell for cell in record.cells)


def _stands(plain: list[Record], delimiter: str) -> bool:
    """Whether lines read without a thought for quotes make a table, and quotes are hardly meant to enclose cells."""
    width = len(plain[0].cells)
    if width < 2 or any(len(record.cells) != width for record in plain):
        return False
    enclosed = any(len(cell) > 1 and cell[0] == cell[-1] == '"' for record in plain for cell in record.cells)
    return delimiter == "\t" or not enclosed


class _QuoteError(Exception):
    pass


def _parsed(text: str, delimiter: str, quoting: int, strict: bool = False) -> Iterator[Record]:
    # The limit is global in the csv module; its default of 131,072 is too low for documents in cells.
    csv.field_size_limit(_CELL_CHARACTERS)
    # newline="" keeps line ends inside quotes and lets the reader end records at \n, \r\n and \r.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=strict)  # type: ignore[arg-type]
    line = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _QuoteError(f"line {reader.line_num}: {error}") from None
        if cells:
            yield Record(line + 1, cells, reader.line_num - line)
        line = reader.line_num


def _sampled(text: str, delimiter: str) -> list[Record]:
    found: list[Record] = []
    for record in _parsed(text, delimiter, csv.QUOTE_MINIMAL):
        found.append(record)
        if len(found) == _SAMPLE_RECORDS:
            break
    return found
