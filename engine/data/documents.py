"""Plain text and Markdown: paragraphs, lines or whole documents as rows. Nothing is cut."""

from __future__ import annotations

import re

from engine.data.rows import Table, check_rows, counted
from engine.errors import DataError

# A lone \r ends a line, but not the one that \n follows: backtracking would make two line ends of it.
_END = r"(?:\r\n|\n|\r(?!\n))"
_GAP = re.compile(rf"{_END}(?:[ \t]*{_END})+")
_LINE_END = re.compile(_END)


def read(text: str, name: str, whole: bool = False) -> Table:
    """One row a paragraph (where empty lines part them), else one a line; `whole`: one row for the document.

    Texts keep their own line ends; a row is as long as its paragraph.
    """
    if not text.strip():
        raise DataError(f"{name} is empty.", "Give a file with at least one row.")
    if whole:
        return Table(["text"], [{"text": text}], ["line 1"], [f"{name} is one row: the whole document."], [], name)
    pattern, word = (_GAP, "paragraph") if len(_pieces(text, _GAP)) > 1 else (_LINE_END, "line")
    pieces = _pieces(text, pattern)
    check_rows(len(pieces), name)
    notices = [f"{name} is plain text: {counted(len(pieces), 'row', 'rows')}, one a {word}."]
    return Table(
        ["text"], [{"text": piece} for _, piece in pieces], [f"line {line}" for line, _ in pieces], notices, [], name
    )


def _pieces(text: str, pattern: re.Pattern[str]) -> list[tuple[int, str]]:
    """What stands between the matches, with the line it begins in."""
    found: list[tuple[int, str]] = []
    line, start = 1, 0
    for match in [*pattern.finditer(text), None]:
        end = match.start() if match else len(text)
        piece = text[start:end]
        if piece.strip():
            found.append((line, piece))
        if match:
            line += len(_LINE_END.findall(piece)) + len(_LINE_END.findall(match.group()))
            start = match.end()
    return found
