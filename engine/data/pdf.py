"""PDF: paragraphs out of the lines of its pages.

A PDF knows no paragraphs, only lines at places. They are put together by how lines end and begin, so that
paragraphs are good guesses. Lines at the edge of pages that repeat or count (headers, footers, page numbers) become
rows of their own, whose places end in ", top" or ", bottom"; `engine.data.boilerplate` offers to take them out.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from engine.children import TooSlow
from engine.data import apart, documents
from engine.data.rows import Table, counted, listed
from engine.errors import DataError

MOST_PAGES = 10_000
PAGE_SECONDS = 30.0
"""Of one page, and of counting them; of all of them see `apart.PDF_SECONDS`."""
_EDGE_LINES = 2
_MOST_EDGE = 120
"""Characters of a header or footer."""
_TIMES = 3
"""Pages on which a line must stand to be a header or footer."""
_SHORT, _VERY_SHORT = 0.75, 0.55
"""Shares of a usual line's length, below which a line may end a paragraph."""

_DIGITS = re.compile(r"\d+")
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ufffe\uffff]")
_HYPHENED = re.compile(r"[^\W\d_][-\xad‐]$")
_START = re.compile(r"^(?:[•◦▪‣·*–-]|\(?\d{1,3}[.)]|[a-z][.)]|\d{1,2}(?:\.\d{1,2})+\.?)\s")
"""Points of a list and numbered headings."""
_CONTENTS = re.compile(r"(?:\. ?){4,}\s*[\divxlc]+$", re.IGNORECASE)
"""A line of a table of contents: dots, then a page."""
_SENTENCE_END = re.compile(r"""[.!?:…。！？][)\]"'”’»]*$""")


def read(data: bytes, name: str) -> Table:
    """One row a paragraph, headers and footers by themselves. Pages without text are named in a notice."""
    if b"%%EOF" not in data:
        raise DataError(f"{name} is cut off: its end is missing.", "Save or get it again.")
    pages = _pages(data, name)
    failed = {number for number, page in enumerate(pages, start=1) if page.get("failed") or _garbled(page["text"])}
    lines = [_lines(page["text"]) if number not in failed else [] for number, page in enumerate(pages, start=1)]
    edges = _edges(lines)
    pieces = _pieces(lines, edges)
    scanned = [number for number, page in enumerate(pages, start=1) if page.get("pictures")]
    if not pieces:
        if scanned:
            raise DataError(
                f"{name} holds no text: its pages are pictures, as a scanner makes them.",
                "Have its text recognised first (OCR), or give another copy.",
            )
        raise DataError(f"{name} holds no text that can be read.", "Save it again, or export its text.")
    blank = [number for number, found in enumerate(lines, start=1) if not found and number not in {*scanned, *failed}]
    told = [f"{name} is a PDF of {counted(len(pages), 'page', 'pages')}: {counted(len(pieces), 'row', 'rows')}."]
    if scanned:
        told.append(f"Pages of {name} that are pictures without text, not read: {_ranges(scanned)}. They need OCR.")
    if failed:
        told.append(
            f"Pages of {name} that are damaged or whose letters can't be told, not read: {_ranges(sorted(failed))}."
        )
    if blank:
        told.append(f"Pages of {name} without text or pictures: {_ranges(blank)}.")
    return documents.table(pieces, name, told)


def _pages(data: bytes, name: str) -> list[dict[str, Any]]:
    """What is said of each page. Raises DataError for what is broken, locked, too long or too slow."""
    limits = {"kind": "pdf", "most_pages": MOST_PAGES, "seconds": apart.PDF_SECONDS}
    found: list[dict[str, Any]] = []
    try:
        found.extend(apart.items(limits, data, name, PAGE_SECONDS))
    except TooSlow:
        raise DataError(f"{name} can't be read: a page takes too long.", "Save it again, or export its text.") from None
    return found


def _garbled(text: str) -> bool:
    """Whether a page gives numbers of shapes in place of letters, as fonts do that don't say what they show."""
    shown = "".join(text.split())
    unknown = sum(character == "\ufffd" or "\ue000" <= character <= "\uf8ff" for character in shown)
    return unknown > len(shown) // 3


def _lines(text: str) -> list[str]:
    """Of one page, without empty ones at its ends; an empty one between stands for any number."""
    plain = _CONTROLS.sub("", text.translate(_LIGATURES)).replace("\x0c", "\n")
    lines: list[str] = []
    for line in plain.splitlines():
        line = " ".join(line.split())
        if line or (lines and lines[-1]):
            lines.append(line)
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _edges(pages: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """How many lines of each page are its header, and how many its footer.

    A line counts that stands at the same edge of at least three pages word for word, or with a number that grows
    with the pages. So numbered headings of chapters are none.
    """
    tops, bottoms = [0] * len(pages), [0] * len(pages)
    for counts, at in ((tops, 0), (bottoms, -1)):
        for depth in range(_EDGE_LINES):
            shown: dict[int, str] = {}
            for index, lines in enumerate(pages):
                filled = [line for line in lines if line]
                if counts[index] == depth and len(filled) > depth:
                    line = filled[-1 - depth if at else depth]
                    if len(line) <= _MOST_EDGE:
                        shown[index] = line
            times = Counter(key for index, line in shown.items() for key in _edge_keys(line, index))
            for index, line in shown.items():
                counts[index] += any(times[key] >= _TIMES for key in _edge_keys(line, index))
    # A page of few lines may have all of them counted from both edges.
    lengths = [sum(map(bool, lines)) for lines in pages]
    return [(top, min(bottom, most - top)) for top, bottom, most in zip(tops, bottoms, lengths, strict=True)]


def _edge_keys(line: str, page: int) -> set[str]:
    """The line as it is, and in forms that are equal for lines that differ by the number of their page alone."""
    plain = line.casefold()
    numbers = list(_DIGITS.finditer(plain))[:4]
    return {plain} | {
        f"{plain[: found.start()]}#{int(found.group()[:9]) - page}{plain[found.end() :]}" for found in numbers
    }


def _pieces(pages: Sequence[Sequence[str]], edges: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
    """Places and texts: of each page its header, its paragraphs, its footer."""
    bodies = [_body(lines, top, bottom) for lines, (top, bottom) in zip(pages, edges, strict=True)]
    lengths = [len(line) for body in bodies for line in body if line]
    width = statistics.quantiles(lengths, n=10)[-1] if len(lengths) > 1 else sum(lengths)
    pieces: list[tuple[str, str]] = []
    open_at: int | None = None
    for page, (lines, (top, bottom)) in enumerate(zip(pages, edges, strict=True), start=1):
        filled = [line for line in lines if line]
        pieces += [(f"page {page}, top", line) for line in filled[:top]]
        paragraphs = _paragraphs(bodies[page - 1], width)
        if paragraphs and open_at is not None and paragraphs[0][:1].islower():
            place, begun = pieces[open_at]
            pieces[open_at] = (place, _joined(begun, paragraphs.pop(0)))
        pieces += [(f"page {page}", paragraph) for paragraph in paragraphs]
        if paragraphs:
            open_at = len(pieces) - 1
        # A sentence that is not at its end goes on at the top of the next page.
        if open_at is not None and _SENTENCE_END.search(pieces[open_at][1]):
            open_at = None
        pieces += [(f"page {page}, bottom", line) for line in filled[len(filled) - bottom :]]
    return pieces


def _body(lines: Sequence[str], top: int, bottom: int) -> Sequence[str]:
    """The lines between header and footer."""
    filled = [index for index, line in enumerate(lines) if line]
    inner = filled[top : len(filled) - bottom]
    return lines[inner[0] : inner[-1] + 1] if inner else []


def _paragraphs(lines: Sequence[str], width: float) -> list[str]:
    found: list[str] = []
    last = ""
    for line in lines:
        if not line:
            last = ""
        elif last and not _ends(last, line, width):
            found[-1] = _joined(found[-1], line)
            last = line
        else:
            found.append(line)
            last = line
    return found


def _ends(last: str, line: str, width: float) -> bool:
    """Whether a paragraph ends between two lines."""
    if _START.match(line) or _CONTENTS.search(last) or _CONTENTS.search(line):
        return True
    if _SENTENCE_END.search(last):
        return len(last) < _SHORT * width
    return len(last) < _VERY_SHORT * width and not line[:1].islower()


def _joined(begun: str, line: str) -> str:
    """A word that was parted at the end of a line is put together again."""
    if _HYPHENED.search(begun) and line[:1].islower():
        return begun[:-1] + line
    return f"{begun} {line}"


def _ranges(numbers: list[int]) -> str:
    """ "3, 7-9"."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return listed([str(first) if first == last else f"{first}-{last}" for first, last in found], 20)
