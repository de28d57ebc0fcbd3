"""Word documents (.docx): paragraphs, rows of tables and notes, read from the XML that stands in the file.

The zip is read by Python itself and its XML by defusedxml, not by python-docx: that builds the whole document through
lxml, gives no footnotes, and has paragraphs and tables in two lists, so that their order would have to be found anew.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from engine.data import archive, documents
from engine.data.rows import Table, counted, listed
from engine.errors import DataError

_MOST_BYTES = 128 * 1024**2
"""Of one part of the document, unpacked; Tolstoy's War and Peace has 10 MB."""
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_STRICT = "{http://purl.oclc.org/ooxml/wordprocessingml/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
"""The same text again, for older programs."""
_UNSEEN = ("pPr", "rPr", "moveFrom", "rt")
"""Looks of paragraphs and runs, what was moved elsewhere, readings above characters."""
_NOTES = {"word/footnotes.xml": "footnote", "word/endnotes.xml": "endnote"}
_UNREAD = (("word/header", "headers"), ("word/footer", "footers"), ("word/comments", "comments"))
_SPACES = re.compile(r"[ \t]{2,}")


def read(data: bytes, name: str) -> Table:
    """One row a paragraph or row of a table, then the notes; what was deleted under "track changes" is not read."""
    inside = archive.members(data)
    wanted = {"word/document.xml", *_NOTES}
    parts = archive.parts(data, name, wanted.__contains__, _MOST_BYTES)
    if "word/document.xml" not in parts:
        raise DataError(f"{name} is no Word document inside, or it is damaged.", "Save it again as .docx.")
    pieces = list(_body(parts["word/document.xml"], name))
    for part, kind in _NOTES.items():
        if part in parts:
            notes = [text for _, text in _body(parts[part], name)]
            pieces += [(f"{kind} {number}", text) for number, text in enumerate(notes, start=1)]
    if not pieces:
        raise DataError(f"{name} holds no text.", "If its pages are pictures, recognise their text first (OCR).")
    told = [f"{name} is a Word document: {counted(len(pieces), 'row', 'rows')}, one a paragraph."]
    unread = [kind for start, kind in _UNREAD if any(part.startswith(start) for part in inside)]
    unread += ["pictures"] if any(part.startswith("word/media/") for part in inside) else []
    if unread:
        told.append(f"Not read from {name}: {listed(unread)}.")
    return documents.table(pieces, name, told)


def _body(data: bytes, name: str) -> Iterator[tuple[str, str]]:
    """Paragraphs and rows of tables in their order. Texts are put together as the XML is read, and then let go."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, iterparse

    paragraphs = tables = rows = depth = skipped = 0
    cells: list[str] = []
    texts: list[list[str]] = []
    try:
        for event, element in iterparse(io.BytesIO(data), ("start", "end"), forbid_dtd=True):
            tag = _plain(element.tag)
            opens = event == "start"
            if element.tag == _FALLBACK or tag in _UNSEEN:
                skipped += 1 if opens else -1
            elif skipped:
                pass
            elif tag == "p" and opens:
                texts.append([])
            elif tag == "p":
                text = _SPACES.sub(" ", "".join(texts.pop())).strip()
                if texts:
                    texts[-1].append(f"\n{text}" if text else "")  # A text box inside of a paragraph.
                elif depth:
                    cells.append(text)
                elif text:
                    paragraphs += 1
                    yield f"paragraph {paragraphs}", text
            elif tag == "tbl":
                depth += 1 if opens else -1
                if opens and depth == 1:
                    tables, rows = tables + 1, 0
            elif tag == "tr" and depth == 1:
                rows += opens
                filled = " | ".join(filter(None, cells))
                cells = []
                if filled and not opens:
                    yield f"table {tables}, row {rows}", filled
            elif texts and not opens:
                texts[-1].append(_run(tag, element))
            if not opens:
                element.clear()
    except (ParseError, DefusedXmlException) as error:
        raise DataError(f"{name} is damaged inside: {error}.", "Save it again as .docx.") from None


def _plain(tag: str) -> str:
    """The name of one of Word's own elements; "" for others, such as those of drawings and formulas."""
    for space in (_WORD, _STRICT):
        if tag.startswith(space):
            return tag[len(space) :]
    return ""


def _run(tag: str, element: Any) -> str:
    if tag == "t":
        return element.text or ""
    return {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}.get(tag, "")
