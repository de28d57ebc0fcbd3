"""JSON and JSON Lines: every usual way to lay rows out in them, with the place of what is wrong."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from engine.data import columns
from engine.data.example import SplitName
from engine.data.rows import SPLIT_NAMES, RowProblem, Table, check_rows, column_names, counted, listed
from engine.errors import DataError

_LINE_END = re.compile(r"\r\n|\n|\r")
_TURNS = ("messages", "conversations", "conversation")
_WRAPPERS = ("data", "rows", "examples", "items", "records", "instances", "samples")
_MENDED_COMMAS = 20


def read_json(text: str, name: str) -> Table:
    """A table from one JSON value: a list of rows, an object of lists, of splits or of columns, or a single row.

    Raises DataError with line and column where the text is no JSON.
    """
    notices: list[str] = []
    repeated: set[str] = set()
    value = _loaded(text, name, notices, repeated)
    table = _from_value(value, name, notices)
    if repeated:
        notices.append(
            f"Some objects of {name} have a name twice, of which the last counts: {listed(sorted(repeated))}."
        )
    return table


def read_lines(text: str, name: str) -> Table:
    """A table from one JSON value a line. Lines that are no JSON become problems."""
    items: list[Any] = []
    places: list[str] = []
    numbers: list[int] = []
    problems: list[RowProblem] = []
    notices: list[str] = []
    lines = _LINE_END.split(text)
    filled = [index for index, line in enumerate(lines) if line.strip()]
    check_rows(len(filled), name)
    for number, index in enumerate(filled, start=1):
        try:
            items.append(json.loads(lines[index]))
        except (ValueError, RecursionError) as error:
            problems.append(_line_problem(number, index, error, last=index == filled[-1]))
            continue
        places.append(f"line {index + 1}")
        numbers.append(number)
    if not items:
        if not filled:
            raise DataError(f"{name} is empty.", "Give a file with at least one row.")
        raise DataError(f"{name}: no line is JSON. {problems[0]}", "Give one JSON object a line.")
    return _rows(items, places, numbers, name, notices, problems)


def looks_like_lines(text: str) -> bool:
    """Whether the first two lines that hold something are JSON each by itself (or the only one is an object)."""
    lines = [line for line in _LINE_END.split(text[:2_000_000]) if line.strip()][:2]
    if len(lines) == 1:
        return False
    try:
        return all(isinstance(json.loads(line), dict | list) for line in lines) and bool(lines)
    except (ValueError, RecursionError):
        return False


def _loaded(text: str, name: str, notices: list[str], repeated: set[str]) -> Any:
    def as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            seen: set[str] = set()
            repeated.update(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return made

    mended: list[str] = []
    while True:
        try:
            value = json.loads(text, object_pairs_hook=as_object)
        except json.JSONDecodeError as error:
            comma = _stray_comma(text, error.pos)
            if comma is None or len(mended) >= _MENDED_COMMAS:
                raise _json_error(name, error, comma) from None
            mended.append(_position(text, comma))
            text = f"{text[:comma]} {text[comma + 1 :]}"
        except RecursionError:
            raise DataError(f"{name} is nested too deep.", "Give a list of rows.") from None
        else:
            break
    if mended:
        notices.append(f"{name}: a comma with nothing after it was ignored ({listed(mended)}).")
    return value


def _stray_comma(text: str, position: int) -> int | None:
    """Where the comma stands that is followed by nothing but a closing bracket, if that is what broke the JSON.

    Python 3.13 points at the comma, older ones at the bracket or at the white space before it.
    """
    bracket = position + 1 if text[position : position + 1] == "," else position
    while text[bracket : bracket + 1].isspace():
        bracket += 1
    if text[bracket : bracket + 1] not in ("]", "}") or not text[bracket : bracket + 1]:
        return None
    before = text[:bracket].rstrip()
    return len(before) - 1 if before.endswith(",") else None


def _json_error(name: str, error: json.JSONDecodeError, comma: int | None) -> DataError:
    if comma is not None:
        return DataError(
            f"{name}: there are many commas with nothing after them, the next at {_position(error.doc, comma)}.",
            "Delete each comma that stands before a closing bracket.",
        )
    place = _position(error.doc, error.pos)
    if error.pos >= len(error.doc.rstrip()):
        return DataError(f"{name} is not whole: the JSON ends in the middle, at {place}.", "Get the file again.")
    found = error.doc[error.pos : error.pos + 20].split("\n")[0]
    return DataError(f"{name} is not valid JSON at {place}: {error.msg}, found {found!r}.", "Mend the file there.")


def _position(text: str, index: int) -> str:
    before = text[:index].replace("\r\n", "\n").replace("\r", "\n")
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"


def _line_problem(number: int, index: int, error: Exception, last: bool) -> RowProblem:
    place = f"line {index + 1}"
    if isinstance(error, json.JSONDecodeError):
        cut = last and (error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string"))
        if cut:
            return RowProblem(
                number, place, "The last line is cut off in the middle.", "Get the file again, or leave this row out."
            )
        return RowProblem(
            number, place, f"It is not valid JSON (column {error.colno}: {error.msg}).", "Mend this line."
        )
    return RowProblem(number, place, "It is not valid JSON.", "Mend this line.")


def _from_value(value: Any, name: str, notices: list[str]) -> Table:
    if isinstance(value, list):
        return _list(value, name, notices)
    if not isinstance(value, dict) or not value:
        raise DataError(f"{name} holds no rows.", "Give a JSON list of objects, one a row.")
    if any(columns.turns(value.get(key)) is not None for key in _TURNS):
        return _list([value], name, notices)
    splits = {key: SPLIT_NAMES[key.casefold()] for key, part in value.items() if _is_split(key, part)}
    if splits:
        return _splits(value, splits, name, notices)
    questions = _reading_questions(value.get("data"))
    if questions:
        notices.append(f"{name} has texts with questions (as in SQuAD): each question is a row, with its first answer.")
        return _list(questions, name, notices)
    lists = {key: part for key, part in value.items() if isinstance(part, list) and part}
    wrapped = [key for key in lists if all(isinstance(item, dict) for item in lists[key])]
    if len(wrapped) == 1 and (len(lists) == 1 or wrapped[0].casefold() in _WRAPPERS):
        beside = [key for key in value if key != wrapped[0]]
        notices.append(
            f"The rows of {name} stand under {wrapped[0]!r}" + (f"; not read: {listed(beside)}." if beside else ".")
        )
        return _list(lists[wrapped[0]], name, notices)
    turned = _columnar(value)
    if turned is not None:
        notices.append(f"{name} is laid out by columns; it was turned into rows.")
        return _list(turned, name, notices)
    return _list([value], name, notices)


def _is_split(key: str, part: Any) -> bool:
    return key.casefold() in SPLIT_NAMES and isinstance(part, list)


def _splits(value: dict[str, Any], splits: dict[str, SplitName], name: str, notices: list[str]) -> Table:
    tables: list[tuple[SplitName | None, Table]] = []
    for key in splits:
        if value[key]:
            items = value[key]
            places = [f"item {number} of {key}" for number in range(1, len(items) + 1)]
            numbers = list(range(1, len(items) + 1))
            tables.append((splits[key], _rows(items, places, numbers, name, [], [])))
    if not tables:
        raise DataError(f"{name} holds no rows.", "Fill its parts.")
    beside = [
        f"{key} ({len(part):,} rows)" if isinstance(part, list) else key
        for key, part in value.items()
        if key not in splits
    ]
    if beside:
        notices.append(f"Parts of {name} that are not read: {listed(beside)}.")
    return joined(tables, name, notices)


def joined(parts: list[tuple[SplitName | None, Table]], name: str, notices: list[str]) -> Table:
    """One table of several with equal columns, rows numbered on. Parts with a split name keep it, if all have one.

    Where some are documents, rows that stand alone in others are documents of one row.
    """
    names = list(dict.fromkeys(column for _, table in parts for column in table.columns))
    whole = Table(names, [], [], notices, [], name)
    offset = 0
    divided = all(split for split, _ in parts) and len(parts) > 1
    texts = any(table.continuous for _, table in parts)
    for split, table in parts:
        whole.rows.extend(table.rows)
        whole.places.extend(table.places)
        whole.numbers.extend(number + offset for number in table.numbers)
        whole.problems.extend(
            RowProblem(problem.row + offset, problem.place, problem.problem, problem.fix) for problem in table.problems
        )
        whole.notices.extend(notice for notice in table.notices if notice not in whole.notices)
        offset += len(table.rows) + len(table.problems)
        if texts:
            first = whole.continuous[-1] + 1 if whole.continuous else 0
            whole.continuous.extend(first + index for index in table.continuous or range(len(table.rows)))
        if divided and split:
            whole.splits.extend([split] * len(table.rows))
    check_rows(offset, name)
    return whole


def _list(items: list[Any], name: str, notices: list[str]) -> Table:
    if not items:
        raise DataError(f"{name} holds no rows.", "Give a JSON list of objects, one a row.")
    check_rows(len(items), name)
    numbers = list(range(1, len(items) + 1))
    return _rows(items, [f"item {number}" for number in numbers], numbers, name, notices, [])


def _rows(
    items: list[Any], places: list[str], numbers: list[int], name: str, notices: list[str], problems: list[RowProblem]
) -> Table:
    """Rows from objects, or from lists of equal width, or from texts; items of a rarer kind become problems."""
    counts = Counter(type(item) for item in items if isinstance(item, dict | list | str))
    if not counts:
        raise DataError(
            f"{name}: its rows are no objects but, for example, {_shown(items[0])}.", "Give an object a row."
        )
    kind = counts.most_common(1)[0][0]
    names = ["text"]
    if kind is list:
        header = _list_header(items)
        if header == items[0]:
            items, places, numbers = items[1:], places[1:], [number - 1 for number in numbers[1:]]
        else:
            notices.append(f"The rows of {name} are lists; the columns are called {listed(header)}.")
        names, said = column_names(header)
        notices += said
    rows: list[dict[str, Any]] = []
    kept: list[int] = []
    for index, item in enumerate(items):
        if not isinstance(item, kind):
            problem = f"It is {_shown(item)}, where other rows are {_WORDS[kind]}."
        elif isinstance(item, list) and len(item) != len(names):
            problem = f"It has {counted(len(item), 'value', 'values')}, others have {len(names)}."
        else:
            kept.append(index)
            rows.append(
                item if isinstance(item, dict) else dict(zip(names, [item] if kind is str else item, strict=True))
            )
            continue
        problems.append(RowProblem(numbers[index], places[index], problem, "Write it like the other rows."))
    if kind is dict:
        names = list(dict.fromkeys(key for row in rows for key in row))
    problems.sort(key=lambda problem: problem.row)
    return Table(names, rows, [places[i] for i in kept], notices, problems, name, [numbers[i] for i in kept])


_WORDS: dict[type, str] = {dict: "objects", list: "lists", str: "texts"}


def _list_header(items: list[Any]) -> list[str]:
    """Names for rows that are lists: the first row, if it holds usual names, else numbers."""
    first = next(item for item in items if isinstance(item, list))
    texts = first is items[0] and len(items) > 1 and all(isinstance(cell, str) for cell in first)
    if texts and any(columns.known(cell) for cell in first):
        return list(first)
    return [f"column_{number}" for number in range(1, len(first) + 1)]


def _columnar(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Rows from {"text": [...], "label": [...]} or {"text": {"0": ...}, ...} (as pandas writes it)."""
    parts = list(value.values())
    if len(parts) < 2 and not (
        parts and isinstance(parts[0], list) and all(isinstance(item, str) for item in parts[0])
    ):
        return None
    if all(isinstance(part, list) for part in parts):
        lengths = {len(part) for part in parts}
        if len(lengths) == 1 and lengths != {0}:
            return [dict(zip(value, cells, strict=True)) for cells in zip(*parts, strict=True)]
        return None
    if (
        all(isinstance(part, dict) for part in parts)
        and all(list(part) == list(parts[0]) for part in parts)
        and parts[0]
    ):
        return [{key: part[index] for key, part in value.items()} for index in parts[0]]
    return None


def _reading_questions(data: Any) -> list[dict[str, Any]]:
    """The questions of a SQuAD file: data > paragraphs > qas."""
    if not isinstance(data, list) or not all(isinstance(item, dict) and "paragraphs" in item for item in data):
        return []
    found = []
    try:
        for article in data:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    answers = [answer["text"] for answer in asked.get("answers", [])]
                    found.append(
                        {
                            "context": paragraph["context"],
                            "question": asked["question"],
                            "answer": answers[0] if answers else None,
                        }
                    )
    except (KeyError, TypeError):
        return []
    return found


def _shown(item: Any) -> str:
    shown = json.dumps(item, ensure_ascii=False)
    return shown if len(shown) <= 40 else shown[:37] + "..."
