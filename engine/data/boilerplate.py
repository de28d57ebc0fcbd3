"""What stands in documents but belongs to no text: licences, front matter, tables of contents, edges of pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

KINDS = {
    "gutenberg": "Project Gutenberg's header and licence",
    "front matter": "front matter of Markdown",
    "contents": "tables of contents",
    "edges": "page headers, footers and numbers",
}

_BEGIN = re.compile(
    r"^[ \t]*\*{3} ?START OF TH(?:E|IS) PROJECT GUTENBERG E-?(?:BOOK|TEXT).{0,300}?\*{3}\s*", re.M | re.S | re.I
)
_FINISH = re.compile(
    r"^[ \t]*(?:\*{3} ?END OF TH(?:E|IS) PROJECT GUTENBERG E-?(?:BOOK|TEXT)"
    r"|End of (?:the |this )?Project Gutenberg(?:'s|’s)?(?: E-?(?:Book|Text)\b|[^\n]{0,100}, by ))",
    re.M | re.I,
)
_LICENCE_CHARACTERS = 40_000
"""Twice what it has, with notes on the edition."""
_LICENCE_END = re.compile(r"newsletter to hear about\s+new eBooks", re.I)
_MAKERS = re.compile(
    r"\s*(?:Produced|E-?text prepared|Transcribed|This e-?text was (?:produced|prepared)) (?:by|from)\b", re.I
)
_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n((?:[^\n]*\n){1,200}?)(?:---|\.\.\.)[ \t]*(?:\r?\n\s*|\Z)")
_FRONT_LINE = re.compile(r"^(?:[\w.-]+[ \t]*:|[ \t]+\S|-[ \t]|#|\s*$)")
_LEADERS = re.compile(r"(?:\. ?){4,}\s*[\divxlc]+\s*$", re.I)
_LINK = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+\[[^\]]+\]\(#[^)]*\)\s*$")
_HEADING = re.compile(
    r"^[#*_\s]*(?:(?:table of )?contents|inhalt|inhaltsverzeichnis|table des mati[èe]res|sommaire|[íi]ndice|indholds?|"
    r"inhoud|содержание|目次|目录)[:.*_\s]*$",
    re.I,
)
_PAGE_END = re.compile(r"[\s.]*\b[\divxlc]+\s*$", re.I)
_EDGE = re.compile(r"\bpage \d+, (?:top|bottom)$")
_FEW_ENTRIES = 3
_MOST_HEADING = 200
"""Characters."""


@dataclass(frozen=True)
class Cut:
    """What a row is found to be (a key of KINDS), and what stays of its text; "" where nothing does."""

    kind: str
    rest: str


def cuts(texts: list[str], places: list[str], documents: list[int]) -> dict[int, Cut]:
    """For each text that is boilerplate, or holds some, what it would be without, by its index.

    places, documents: of each text, as a Table has them.
    """
    found: dict[int, Cut] = {}
    for first, after in _documents(documents):
        _gutenberg(texts, first, after, found)
        front = _FRONT.match(texts[first])
        if front and first not in found and all(map(_FRONT_LINE.match, front.group(1).splitlines())):
            found[first] = Cut("front matter", texts[first][front.end() :])
        for index in range(first, after):
            if index not in found and _EDGE.search(places[index]):
                found[index] = Cut("edges", "")
        _contents(texts, first, after, found)
    return found


def _documents(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Where each document begins, and where the next one does."""
    first = 0
    for index in range(1, len(numbers) + 1):
        if index == len(numbers) or numbers[index] != numbers[first]:
            yield first, index
            first = index


def _gutenberg(texts: list[str], first: int, after: int, found: dict[int, Cut]) -> None:
    """All before the line that says where a book starts, who typed it, and all from where it ends to the next."""
    outside = first
    for index in range(first, after):
        text = texts[index]
        begin = _BEGIN.search(text)
        if begin:
            _cut_rows(texts, outside, index, found)
            text = text[begin.end() :].strip("\r\n")
            found[index] = Cut("gutenberg", text)
            if index + 1 < after and _MAKERS.match(texts[index + 1]):
                found[index + 1] = Cut("gutenberg", "")
            outside = after
        finish = _FINISH.search(text)
        if finish and outside in (first, after):
            found[index] = Cut("gutenberg", text[: finish.start()].rstrip())
            outside = index + 1
    if outside != first:
        _cut_rows(texts, outside, after, found)


def _cut_rows(texts: list[str], start: int, stop: int, found: dict[int, Cut]) -> None:
    """Between two books. What is longer than the licence can't be it alone, and is cut up to its last words."""
    if sum(len(texts[index]) for index in range(start, stop)) > _LICENCE_CHARACTERS:
        ends = [index for index in range(start, stop) if _LICENCE_END.search(texts[index])]
        stop = ends[0] + 1 if ends else start
    found.update((index, Cut("gutenberg", "")) for index in range(start, stop))


def _contents(texts: list[str], first: int, after: int, found: dict[int, Cut]) -> None:
    """Lines that end in dots and a page, lists of links into the document, and what follows a heading "Contents"."""
    rests = [found[index].rest if index in found else texts[index] for index in range(first, after)]
    gone: dict[int, set[int]] = {}
    headings: list[tuple[int, int]] = []
    for row, rest in enumerate(rests):
        lines = rest.splitlines()
        marked = {at for at, line in enumerate(lines) if _LEADERS.search(line)} | _links(lines)
        if marked:
            gone[row] = marked
        headings += [(row, at) for at, line in enumerate(lines) if len(line) < 40 and _HEADING.match(line)]
    last = _last_rows(rests) if headings else {}
    for row, at in headings:
        entries = list(_entries(rests, (row, at), gone, last))
        if len(entries) >= _FEW_ENTRIES or any(line in gone.get(entry, ()) for entry, line in entries):
            for entry, line in [(row, at), *entries]:
                gone.setdefault(entry, set()).add(line)
    for row, marked in gone.items():
        kept = "".join(line for at, line in enumerate(rests[row].splitlines(keepends=True)) if at not in marked)
        kind = found[first + row].kind if first + row in found else "contents"
        found[first + row] = Cut(kind, kept.strip("\r\n") if kept.strip() else "")


def _links(lines: list[str]) -> set[int]:
    """Three lines and more in a row that each are a link into the document."""
    marked: set[int] = set()
    run: list[int] = []
    for at, line in enumerate([*lines, "."]):
        if _LINK.match(line):
            run.append(at)
        elif line.strip():
            marked.update(run if len(run) >= _FEW_ENTRIES else ())
            run = []
    return marked


def _entries(
    rests: list[str], heading: tuple[int, int], gone: dict[int, set[int]], last: dict[str, int]
) -> Iterator[tuple[int, int]]:
    """The lines under a heading "Contents" that come again further on, as headings, or are marked already."""
    for row in range(heading[0], len(rests)):
        for at, line in enumerate(rests[row].splitlines()):
            if (row, at) <= heading or not line.strip():
                continue
            again = max(last.get(_plain(line), -1), last.get(_plain(_PAGE_END.sub("", line)), -1))
            if at not in gone.get(row, ()) and again <= row:
                return
            yield row, at


def _last_rows(rests: list[str]) -> dict[str, int]:
    """The last row that each short text is, or begins with."""
    found: dict[str, int] = {}
    for row, rest in enumerate(rests):
        if len(rest) <= _MOST_HEADING:
            found[_plain(rest.split("\n", 1)[0])] = found[_plain(rest)] = row
    return found


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip("#*_ ")
