"""Small files that show how data is laid out, one for each shape that is learned from."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ui import example_rows as rows

Use = Literal["Answers", "Labels", "Texts to read"]


@dataclass(frozen=True)
class ExampleFile:
    """use: what is learned from data of its shape, under which it is listed."""

    use: Use
    title: str
    content: bytes = field(repr=False)


def _csv(head: Sequence[str], lines: Iterable[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *lines])
    return out.getvalue().encode()


def _lines(records: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def _zip(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            # With a date of its own, so that the file is the same each time.
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text)
    return out.getvalue()


def _marks() -> Iterator[dict[str, Any]]:
    for text, named in rows.PLACES:
        places = [(text.index(words), words, label) for words, label in named.items()]
        marks = [{"start": begin, "end": begin + len(words), "label": label} for begin, words, label in places]
        yield {"text": text, "entities": marks}


_TALKS = ({"messages": [{"role": role, "content": text} for role, text in talk]} for talk in rows.TALKS)
_TASKS = ({"instruction": asked, "input": given, "output": answer} for asked, given, answer in rows.TASKS)
FILES: dict[str, ExampleFile] = {
    "questions.csv": ExampleFile("Answers", "Questions with answers", _csv(("question", "answer"), rows.QUESTIONS)),
    "conversations.jsonl": ExampleFile("Answers", "Conversations", _lines(_TALKS)),
    "instructions.jsonl": ExampleFile("Answers", "Instructions with inputs", _lines(_TASKS)),
    "labels.csv": ExampleFile("Labels", "Texts with labels", _csv(("text", "label"), rows.LABELS)),
    "several-labels.csv": ExampleFile("Labels", "With several labels", _csv(("text", "labels"), rows.SEVERAL)),
    "numbers.csv": ExampleFile("Labels", "With numbers", _csv(("text", "rating"), rows.NUMBERS)),
    "marked-words.jsonl": ExampleFile("Labels", "With marked names", _lines(_marks())),
    "text-pairs.csv": ExampleFile("Labels", "Pairs of texts", _csv(("premise", "hypothesis", "label"), rows.PAIRS)),
    "texts.csv": ExampleFile("Texts to read", "A column of texts", _csv(("text",), ([one] for one in rows.TEXTS))),
    "documents.zip": ExampleFile(
        "Texts to read",
        "Several documents",
        _zip({"handbook.md": rows.HANDBOOK, "letter.txt": rows.LETTER, "notice.html": rows.NOTICE}),
    ),
}
"""By file name."""


def links() -> str:
    """The files by what is learned from them, as markup."""
    lines = []
    for use in dict.fromkeys(one.use for one in FILES.values()):
        named = ", ".join(
            f"<a href='tunesmith/data/examples/{name}' download>{one.title} ({name.rpartition('.')[2].upper()})</a>"
            for name, one in FILES.items()
            if one.use == use
        )
        lines.append(f"<dt>{use}</dt><dd>{named}</dd>")
    return f"<dl class='ts-example-files'>{''.join(lines)}</dl>"
