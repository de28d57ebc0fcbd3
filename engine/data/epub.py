"""Books (.epub): a zip of XHTML chapters, in the order that its package file gives."""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import unquote

from engine.data import archive, documents, markup
from engine.data.rows import Table, counted, listed
from engine.errors import DataError

_CONTAINER = "META-INF/container.xml"
_LOCKS = "META-INF/encryption.xml"
_MOST_BYTES = markup.MOST_BYTES
_MOST_PAGES_BYTES = 128 * 1024**2
_AGAIN = "Get the book again, or save it as text."


def read(data: bytes, name: str) -> Table:
    """One row a paragraph; a chapter is a file of the book that holds text."""
    inside = archive.members(data)
    heads = archive.parts(data, name, lambda part: part in (_CONTAINER, _LOCKS) or part.endswith(".opf"), _MOST_BYTES)
    package = _package_path(heads, name)
    order, tables = _spine(heads[package], package, name)
    locked = {part for part in _locked(heads, name) if part in order}
    if locked:
        raise DataError(f"{name} is protected against copying.", "Give a book without such protection.")
    pages = archive.parts(data, name, set(order).__contains__, _MOST_PAGES_BYTES)
    pieces: list[tuple[str, str]] = []
    empty, chapter = 0, 0
    for part in order:
        if part not in pages:
            continue
        text, _ = markup.decoded(pages[part], f"{part} of {name}")
        found = markup.blocks(text, name)
        empty += not found
        chapter += bool(found)
        pieces += [
            (f"chapter {chapter}, paragraph {number}", block) for number, (_, block) in enumerate(found, start=1)
        ]
    if not pieces:
        raise DataError(f"{name} holds no text.", "If its pages are pictures, recognise their text first (OCR).")
    told = [f"{name} is a book: {counted(len(pieces), 'row', 'rows')} of {counted(chapter, 'chapter', 'chapters')}."]
    missing = [part for part in order if part not in pages]
    if missing:
        told.append(f"Chapters that {name} names but does not hold: {listed(missing)}.")
    if empty:
        told.append(f"{counted(empty, 'page', 'pages')} of {name} without text, such as a cover, not read.")
    if tables and any(part in inside for part in tables):
        told.append(f"The table of contents of {name} is not read.")
    return documents.table(pieces, name, told)


def _xml(data: bytes, name: str) -> Any:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        return fromstring(data)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise DataError(f"{name} is damaged inside: {error}.", _AGAIN) from None


def _package_path(heads: dict[str, bytes], name: str) -> str:
    if _CONTAINER not in heads:
        raise DataError(f"{name} is no book inside, or it is damaged.", _AGAIN)
    for element in _xml(heads[_CONTAINER], name).iter():
        path = element.get("full-path", "")
        if _local(element) == "rootfile" and path in heads:
            return str(path)
    raise DataError(f"{name} does not hold the list of its chapters.", _AGAIN)


def _spine(package: bytes, path: str, name: str) -> tuple[list[str], list[str]]:
    """The paths of the pages in their order, and of tables of contents, which are left out."""
    root = _xml(package, name)
    paths: dict[str, str] = {}
    tables = []
    for item in root.iter():
        if _local(item) == "item" and item.get("href"):
            paths[item.get("id", "")] = _inside(path, item.get("href"))
            if "nav" in item.get("properties", "").split():
                tables.append(paths[item.get("id", "")])
    refs = [item.get("idref", "") for item in root.iter() if _local(item) == "itemref"]
    order = [paths[ref] for ref in dict.fromkeys(refs) if ref in paths]
    return [part for part in order if part not in tables], tables


def _locked(heads: dict[str, bytes], name: str) -> list[str]:
    if _LOCKS not in heads:
        return []
    found = [element.get("URI", "") for element in _xml(heads[_LOCKS], name).iter()]
    return [posixpath.normpath(unquote(path)) for path in found if path]


def _inside(package: str, href: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(href.partition("#")[0])))


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]
