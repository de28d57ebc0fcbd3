"""Marked words in texts: words with a tag each, or a text with begin, end and label of each mark, as one shape.

That shape is the text and its marks as (begin, end, label) in characters. Words are joined by single spaces, so that no
word and no tag is lost; what tags come to is the same marks whatever scheme they were written in.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from engine.data import columns
from engine.data.conversations import BadRow
from engine.data.example import Mark
from engine.data.rows import counted
from engine.texts.entity_tags import words_of

Scheme = Literal["BIO", "IOB1", "BIOES", "BILOU", "IO", "a tag a word", ""]
TOLD: dict[str, str] = {
    "BIO": "the scheme BIO: B- begins a mark, I- goes on with it, O is outside",
    "IOB1": "the scheme IOB1: I- begins a mark, B- one that follows another of its label",
    "BIOES": "the scheme BIOES: B-, I- and E- are beginning, inside and end, S- is a single word",
    "BILOU": "the scheme BILOU: B-, I- and L- are beginning, inside and last, U- is a single word",
    "IO": "the scheme IO: neighbouring words with one label are one mark",
    "a tag a word": "one tag for every word and none outside: each word is a mark of its own",
}
_TAG = re.compile(r"([BIOESLUMbioeslum])[-_](.+)", re.DOTALL)
_OUTSIDE = ("O", "o", "", "0")
_SHOWN = 40
Spans = list[tuple[int, int, str]]


@dataclass(frozen=True)
class Tag:
    """prefix: B, I, E, S or O (outside); "" where the tag is a label alone."""

    prefix: str
    label: str


def is_tag(text: str) -> bool:
    """Whether it is written as a tag of a scheme is: O, or a letter before the label."""
    return text == "O" or bool(_TAG.fullmatch(text))


def scheme_of(cells: Iterable[Any]) -> Scheme:
    """The scheme of all tags of a table, a list in each cell; "" where there are none."""
    rows = [cell for cell in cells if isinstance(cell, list)]
    tags = [[_parsed(str(tag or "")) for tag in row] for row in rows]
    inside = [tag for row in tags for tag in row if tag.prefix != "O"]
    if not inside:
        return "BIO" if any(tags) else ""
    prefixes = Counter(tag.prefix for tag in inside)
    if 2 * prefixes[""] > len(inside):
        return "IO" if any(tag.prefix == "O" for row in tags for tag in row) else "a tag a word"
    letters = {match[1].upper() for row in rows for tag in row if (match := _match(tag))}
    if letters & {"L", "U"}:
        return "BILOU"
    if letters & {"E", "S", "M"}:
        return "BIOES"
    if "B" not in letters:
        return "IO"
    begins = Counter(tag.prefix for row in tags for tag in _begun(row))
    return "IOB1" if begins["I"] and not begins["B"] else "BIO"


def of_words(words: Any, tags: Any, names: tuple[str, str], scheme: Scheme) -> tuple[str, Spans]:
    """The text that words make, and the marks that their tags say. names: of both columns. Raises BadRow."""
    listed, said = (columns.turns(value) for value in (words, tags))
    if listed is None or said is None:
        wrong = names[0] if listed is None else names[1]
        raise BadRow(f'The column "{wrong}" holds no list.', "Give a list of words, and a list with a tag for each.")
    if len(listed) != len(said):
        raise BadRow(
            f"There are {counted(len(listed), 'word', 'words')} and {counted(len(said), 'tag', 'tags')}.",
            "Give exactly one tag for each word.",
        )
    empty = next((number for number, word in enumerate(listed, 1) if not str(_named(word, "word")).strip()), None)
    if empty:
        raise BadRow(f"Word {empty} is empty.", "Leave out the word and its tag, or write the word.")
    texts = [str(word).strip() for word in listed]
    text, places = " ".join(texts), []
    begin = 0
    for word in texts:
        places.append((begin, begin + len(word)))
        begin += len(word) + 1
    return text, _joined([_parsed(_named(tag, "tag")) for tag in said], scheme, places, texts)


def of_spans(text: str, cell: Any, name: str) -> tuple[Spans, int]:
    """The marks that a cell lists, in the order of the text, and how many had spaces at an edge. Raises BadRow."""
    items = listed_spans(cell)
    if items is None:
        raise BadRow(
            f'The column "{name}" holds no list of marks.', "Give each mark as [begin, end, label], in characters."
        )
    found: Spans = []
    loose = 0
    for number, item in enumerate(items, start=1):
        begin, end, label, said = _span(item, number, name)
        if not 0 <= begin < end <= len(text):
            raise BadRow(
                f"Mark {number} ({label!r}) goes from character {begin} to {end}; the text has {len(text)} characters.",
                "Count characters from 0; the end is that of the first character behind the mark.",
            )
        if said is not None and said != text[begin:end]:
            raise BadRow(
                f"Mark {number} says {_brief(said)!r}, but the text has {_brief(text[begin:end])!r} there.",
                "Count begin and end in characters of this text, not in bytes or words.",
            )
        own = text[begin:end]
        if not own.strip():
            raise BadRow(f"Mark {number} ({label!r}) holds nothing but spaces.", "Leave the mark out.")
        loose += own != own.strip()
        begin, end = begin + len(own) - len(own.lstrip()), end - (len(own) - len(own.rstrip()))
        found.append((begin, end, label))
    ordered = sorted(dict.fromkeys(found))
    for one, other in pairwise(ordered):
        if other[0] < one[1]:
            both = " and ".join(f"{_brief(text[begin:end])!r} ({label})" for begin, end, label in (one, other))
            raise BadRow(f"Two marks overlap: {both}.", "A word has one mark at most: leave one of them out.")
    return ordered, loose


def inside_words(text: str, spans: Spans) -> bool:
    """Whether a mark begins or ends in the middle of a word, so that whole words can't say it."""
    begins, ends = (set(side) for side in zip(*words_of(text), strict=True)) if text.strip() else (set(), set())
    return any(begin not in begins or end not in ends for begin, end, _ in spans)


def listed_spans(cell: Any) -> list[Any] | None:
    """The marks of a cell, which may stand under "entities" as spaCy writes them; nothing at all is no marks."""
    if isinstance(cell, Mapping):
        cell = cell.get("entities", cell.get("spans"))
    return [] if cell is None or cell == "" else columns.turns(cell)


def _span(item: Any, number: int, name: str) -> tuple[int, int, str, str | None]:
    """Begin, end, label, and what the mark itself says of its words."""
    begin: Any
    end: Any
    begin, end, label, said = None, None, None, None
    if isinstance(item, Mapping):
        begin, end, label = (columns.first_of(item, names) for names in columns.SPAN_KEYS)
        said = item.get("text")
        label = label[0] if isinstance(label, list) and label else label
    elif isinstance(item, Sequence) and not isinstance(item, str) and len(item) == 3:
        begin, end, label = item
    whole = all(
        isinstance(edge, int | float) and not isinstance(edge, bool) and edge == int(edge) for edge in (begin, end)
    )
    if not whole or not isinstance(label, str | int) or not str(label).strip():
        raise BadRow(
            f'Mark {number} in the column "{name}" has no begin, end and label.',
            'Write it as [begin, end, label] or {"start": 0, "end": 4, "label": "person"}.',
        )
    return int(begin), int(end), str(label).strip(), said if isinstance(said, str) else None


def _joined(tags: list[Tag], scheme: Scheme, places: list[tuple[int, int]], words: list[str]) -> Spans:
    """The marks of a row's words. Raises BadRow where a tag goes on with nothing, or a mark has no end."""
    found: Spans = []
    open_as = ""
    closes = scheme in ("BIOES", "BILOU")

    def wrong(number: int, problem: str, fix: str) -> BadRow:
        return BadRow(f"Word {number} ({_brief(words[number - 1])!r}): {problem}", fix)

    for number, (tag, place) in enumerate(zip(tags, places, strict=True), start=1):
        prefix, label = tag.prefix, tag.label
        if prefix == "":
            if scheme not in ("IO", "a tag a word"):
                raise wrong(number, f"its tag {label!r} says neither B- nor I-.", "Write the letter before the label.")
            prefix = "I"
        goes_on = label == open_as and open_as != ""
        if closes and open_as and prefix in ("B", "S", "O"):
            raise wrong(number, f"the mark {open_as!r} before it has no end.", "Close it in the word before.")
        if prefix == "O":
            open_as = ""
            continue
        begins = prefix in ("B", "S") or scheme == "a tag a word" or (scheme in ("IO", "IOB1") and not goes_on)
        if not begins and not goes_on:
            shown = f"{prefix}-{label}"
            raise wrong(
                number,
                f"its tag {shown} goes on with a mark, but none with the label {label!r} stands before it.",
                f"Write B-{label} there, or leave the row out.",
            )
        if begins:
            found.append((*place, label))
        else:
            found[-1] = (found[-1][0], place[1], label)
        open_as = "" if closes and prefix in ("E", "S") else label
    if closes and open_as:
        raise wrong(len(words), f"the mark {open_as!r} has no end.", "Close it in the last word.")
    return found


def _begun(row: list[Tag]) -> Iterable[Tag]:
    """Tags that begin a mark after none, or after one of another label."""
    before = ""
    for tag in row:
        if tag.prefix != "O" and tag.label != before:
            yield tag
        before = tag.label if tag.prefix != "O" else ""


def _parsed(tag: str) -> Tag:
    tag = tag.strip()
    if tag in _OUTSIDE:
        return Tag("O", "")
    match = _TAG.fullmatch(tag)
    if match is None:
        return Tag("", tag)
    letter = match[1].upper()
    return Tag({"L": "E", "U": "S", "M": "I"}.get(letter, letter), match[2].strip())


def _match(tag: Any) -> re.Match[str] | None:
    return _TAG.fullmatch(tag.strip()) if isinstance(tag, str) else None


def _named(value: Any, what: str) -> str:
    """A word or a tag as text. A class number without its name tells nobody anything."""
    if what == "tag" and (isinstance(value, int | float) and not isinstance(value, bool)):
        raise BadRow(
            f"The tag {value} is a class number, and the file doesn't say what it stands for.",
            "Give tags as text, such as B-person, or the data set from the Hub or as Parquet with its class names.",
        )
    if value is None:
        return "O" if what == "tag" else ""
    if not isinstance(value, str | int | float):
        raise BadRow(f"A {what} is no text.", f"Give each {what} as text.")
    return str(value)


def _brief(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def told(text: str, spans: Iterable[Mark]) -> str:
    """Marks as a person reads them: "Anna Meier (person), Bern (place)"."""
    return ", ".join(f"{' '.join(text[begin:end].split())} ({label})" for begin, end, label in spans)
