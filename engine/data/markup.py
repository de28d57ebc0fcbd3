"""HTML, by itself and inside of EPUB: the text that a reader sees, block by block. Nothing is run, nothing fetched."""

from __future__ import annotations

import re
import warnings
from collections import Counter

from engine.data import decoding, documents
from engine.data.rows import Table, counted, listed
from engine.errors import DataError

MOST_BYTES = 32 * 1024**2
MOST_TAGS = 1_000_000
"""Of one page, those that close counted, too: they take 900 MB of memory and half a minute."""

_BLOCKS = frozenset(
    "address article aside blockquote body caption dd details dialog div dl dt fieldset figcaption figure footer form "
    "h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol p pre section summary table tbody tfoot thead "
    "tr ul [document]".split()
)
_UNSEEN = frozenset(
    "audio button canvas embed head iframe input math noscript object script select style svg template textarea "
    "video".split()
)
_NAMES = {"nav": "navigation", "script": "scripts", "style": "styles", "svg": "drawings"}
_CHARSET = re.compile(rb"""<(?:meta[^>]+charset|\?xml[^>]+encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_SPACES = re.compile(r"\s+")


def decoded(data: bytes, name: str) -> tuple[str, list[str]]:
    """The text by the encoding that the page states, where it fits, else as for any file; and notices."""
    stated = _CHARSET.search(data[:4096])
    if stated and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode(stated.group(1).decode("ascii")).removeprefix("\ufeff"), []
        except (LookupError, UnicodeDecodeError):
            pass
    return decoding.decode(data, name)


def read(text: str, name: str) -> Table:
    """One row a paragraph, heading, point of a list or row of a table; places are lines of the file."""
    left_out: Counter[str] = Counter()
    pieces = [(f"line {line}", block) for line, block in blocks(text, name, left_out)]
    if not pieces:
        raise DataError(f"{name} is HTML without any text.", "Open it in a browser, and save or copy what you see.")
    told = [f"{name} is HTML: {counted(len(pieces), 'row', 'rows')}, one a paragraph."]
    if left_out:
        told.append(f"Not read from {name}: {listed(sorted(_NAMES.get(kind, kind) for kind in left_out))}.")
    return documents.table(pieces, name, told)


def blocks(text: str, name: str, left_out: Counter[str] | None = None) -> list[tuple[int, str]]:
    """The texts of a page with the lines they begin in. `left_out` counts what is no text, by its tag."""
    from bs4 import BeautifulSoup, NavigableString, Tag

    if len(text) > MOST_BYTES:
        raise DataError(f"{name} has a page of more than {MOST_BYTES // 1024**2} MB.", "Split it into several files.")
    if text.count("<") > MOST_TAGS:
        raise DataError(f"{name} has a page of more than {MOST_TAGS:,} tags.", "Split it into several files.")
    with warnings.catch_warnings():
        # It asks whether XHTML is meant as XML, and whether a page without a tag is a path.
        warnings.simplefilter("ignore", UserWarning)
        soup = BeautifulSoup(text, "html.parser")
    # What each tag stands in, worked out once from its parent: deep pages would take long otherwise.
    home: dict[int, Tag | None] = {}
    found: list[tuple[int, list[str], Tag]] = []
    line = 1
    for node in (soup, *soup.descendants):
        if isinstance(node, Tag):
            outer = home[id(node.parent)] if node.parent is not None else node
            line = node.sourceline or line
            if outer is None or node.name in _UNSEEN or node.name == "nav" or node.has_attr("hidden"):
                if outer is not None and left_out is not None and node.name in _NAMES:
                    left_out[node.name] += 1
                home[id(node)] = None
                continue
            home[id(node)] = node if node.name in _BLOCKS else outer
            if found and found[-1][2] is home[id(node)]:
                if node.name == "br":
                    found[-1][1].append("\n")
                elif node.name in ("td", "th"):
                    found[-1][1].append(" | ")
        elif type(node) is NavigableString and node.parent is not None:
            block = home[id(node.parent)]
            if block is None or (not node.strip() and not (found and found[-1][2] is block)):
                continue
            if not found or found[-1][2] is not block:
                found.append((line, [], block))
            found[-1][1].append(str(node) if block.name == "pre" else _SPACES.sub(" ", node))
    texts = [(line, _tidy("".join(parts), block.name)) for line, parts, block in found]
    return [(line, text) for line, text in texts if text]


def _tidy(text: str, block: str) -> str:
    if block == "pre":
        return text.strip("\n").rstrip()
    lines = "\n".join(line.strip() for line in text.split("\n")).strip()
    return lines.rstrip(" |") if block == "tr" else lines
