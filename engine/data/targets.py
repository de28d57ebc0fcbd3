"""What a row's answer is for a classifier: one label, several, a number, or marked words. Found, and read."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.data import columns, marks
from engine.data.conversations import BadRow
from engine.data.example import Example, Mark
from engine.data.formats import Guess
from engine.data.rows import Table, counted, listed
from engine.errors import DataError
from engine.method import AskedKind, KindName
from engine.specs.sections import Data

SEPARATORS = (";", "|", ",")
"""Between labels in one cell; the first that fits is taken."""
JOINED_ROWS, MET_AGAIN = 0.05, 0.8
"""Cells hold several labels where so many rows have a separator, and so many of the parts stand in other cells, too."""
LONGEST_LABEL = 60
FEWEST_NUMBERS = 3
"""Different numbers from which on it is said that they could be learned as such."""
MANY_NUMBERS = 12
MOST_CLASSES = 2000
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")
_ANSWERS = ("label", "completion", "output")


@dataclass(frozen=True)
class Answer:
    """text: as a person reads it. labels: of a row with several (or none of them). number: of one with a number.

    marks: of one whose words are marked (or none of them).
    """

    text: str
    labels: list[str] | None = None
    number: float | None = None
    marks: list[Mark] | None = None


@dataclass(frozen=True)
class Found:
    """What a table's answers look like. kind: as what they are read where nobody says anything else."""

    kind: KindName
    column: str = ""
    separator: str = ""
    """Between labels in one cell; empty where there is none."""
    several: str = ""
    """That rows hold several labels, and how, in a sentence."""
    number: str = ""
    """That they could be learned as numbers, in a sentence."""
    scheme: marks.Scheme = ""
    """Of tags of words: what they are written in."""


NOTHING = Found("one label")


def find(table: Table, guess: Guess, entry: Data) -> Found:
    """Look at all answers of a table that was recognised as `guess`."""
    if guess.format == "marked":
        tags = guess.columns.get("tags")
        scheme = marks.scheme_of(columns.turns(row.get(tags)) for row in table.rows) if tags else ""
        return Found("marked words", tags or guess.columns["marks"], scheme=scheme)
    if guess.labels:
        names = listed([repr(name) for name in guess.labels], 6)
        told = (
            f"{counted(len(guess.labels), 'column', 'columns')} of 0 and 1 are labels, of which a row may have several"
        )
        return Found("several labels", several=f"{told}: {names}.")
    role = next((role for role in _ANSWERS if role in guess.columns), None)
    if role is None:
        return Found("one label")
    column = guess.columns[role]
    values = [row.get(column) for row in table.rows]
    cells = [value for value in values if isinstance(value, str) and value.strip()]
    if role != "label":  # answers in words, of which a list holds several ways to say the same
        return Found("one label", column, _lenient(cells))
    return _of_labels(column, values, cells, entry)


def _of_labels(column: str, values: Sequence[Any], cells: Sequence[str], entry: Data) -> Found:
    lists = [items for value in values if (items := columns.turns(value)) is not None and _names(items)]
    if lists and len(lists) >= len(values) // 2:
        most = max(map(len, lists))
        told = f"{column!r} holds lists of labels, up to {most} in a row."
        return Found("several labels", column, several=told)
    if entry.label_separator != "auto":
        mark = entry.label_separator.replace("none", "")
    else:
        mark = separator(cells)
    joined = [cell for cell in cells if len(split(cell, mark)) > 1]
    if joined:
        told = (
            f"{column!r} holds several labels in {counted(len(joined), 'row', 'rows')}, divided by {mark!r} (such as "
            f"{joined[0]!r})."
        )
        return Found("several labels", column, mark, told)
    lenient = _lenient(cells) if entry.label_separator == "auto" else mark
    return Found("one label", column, lenient, number=_numeric(column, values))


def settled(asked: AskedKind, found: Sequence[Found]) -> KindName:
    """The kind that all of a run's data is read as. Numbers are never taken for what is meant: a person says so."""
    if asked != "auto":
        return asked
    kinds: tuple[KindName, ...] = ("marked words", "several labels")
    return next((kind for kind in kinds if any(one.kind == kind for one in found)), "one label")


def told(found: Found, kind: KindName, asked: AskedKind, is_classified: bool = True) -> list[str]:
    """What a person should know of how answers are read. is_classified: by an objective that can do otherwise."""
    if found.kind == "marked words":
        read = [f"The tags in {found.column!r} were read by {marks.TOLD[found.scheme]}."] if found.scheme else []
        return read if is_classified else [*read, "The answer lists what is marked. The objective classify marks it."]
    if not is_classified:
        may = [f"{found.several} The objective classify learns them so."] if found.several else []
        return may + (
            [f"{found.number} The objective classify can learn how large each is (kind of answer: number)."]
            if found.number
            else []
        )
    if kind == "several labels":
        how = found.several or f"No row of {found.column!r} holds several labels; each is read as one."
        return [f"{how} Read as several labels; where a cell is one label, choose the kind of answer 'one label'."]
    if kind == "number" or not (found.several or found.number):
        return []
    if found.several:
        return [f"{found.several} Each cell is read as one label all the same."]
    return (
        []
        if asked != "auto"
        else [f"{found.number} Each is read as a label; the kind of answer 'number' learns how large it is."]
    )


def marks_told(examples: Sequence[Example]) -> list[str]:
    """How many marks of each label there are, where words are marked."""
    counts = Counter(label for example in examples for _, _, label in example.marks or [])
    if not counts:
        return []
    each = [f"{label} ({count:,})" for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    marks_found, labels = counted(counts.total(), "mark", "marks"), counted(len(counts), "label", "labels")
    return [f"{marks_found} with {labels}: {listed(each, 12)}."]


def written_down(entry: Data, found: Found, guess: Guess) -> Data:
    """An entry of several labels that says by itself where they stand, so that other rows are read like its own."""
    mark = entry.label_separator if guess.labels else found.separator or "none"
    return entry.model_copy(update={"label_separator": mark, "label_columns": "\n".join(guess.labels)})


def separator(cells: Sequence[str]) -> str:
    """What stands between the labels of these cells; empty where each is one label.

    A mark counts where it stands in some rows, and nearly all that it divides stands in other cells, too. So
    "Yes, please" and "No, thanks" are one label each, and sentences are no labels.
    """
    different = Counter(cells)
    if different and all(_DECIMAL_COMMA.fullmatch(cell) for cell in different):
        return ""
    return next((mark for mark in SEPARATORS if _divides(different, mark)), "")


def split(cell: str, mark: str) -> list[str]:
    """The labels of a cell. Nothing between two marks is no label."""
    return [part.strip() for part in cell.split(mark) if part.strip()] if mark else [cell.strip()]


def _divides(cells: Counter[str], mark: str) -> bool:
    parts = {cell: split(cell, mark) for cell in cells}
    joined = [cell for cell in cells if len(parts[cell]) > 1]
    if sum(cells[cell] for cell in joined) < max(2, JOINED_ROWS * cells.total()):
        return False
    used = Counter(part for cell in cells for part in set(parts[cell]))
    inner = [part for cell in joined for part in parts[cell]]
    if any(len(part) > LONGEST_LABEL for part in inner) or len(used) < 2:
        return False
    return sum(used[part] > 1 for part in inner) >= MET_AGAIN * len(inner)


def _lenient(cells: Sequence[str]) -> str:
    """A mark that stands in some cell, for a person who says that cells hold several labels."""
    return next((mark for mark in SEPARATORS if any(len(split(cell, mark)) > 1 for cell in cells)), "")


def _names(items: list[Any]) -> bool:
    return all(isinstance(item, str | int | float) for item in items)


def _numeric(column: str, values: Sequence[Any]) -> str:
    """That a column holds numbers, in a sentence; empty where it doesn't, or hardly any different ones."""
    filled = [value for value in values if value is not None and value != ""]
    numbers = [found for value in filled if (found := _plain_number(value)) is not None]
    different = len(set(numbers))
    if different < FEWEST_NUMBERS or 2 * len(numbers) < len(filled):
        return ""
    if len(numbers) == len(filled):
        return f"{column!r} holds numbers, {different:,} different ones."
    if different < MANY_NUMBERS:
        return ""
    rest = counted(len(filled) - len(numbers), "row", "rows")
    return f"{column!r} holds numbers, {different:,} different ones, and something else in {rest}."


def _plain_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


# Reading


class Reading:
    """How the answers of one table are read, as labels of which each row has one. `written`: a cell as text."""

    kind: KindName = "one label"

    def __init__(self, found: Found) -> None:
        self.column, self.separator = found.column or "the answer", found.separator

    def read(self, value: Any, written: Callable[[Any], str]) -> Answer:
        """Raises BadRow."""
        return Answer(written(value))

    def of_marked(self, row: dict[str, Any]) -> tuple[str, Answer]:
        """The text and the marks of a row whose words are marked. Raises BadRow."""
        raise NotImplementedError(f"A row with {self.kind} has no marks.")

    def check(self, examples: Sequence[Example]) -> None:
        """Refuse answers from which nothing can be learned. Raises DataError."""
        labels = {example.label for example in examples}
        if len(labels) < 2:
            raise DataError(
                f"All rows have the same label, {next(iter(labels))!r} (column {self.column!r}).",
                "Give rows of 2 or more classes.",
            )
        if len(labels) > max(2, len(examples) // 2) or len(labels) > MOST_CLASSES:
            numbers = all(_plain_number(label) is not None for label in labels)
            other = "set the kind of answer to 'number' (objective.kind)" if numbers else "the objective chat"
            raise DataError(
                f"{self.column!r} has {len(labels):,} different values in {len(examples):,} rows; these are no "
                "classes.",
                f"Choose another label column, or {other}.",
            )


class Several(Reading):
    """Lists, texts with a separator between labels, or one label; nothing at all is a row without labels."""

    kind: KindName = "several labels"

    def read(self, value: Any, written: Callable[[Any], str]) -> Answer:
        if value is None or value == "" or value != value:
            return Answer("", labels=[])
        items = columns.turns(value)
        if items is None:
            return _labelled(split(written(value), self.separator))
        if not _names(items):
            raise BadRow(
                f'The column "{self.column}" holds a list with something else than names of labels.',
                'Give a list of texts, such as ["late", "damaged"].',
            )
        return _labelled([written(item).strip() for item in items if str(item).strip()])

    def check(self, examples: Sequence[Example]) -> None:
        counts = Counter(label for example in examples for label in example.labels or [])
        if not counts:
            raise DataError(f"No row has a label (column {self.column!r}).", "Give rows with labels.")
        constant = all(count == len(examples) for count in counts.values())
        if constant:
            raise DataError(
                f"All rows have the same labels ({listed(sorted(counts), 3)}): there is nothing to tell apart.",
                "Give rows without them, too, or with others.",
            )
        if len(counts) > max(2, len(examples) // 2) or len(counts) > MOST_CLASSES:
            raise DataError(
                f"{self.column!r} has {len(counts):,} different labels in {len(examples):,} rows; these are no "
                "classes.",
                "Choose another label column, or another separator (data.label_separator).",
            )


class Number(Reading):
    kind: KindName = "number"

    def read(self, value: Any, written: Callable[[Any], str]) -> Answer:
        text = written(value).strip()
        number = None if isinstance(value, bool) else _plain_number(text)
        if number is not None:
            return Answer(text, number=number)
        fix = "Write a number there, or leave the row out."
        if re.search(r"\d,\d", text):
            fix = "Write it with a point, and nothing between thousands (1234.5)."
        shown = text if len(text) <= 40 else f"{text[:39]}…"
        raise BadRow(f'"{shown}" in the column "{self.column}" is no number.', fix)

    def check(self, examples: Sequence[Example]) -> None:
        different = {example.number for example in examples}
        if len(different) < 2:
            raise DataError(
                f"All rows have the same number, {examples[0].label} (column {self.column!r}).",
                "Give rows with different ones.",
            )


class Columns(Several):
    """Columns of 0 and 1, a label each."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(Found("several labels", ", ".join(names)))
        self.names = names

    def of_row(self, row: dict[str, Any]) -> Answer:
        """Raises BadRow for a cell that says neither yes nor no."""
        return _labelled([name for name in self.names if _flag(row.get(name), name)])


class Marks(Reading):
    """Marked words: of words with a tag each, or of a text with begin, end and label of each mark."""

    kind: KindName = "marked words"

    def __init__(self, found: Found, roles: dict[str, str]) -> None:
        super().__init__(found)
        self.roles, self.scheme = roles, found.scheme
        self.loose = self.torn = 0
        """Rows whose marks had spaces at an edge, and those with a mark that begins or ends inside a word."""

    def of_marked(self, row: dict[str, Any]) -> tuple[str, Answer]:
        """The row's text, and its marks. Raises BadRow."""
        if "words" in self.roles:
            names = self.roles["words"], self.roles["tags"]
            text, found = marks.of_words(row.get(names[0]), row.get(names[1]), names, self.scheme)
        else:
            given, name = row.get(self.roles["text"]), self.roles["marks"]
            text = given if isinstance(given, str) else ""
            if not text.strip():
                raise BadRow(f'The column "{self.roles["text"]}" is empty.', "Fill it, or leave the row out.")
            found, loose = marks.of_spans(text, row.get(name), name)
            self.loose += bool(loose)
        self.torn += marks.inside_words(text, found)
        return text, Answer(marks.told(text, found), marks=found)

    def notices(self) -> list[str]:
        told = []
        if self.loose:
            rows = counted(self.loose, "row", "rows")
            told.append(f"In {rows} marks had spaces at an edge, which are left out of them.")
        if self.torn:
            rows = counted(self.torn, "row", "rows")
            told.append(
                f"In {rows} a mark begins or ends inside a word. The model marks whole words, and misses these."
            )
        return told

    def check(self, examples: Sequence[Example]) -> None:
        if not any(example.marks for example in examples):
            raise DataError(f"No row has a mark (column {self.column!r}).", "Give rows in which words are marked.")


def reading(kind: KindName, found: Found, guess: Guess) -> Reading:
    """Raises DataError where the data has no such answers."""
    if guess.format == "marked":
        if kind != "marked words":
            raise DataError(
                f"Words are marked in these texts, which can't be read as {kind}.",
                "Choose the objective classify with the kind of answer 'auto' or 'marked words', or other columns.",
            )
        return Marks(found, guess.columns)
    if kind == "marked words":
        raise DataError(
            f"No words are marked in this data ({guess.why})",
            "Give words with a tag each, or texts with begin, end and label of each mark (format: marked).",
        )
    if guess.labels:
        if kind != "several labels":
            raise DataError(
                f"The labels stand in {len(guess.labels)} columns of 0 and 1, which can't be read as {kind}.",
                "Set the kind of answer to 'several labels', or choose one column of labels (data.columns.label).",
            )
        return Columns(guess.labels)
    return {"one label": Reading, "several labels": Several, "number": Number}[kind](found)


def _labelled(labels: list[str]) -> Answer:
    """Labels that a row names twice count once."""
    once = list(dict.fromkeys(labels))
    return Answer(", ".join(once), labels=once)


def _flag(value: Any, name: str) -> bool:
    text = str(value).strip().casefold()
    text = text.removesuffix(".0") if isinstance(value, float) else text
    if text in columns.FLAGS:
        return text in ("1", "true")
    if value is None or text in ("", "nan"):
        raise BadRow(f'The label column "{name}" is empty.', "Write 1 where the row has this label, and 0 where not.")
    shown = text if len(text) <= 40 else f"{text[:39]}…"
    raise BadRow(f'"{shown}" in the label column "{name}" is neither 0 nor 1.', "Write 0 or 1 (or false and true).")
