"""The parts that columns play (roles), the names they usually have, and finding them in a table."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine.data.rows import Table, listed
from engine.errors import DataError

Kind = Literal[
    "text",
    "number",
    "switch",
    "messages",
    "conversations",
    "texts",
    "numbers",
    "marks",
    "nested",
    "binary",
    "date",
    "empty",
]

NAMES: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "conversation", "conversations", "chat", "dialogue", "dialog"),
    "conversations": ("conversations", "conversation", "messages", "chat", "dialogue", "dialog"),
    "system": ("system", "system_prompt", "system_message"),
    "tools": ("tools", "functions"),
    "instruction": ("instruction", "instructions", "task"),
    "instances": ("instances",),
    "input": ("input", "inputs", "context"),
    "output": (
        *("output", "outputs", "response", "answer", "completion", "target", "expected_output", "solution"),
        *("reply", "demonstration"),
    ),
    "prompt": (
        *("prompt", "question", "query", "instruction", "user", "human", "input", "inputs", "source", "problem"),
        *(
            "request",
            "user_message",
            "customer_message",
            "text",
            "article",
            "document",
            "content",
            "message",
            "dialogue",
        ),
    ),
    "completion": (
        *("completion", "answer", "response", "output", "outputs", "reply", "assistant", "bot", "gpt", "target"),
        *(
            "targets",
            "solution",
            "summary",
            "highlights",
            "translation",
            "expected_output",
            "expected",
            "ideal",
            "answers",
        ),
    ),
    "text": (
        *("text", "sentence", "message", "utterance", "content", "review", "comment", "tweet", "sms", "email", "body"),
        *("post", "ticket", "query", "question", "description", "document", "article", "abstract", "headline", "title"),
        *("phrase", "input", "comment_text"),
    ),
    "label": (
        *("label_text", "label_name", "category_name", "label", "labels", "category", "class", "intent", "sentiment"),
        *("gold_label", "topic", "tag", "classification", "emotion", "class_name", "rating", "stars", "target", "type"),
        *("categories", "topics", "tags", "emotions", "genres", "score", "similarity", "similarity_score"),
    ),
    "words": ("tokens", "words", "token", "word"),
    "tags": (
        *("ner_tags", "ner", "tags", "tag", "bio_tags", "iob_tags", "labels", "label", "ner_labels", "entity_tags"),
        *("upos", "pos_tags", "pos", "xpos", "chunk_tags"),
    ),
    "marks": ("entities", "spans", "marks", "annotations", "entity", "ner", "labels", "label"),
}
"""Usual names of each role's column, best first."""

SPAN_KEYS = (
    ("start", "start_offset", "begin", "from", "start_char"),
    ("end", "end_offset", "stop", "to", "end_char"),
    ("label", "labels", "type", "tag", "entity", "entity_group", "entity_type", "class", "category"),
)
"""What the begin, the end and the label of marked words are called."""

TEXT_PAIRS = (
    ("premise", "hypothesis"),
    *(
        (f"{name}{gap}{first}", f"{name}{gap}{second}")
        for name in ("sentence", "text", "question")
        for gap in ("", "_")
        for first, second in ("12", "ab")
    ),
    ("ori_sentence", "new_sentence"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "answer"),
    ("query", "passage"),
    ("query", "document"),
    ("claim", "evidence"),
)
"""Names of two columns whose texts are read together."""

SPLITS = ("split", "subset", "partition", "set")
"""Names of a column that divides the rows."""

QUESTIONS = {"prompt", "question", "query", "instruction", "user", "human", "user_message", "customer_message"}
"""Names that a column of prompts alone has; the others may just as well name a text to be classified."""

FLAGS = {"0", "1", "true", "false"}
"""What a column of yes and no holds."""

_KNOWN_NAMES = {name for names in NAMES.values() for name in names} | {"id", "chosen", "rejected", "split"}
_PLAIN = ("text", "number", "switch")
_SAMPLE_ROWS = 2000
_FEW = 1000


@dataclass(frozen=True)
class Column:
    """What a column holds, judged from rows spread over the table. `filled`, `distinct` are of `looked` rows."""

    name: str
    kind: Kind
    looked: int
    filled: int
    distinct: int
    mean_length: float
    example: str
    numeric: bool = False
    """Whether all of it are numbers, also where they are written as text."""
    flags: bool = False
    """Whether all of it are 0 and 1, or true and false, with both among them."""

    @property
    def few_values(self) -> bool:
        """Whether it looks like classes: short values that come back."""
        return (
            self.kind in ("text", "number", "switch")
            and 2 <= self.distinct <= min(_FEW, max(2, self.filled // 2), self.filled - 1)
            and self.mean_length <= 60
        )


def normal(name: str) -> str:
    """ "Gold-Label " → "gold_label"."""
    return re.sub(r"[\s\-./]+", "_", name.strip().casefold()).strip("_")


def known(name: str) -> bool:
    return normal(name) in _KNOWN_NAMES


def look(table: Table) -> dict[str, Column]:
    """What each column holds."""
    step = max(1, len(table.rows) // _SAMPLE_ROWS)
    sample = table.rows[::step]
    return {name: _looked(name, [row.get(name) for row in sample]) for name in table.columns}


def find(columns: Mapping[str, Column], role: str, kinds: Iterable[str], taken: Iterable[str] = ()) -> str | None:
    """The column with the most usual name for a role, of a fitting kind."""
    allowed, gone = set(kinds), set(taken)
    by_name: dict[str, str] = {}
    for name, column in columns.items():
        if column.kind in allowed and name not in gone:
            by_name.setdefault(normal(name), name)
    return next((by_name[usual] for usual in NAMES[role] if usual in by_name), None)


def text_pair(columns: Mapping[str, Column], taken: Iterable[str] = ()) -> tuple[str, str] | None:
    """Two columns of text that are a pair by their names."""
    gone = set(taken)
    by_name = {normal(name): name for name, column in columns.items() if column.kind == "text" and name not in gone}
    return next(((by_name[a], by_name[b]) for a, b in TEXT_PAIRS if a in by_name and b in by_name), None)


def check(table: Table, chosen: Mapping[str, str], roles: Iterable[str]) -> None:
    """Refuse unknown roles and columns, with the ones that there are."""
    allowed = list(roles)
    for role, name in chosen.items():
        if role not in allowed:
            raise DataError(f"Columns: there is no part called {role!r}.", f"The parts are {', '.join(allowed)}.")
        if name not in table.columns:
            raise missing(table, name)


def lines(table: Table, text: str) -> list[str]:
    """Names of columns, one a line. Raises DataError for one that there is not."""
    names = [line.strip() for line in text.splitlines() if line.strip()]
    for name in names:
        if name not in table.columns:
            raise missing(table, name)
    return list(dict.fromkeys(names))


def missing(table: Table, name: str) -> DataError:
    near = difflib.get_close_matches(name, table.columns, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return DataError(
        f"{table.source or 'The data'} has no column {name!r}.{hint}", f"Its columns are {listed(table.columns, 30)}."
    )


def turns(value: Any) -> list[Any] | None:
    """A list, also one that is written as JSON in a text cell; None for anything else."""
    if isinstance(value, list):
        return value
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return None
        return parsed if isinstance(parsed, list) else None
    return None


def first_of(item: Mapping[Any, Any], names: Iterable[str]) -> Any:
    """The value under the first of these keys that there is."""
    return next((item[name] for name in names if item.get(name) is not None), None)


def _looked(name: str, values: list[Any]) -> Column:
    filled = [value for value in values if value is not None and value != "" and value != []]
    kinds: dict[Kind, int] = {}
    for value in filled:
        kind = _kind(value)
        kinds[kind] = kinds.get(kind, 0) + 1
    # The most frequent kind; among equals the first that was met.
    kind = max(kinds, key=lambda item: kinds[item]) if kinds else "empty"
    shown = [value if isinstance(value, str) else str(value) for value in filled]
    length = sum(map(len, shown)) / len(shown) if shown else 0.0
    distinct = len(set(shown)) if kind in _PLAIN else len(shown)
    said = {text.strip().casefold().removesuffix(".0") for text in shown} if kind in _PLAIN else set()
    return Column(
        name,
        kind,
        len(values),
        len(filled),
        distinct,
        length,
        shown[0][:200] if shown else "",
        numeric=bool(said) and kind != "switch" and all(map(_is_number, said)),
        flags=len(said) == 2 and said <= FLAGS,
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _kind(value: Any) -> Kind:
    if isinstance(value, str) and value.lstrip()[:1] != "[":
        return "text"
    if isinstance(value, bool):
        return "switch"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, bytes):
        return "binary"
    items = turns(value)
    if _is_marks(value.get("entities", value.get("spans")) if isinstance(value, dict) else items):
        return "marks"
    if items is not None:
        keys = [set(item) for item in items if isinstance(item, dict)]
        if keys and all({"from", "value"} <= each for each in keys):
            return "conversations"
        if keys and all("role" in each for each in keys):
            return "messages"
        if isinstance(value, list):
            if items and all(isinstance(item, int) and not isinstance(item, bool) for item in items):
                return "numbers"
            return "texts" if items and all(isinstance(item, str) for item in items) else "nested"
    if isinstance(value, str):
        return "text"
    return "nested" if isinstance(value, dict) else "date"


def _is_marks(items: Any) -> bool:
    """Whether a list is one of marked words: each with begin, end and label."""
    return isinstance(items, list) and bool(items) and all(map(_is_mark, items))


def _is_mark(item: Any) -> bool:
    if isinstance(item, dict):
        begin, end, label = (first_of(item, names) for names in SPAN_KEYS)
    elif isinstance(item, list | tuple) and len(item) == 3:
        begin, end, label = item
    else:
        return False
    return isinstance(begin, int | float) and isinstance(end, int | float) and isinstance(label, str | list)
