"""Excel workbooks (.xlsx), by openpyxl: the values of the first sheet that holds any."""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import Any

from engine.data import headers
from engine.data.rows import Table, check_rows, column_names, counted, listed
from engine.errors import DataError


def read(data: bytes, name: str) -> Table:
    """A table from the first sheet with content; the others are named in a notice. Places are Excel's row numbers."""
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    notices: list[str] = []
    try:
        with warnings.catch_warnings():
            # openpyxl warns of styles and validations that it does not know; values are not touched by them.
            warnings.simplefilter("ignore", UserWarning)
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            sheets = {sheet.title: _cells(sheet, name) for sheet in book.worksheets}
            book.close()
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, OSError) as error:
        raise DataError(f"{name} is not a whole Excel workbook: {error}.", "Save it again as .xlsx.") from None
    filled = [title for title, cells in sheets.items() if cells]
    if not filled:
        raise DataError(f"{name} has no filled sheet.", "Put the rows in its first sheet.")
    if len(filled) > 1:
        notices.append(f"The sheet {filled[0]!r} of {name} was read; not read: {listed(filled[1:])}.")
    return _table(sheets[filled[0]], name, notices)


def _cells(sheet: Any, name: str) -> list[tuple[int, list[Any]]]:
    """Rows that hold something, with their numbers, without empty cells at the end."""
    # Some writers note a wrong size, which would cut rows off.
    sheet.reset_dimensions()
    found = []
    for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells = [_value(value) for value in values]
        while cells and cells[-1] in (None, ""):
            cells.pop()
        if cells:
            found.append((number, cells))
            check_rows(len(found), name)
    return found


def _table(numbered: list[tuple[int, list[Any]]], name: str, notices: list[str]) -> Table:
    width = max(len(cells) for _, cells in numbered)
    padded = [(number, cells + [None] * (width - len(cells))) for number, cells in numbered]
    texts = [["" if cell is None else str(cell) for cell in cells] for _, cells in padded[:300]]
    if headers.named(texts):
        header, body = padded[0][1], padded[1:]
        both = headers.joined(texts)
        if both:
            header, body = list(both), body[1:]
            notices.append(headers.JOINED.format(name=name))
    else:
        header, body = [f"column_{number}" for number in range(1, width + 1)], padded
        notices.append(f"{name} has no header: its first row is data, and the columns are called {listed(header)}.")
    if not body:
        raise DataError(f"{name} has a header but no rows.", "Add rows under it.")
    names, said = column_names(header)
    gaps = body[-1][0] - body[0][0] + 1 - len(body)
    if gaps:
        notices.append(f"{counted(gaps, 'empty row', 'empty rows')} left out.")
    rows = [dict(zip(names, cells, strict=True)) for _, cells in body]
    return Table(names, rows, [f"row {number} of the sheet" for number, _ in body], notices + said, [], name)


def _value(value: Any) -> Any:
    """Excel has one kind of number; whole ones are shown without a fraction, as in the sheet."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
