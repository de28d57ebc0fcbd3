from __future__ import annotations

from typing import Any

import pytest

from engine.data import formats, table
from engine.data.rows import Table


def made(*rows: dict[str, Any]) -> Table:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return Table(columns, list(rows), [f"row {number}" for number in range(1, len(rows) + 1)])


def many(count: int = 12, **columns: Any) -> Table:
    """Rows in which each value is made by its column's function of the row's number."""
    return made(*({name: make(number) for name, make in columns.items()} for number in range(count)))


def sentence(number: int) -> str:
    return f"This is the sentence with the number {number}."


def few(number: int) -> str:
    return ("ham", "spam")[number % 2]


OPENAI = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
SHARED = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]


@pytest.mark.parametrize(
    ("found", "format", "columns"),
    [
        (made({"messages": OPENAI}), "chat", {"messages": "messages"}),
        (made({"id": "1", "chat": OPENAI, "tools": "[]"}), "chat", {"messages": "chat", "tools": "tools"}),
        (made({"messages": str(OPENAI).replace("'", '"')}), "chat", {"messages": "messages"}),
        (
            made({"conversations": SHARED, "system": "Be kind."}),
            "sharegpt",
            {"conversations": "conversations", "system": "system"},
        ),
        (
            many(instruction=sentence, input=sentence, output=sentence),
            "alpaca",
            {"instruction": "instruction", "input": "input", "output": "output"},
        ),
        (
            many(instruction=sentence, context=sentence, response=sentence, category=few),
            "alpaca",
            {"instruction": "instruction", "input": "context", "output": "response"},
        ),
        (
            many(context=sentence, question=sentence, answer=sentence),
            "alpaca",
            {"instruction": "question", "input": "context", "output": "answer"},
        ),
        (
            made({"instruction": "Add.", "instances": [{"input": "1 1", "output": "2"}]}),
            "alpaca",
            {"instruction": "instruction", "instances": "instances"},
        ),
        (many(question=sentence, answer=sentence), "prompt-completion", {"prompt": "question", "completion": "answer"}),
        (many(Query=sentence, Response=sentence), "prompt-completion", {"prompt": "Query", "completion": "Response"}),
        (many(prompt=sentence, answer=few), "prompt-completion", {"prompt": "prompt", "completion": "answer"}),
        (many(text=sentence, summary=sentence), "prompt-completion", {"prompt": "text", "completion": "summary"}),
        (many(en=sentence, de=sentence), "prompt-completion", {"prompt": "en", "completion": "de"}),
        (
            made({"prompt": OPENAI[:1], "completion": OPENAI[1:]}),
            "prompt-completion",
            {"prompt": "prompt", "completion": "completion"},
        ),
        (
            many(prompt=sentence, completion=sentence, label=lambda number: number % 2 == 0),
            "prompt-completion",
            {"prompt": "prompt", "completion": "completion"},
        ),
        (many(text=sentence, category=few), "labelled", {"text": "text", "label": "category"}),
        (many(text=sentence, label=lambda number: number % 3), "labelled", {"text": "text", "label": "label"}),
        (
            many(text=sentence, label=lambda number: number % 2, label_text=few),
            "labelled",
            {"text": "text", "label": "label_text"},
        ),
        (many(review=sentence, rating=lambda number: number % 5), "labelled", {"text": "review", "label": "rating"}),
        (many(text=sentence, target=few), "labelled", {"text": "text", "label": "target"}),
        (many(column_1=few, column_2=sentence), "labelled", {"text": "column_2", "label": "column_1"}),
        (
            made({"message": "Hi", "intent": "greet"}, {"message": "Ho", "intent": "leave"}),
            "labelled",
            {"text": "message", "label": "intent"},
        ),
        (many(text=sentence), "text", {"text": "text"}),
        (made({"a": 1, "b": 2.5}), "unknown", {}),
        (many(a=sentence, b=sentence, c=sentence), "unknown", {}),
        (made({"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}), "preferences", {}),
    ],
)
def test_a_format_is_recognised_by_names_and_contents(found: Table, format: str, columns: dict[str, str]) -> None:
    guess = formats.recognise(found)
    assert (guess.format, guess.columns) == (format, columns)
    assert guess.why


def test_other_readings_are_offered() -> None:
    assert formats.recognise(many(prompt=sentence, answer=sentence, label=few)).alternatives == ["labelled"]


def test_columns_that_a_person_chose_are_kept_and_the_rest_is_guessed() -> None:
    found = many(title=sentence, text=sentence, kind=few)
    guess = formats.recognise(found, {"label": "kind"})
    assert (guess.format, guess.columns) == ("labelled", {"text": "text", "label": "kind"})


def test_a_chosen_format_is_followed() -> None:
    found = many(text=sentence, summary=sentence, category=few)
    assert formats.recognise(found, {}, "labelled").columns == {"text": "text", "label": "category"}
    assert formats.recognise(found, {}, "prompt-completion").columns == {"prompt": "text", "completion": "summary"}


def test_chat_and_sharegpt_serve_each_other() -> None:
    assert formats.recognise(made({"messages": SHARED}), {}, "chat").format == "sharegpt"


def test_columns_of_text_are_offered_for_choice() -> None:
    assert formats.choices(made({"text": "a", "number": 1, "parts": ["a", "b"]})) == ["text", "parts"]


def test_the_shipped_sample_is_labelled() -> None:
    assert formats.recognise(table.read("sample:banking-intents")).columns == {"text": "text", "label": "intent"}
