"""Files with a word and its tag on each line and an empty line between sentences, as those of the CoNLL-2003 task."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from engine.data.marks import is_tag
from engine.data.rows import RowProblem, Table, check_rows, counted
from engine.errors import DataError

_LINE_END = re.compile(r"\r\n|\n|\r")
_NEW_DOCUMENT = "-DOCSTART-"
_LOOKED_AT = 2000
"""Lines by which such a file is recognised."""
_ALIKE = 0.95
_FEWEST = 4
WORDS, TAGS = "words", "ner_tags"


@dataclass(frozen=True)
class _Line:
    number: int
    """Of the file, from 1."""
    cells: list[str]


def looks_like(text: str) -> bool:
    """Whether a text is such a file: lines of two cells or more, of which the last (or the first) are tags."""
    lines = _LINE_END.split(text[:200_000])[:_LOOKED_AT]
    cells = [found for line in lines if (found := _cells(line, "\t" in text)) and not _is_aside(line, found)]
    if len(cells) < _FEWEST or Counter(map(len, cells)).most_common(1)[0][0] < 2:
        return False
    tabs = any("\t" in line for line in lines)
    parted = any(not line.strip() for line in lines[1:-1])
    tags = max(sum(is_tag(row[place]) for row in cells) for place in (-1, 0))
    prefixed = max(sum(is_tag(row[place]) and row[place] != "O" for row in cells) for place in (-1, 0))
    return tags >= _ALIKE * len(cells) and (parted or (tabs and prefixed > 0)) and (prefixed > 0 or tags == len(cells))


def read(text: str, name: str) -> Table:
    """One row a sentence: its words and their tags. A sentence with a line of another width becomes a problem.

    Raises DataError where the file holds no lines of a word and a tag.
    """
    lines = _LINE_END.split(text)
    tabs = "\t" in text
    sentences, asides = _sentences(lines, tabs)
    cells = [line for sentence in sentences for line in sentence]
    width = Counter(len(line.cells) for line in cells).most_common(1)[0][0] if cells else 0
    if width < 2:
        raise DataError(
            f"{name} has no lines with a word and its tag.",
            "Give a word and its tag on each line, with a tab or a space between, and an empty line between sentences.",
        )
    fitting = [line.cells for line in cells if len(line.cells) == width]
    word, tag = _places(fitting)
    rows, places, numbers, problems = [], [], [], []
    for number, sentence in enumerate(sentences, start=1):
        odd = next((line for line in sentence if len(line.cells) != width), None)
        if odd is None:
            rows.append({WORDS: [line.cells[word] for line in sentence], TAGS: [line.cells[tag] for line in sentence]})
            places.append(f"line {sentence[0].number}")
            numbers.append(number)
            continue
        problems.append(
            RowProblem(
                number,
                f"line {odd.number}",
                f"It has {counted(len(odd.cells), 'cell', 'cells')}, other lines have {width}.",
                "Write the word and its tag on each line, and put an empty line between sentences.",
            )
        )
    check_rows(len(sentences), name)
    notices = [f"{name} holds a word and its tag on each line: {counted(len(sentences), 'sentence', 'sentences')}."]
    if tag == 0:
        notices.append("The tag stands first on each line.")
    elif width > 2:
        notices.append(
            f"Of {width} cells on a line the first is the word and the last its tag; the others are not read."
        )
    if asides:
        told = counted(asides, "line that begins", "lines that begin")
        notices.append(f"{told} a document, or a comment, left out.")
    return Table([WORDS, TAGS], rows, places, notices, problems, name, numbers)


def _sentences(lines: list[str], tabs: bool) -> tuple[list[list[_Line]], int]:
    """Lines of each sentence, and how many lines are none of any."""
    found: list[list[_Line]] = [[]]
    asides = 0
    for number, line in enumerate(lines, start=1):
        cells = _cells(line, tabs)
        if not cells:
            found.append([])
        elif _is_aside(line, cells):
            asides += 1
            found.append([])
        else:
            found[-1].append(_Line(number, cells))
    return [sentence for sentence in found if sentence], asides


def _cells(line: str, tabs: bool) -> list[str]:
    if not line.strip():
        return []
    return [cell.strip() for cell in line.split("\t")] if tabs and "\t" in line else line.split()


def _is_aside(line: str, cells: list[str]) -> bool:
    """Whether it begins a document, or is a comment such as "# sent_id = 4"; not the word "#" with its tag."""
    return cells[0] == _NEW_DOCUMENT or (line.startswith("#") and not is_tag(cells[-1]))


def _places(rows: list[list[str]]) -> tuple[int, int]:
    """In which cells word and tag stand: first and last, or last and first where only the first are tags."""
    first, last = (sum(is_tag(row[place]) for row in rows) for place in (0, -1))
    return (-1, 0) if first >= _ALIKE * len(rows) and last < _ALIKE * len(rows) else (0, -1)
