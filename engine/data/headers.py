"""Whether a table's first rows name its columns."""

from __future__ import annotations

from collections.abc import Sequence

from engine.data import columns

SAMPLE = 300
"""Rows that are looked at."""
JOINED = "{name} has two rows of headings, as exports of surveys have: they were joined into one name a column."
LEAST_UNNAMED = 3


def named(records: Sequence[Sequence[str]]) -> bool:
    """Whether the first record names the columns.

    Usual names say so at once. Otherwise it is data if all of it are numbers or sentences, or if one of its cells
    comes back below in the same column.
    """
    first = records[0]
    if any(columns.known(cell) for cell in first):
        return True
    if any(not cell.strip() for cell in first):
        return True
    sample = records[1 : 1 + SAMPLE]
    if all(_number(cell) for cell in first):
        return not all(_number(cell) for cells in sample[:20] for cell in cells)
    words = [cell for cell in first if not _number(cell)]
    if len(first) <= 3 and all(len(cell.split()) >= 4 or len(cell) > 80 for cell in words):
        return False
    for index, cell in enumerate(first):
        below = [cells[index] for cells in sample if index < len(cells)]
        if not _number(cell) and below.count(cell) >= max(2, len(below) // 50) and len(set(below)) > 1:
            return False
    return True


def joined(records: Sequence[Sequence[str]]) -> list[str] | None:
    """Names made of the first two records, where the second goes on with the first; None where it is data.

    Exports of surveys write a question once above the columns of its answers, and the answers below it. So the
    first record leaves cells empty that the second fills, and some column of numbers begins with a word.
    """
    if len(records) < 3:
        return None
    first, second, below = records[0], records[1], records[2 : 2 + SAMPLE]
    width = max(len(first), len(second))
    first, second = _wide(first, width), _wide(second, width)
    unnamed = [index for index, cell in enumerate(first) if not cell.strip()]
    if len(unnamed) < LEAST_UNNAMED or sum(bool(second[index].strip()) for index in unnamed) < 0.9 * len(unnamed):
        return None
    if not any(
        _heads_numbers(second[index], [cells[index] for cells in below if index < len(cells)]) for index in unnamed
    ):
        return None
    names, question = [], ""
    of_several = {index - 1 for index in unnamed} | set(unnamed)
    for index, (above, under) in enumerate(zip(first, second, strict=True)):
        question = above.strip() or question
        part = under.strip() if index in of_several else ""
        names.append(f"{question.rstrip('.:')}: {part}" if question and part else question or part)
    return names


def _heads_numbers(cell: str, below: Sequence[str]) -> bool:
    """Whether a word stands above nothing but numbers."""
    filled = [text for text in below if text.strip()]
    return bool(cell.strip()) and not _number(cell) and len(filled) > 1 and all(map(_number, filled))


def _wide(cells: Sequence[str], width: int) -> list[str]:
    return [*cells, *[""] * (width - len(cells))]


def _number(cell: str) -> bool:
    try:
        float(cell.replace(",", ".").replace("%", ""))
    except ValueError:
        return False
    return True
