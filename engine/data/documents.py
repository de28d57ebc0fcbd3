"""Texts by themselves: paragraphs, lines, cues or whole documents as rows, each with the place a person finds it at."""

from __future__ import annotations

import re
from collections.abc import Sequence

from engine.data.rows import Table, check_rows, counted

CODE = (
    *(".py", ".pyi", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".java", ".kt", ".scala", ".c", ".h", ".cc", ".cpp"),
    *(".cxx", ".hpp", ".cs", ".go", ".rs", ".rb", ".php", ".swift", ".sh", ".bash", ".sql", ".r", ".jl", ".lua", ".pl"),
    *(".tex", ".rst"),
)
"""Endings of source code, and of texts that are written like it."""
LONG_CODE = 4000
"""Characters of a source file above which each of its blocks is a row; about the default limit of a row in tokens."""

# A lone \r ends a line, but not the one that \n follows: backtracking would make two line ends of it.
_END = r"(?:\r\n|\n|\r(?!\n))"
_GAP = re.compile(rf"{_END}(?:[ \t]*{_END})+")
_LINE_END = re.compile(_END)
# A block of code begins at the left edge, but not with what closes the one before.
_BLOCK = re.compile(rf"{_GAP.pattern}(?=[^\s)\]}}])")


def read(text: str, name: str) -> Table:
    """One row a paragraph (where empty lines part them), else one a line. Texts keep their own line ends."""
    pattern, word = (_GAP, "paragraph") if len(_pieces(text, _GAP)) > 1 else (_LINE_END, "line")
    pieces = _pieces(text, pattern)
    notices = [f"{name} is plain text: {counted(len(pieces), 'row', 'rows')}, one a {word}."]
    return table([(f"line {line}", piece) for line, piece in pieces], name, notices)


def read_whole(text: str, name: str) -> Table:
    """Markdown: one row for the document, whose headings belong to what stands under them."""
    return table([("line 1", text)], name, [f"{name} is one row: the whole document."])


def read_code(text: str, name: str) -> Table:
    """A source file as it stands: one row, or, above LONG_CODE characters, one for each of its top-level blocks."""
    if len(text) <= LONG_CODE:
        return table([("line 1", text)], name, [f"{name} is one row: the whole file."])
    pieces = [(f"line {line}", piece) for line, piece in _pieces(text, _BLOCK)]
    told = f"{name} is source code: {counted(len(pieces), 'row', 'rows')}, one a block between empty lines."
    return table(pieces, name, [told])


def table(pieces: Sequence[tuple[str, str]], name: str, notices: list[str]) -> Table:
    """The table of one document's pieces, each a place and a text."""
    check_rows(len(pieces), name)
    places = [place for place, _ in pieces]
    rows = [{"text": text} for _, text in pieces]
    return Table(["text"], rows, places, notices, [], name, continuous=[0] * len(rows))


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
