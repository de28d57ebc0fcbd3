"""Paragraphs of documents to passages: what follows each other stays together, in learning and in holding out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from engine.data.example import Example

CHARACTERS = 2000
"""About 500 tokens of English."""
_ENDS = ("\n\n", "\n", ". ", " ")
"""Where a longer text is parted, the best first."""
BLOCKS = 40
"""Passages are held out in blocks, so that few of them stand between two that are learned; about so many in all."""
BETWEEN = "\n\n"


def joined(rows: list[Example], documents: Mapping[int, int]) -> tuple[list[Example], list[str]]:
    """Passages of at most `CHARACTERS`, each with the number of its first row; and the block that each belongs to.

    documents: of which document a row is a part, by the row's number. All text is kept; rows that are joined have an
    empty line between them.
    """
    passages: list[Example] = []
    places: list[int] = []
    for row in rows:
        document = documents[row.row]
        for part in _parts(row.text):
            if places and places[-1] == document and passages[-1].split == row.split:
                between = "" if passages[-1].row == row.row else BETWEEN
                text = f"{passages[-1].text}{between}{part}"
                if len(text) <= CHARACTERS:
                    passages[-1] = replace(passages[-1], text=text)
                    continue
            passages.append(replace(row, text=part))
            places.append(document)
    size = max(1, -(-len(passages) // BLOCKS))
    return passages, [f"{document} {index // size}" for index, document in enumerate(places)]


def parted(rows: list[Example]) -> list[Example]:
    """Rows of at most `CHARACTERS`: a longer one becomes several, in which all of its text is kept."""
    return [replace(row, text=part) for row in rows for part in _parts(row.text)]


def _parts(text: str) -> list[str]:
    """The text in parts of at most `CHARACTERS`, which joined are the text again."""
    parts = []
    while len(text) > CHARACTERS:
        found = ((text.rfind(mark, CHARACTERS // 2, CHARACTERS), mark) for mark in _ENDS)
        end = next((place + len(mark) for place, mark in found if place >= 0), CHARACTERS)
        parts.append(text[:end])
        text = text[end:]
    return [*parts, text] if text.strip() or not parts else [*parts[:-1], parts[-1] + text]
