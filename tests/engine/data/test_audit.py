from __future__ import annotations

from typing import Any

import pytest

from engine.data import personal
from engine.data.audit import Finding, audit, label_counts
from engine.data.example import Example
from engine.texts.tokens import Encoded


def labelled(*pairs: tuple[str, str], **fields: Any) -> list[Example]:
    return [Example(number, text=text, label=label, **fields) for number, (text, label) in enumerate(pairs, start=1)]


def chat(*contents: str, row: int = 1) -> Example:
    roles = ("user", "assistant")
    return Example(row, messages=[{"role": roles[index % 2], "content": text} for index, text in enumerate(contents)])


def found(examples: list[Example], name: str) -> Finding | None:
    return next((finding for finding in audit(examples) if finding.name == name), None)


FILL = [(f"Text {number}", "ab"[number % 2]) for number in range(20)]


def test_clean_rows_have_no_findings() -> None:
    assert audit(labelled(*FILL)) == []


def test_no_rows_have_no_findings() -> None:
    assert audit([]) == []


def test_repeated_rows_are_counted_without_the_first() -> None:
    finding = found(labelled(*FILL, ("text 0 ", "a"), ("Text 0.", "a")), "duplicates")
    assert finding is not None
    assert (finding.count, finding.rows) == (2, [21, 22])


def test_equal_texts_with_different_labels_are_counted() -> None:
    finding = found(labelled(*FILL, ("Text 0", "b")), "conflicts")
    assert finding is not None
    assert (finding.count, finding.rows) == (2, [1, 21])
    assert "1 text)" in finding.title


def test_free_answers_to_one_question_are_no_conflict() -> None:
    assert found([chat("Hi", "Hello"), chat("Hi", "Good day", row=2)], "conflicts") is None


def test_labels_that_differ_by_spelling_alone_are_counted_as_the_rarer_one() -> None:
    finding = found(labelled(*FILL, ("x", " A "), ("y", "B")), "near labels")
    assert finding is not None
    assert (finding.count, finding.rows) == (2, [21, 22])
    assert "' A ' for 'a'" in finding.help


def test_rare_labels_are_named() -> None:
    finding = found(labelled(*FILL, ("x", "c")), "rare labels")
    assert finding is not None
    assert (finding.count, finding.rows) == (1, [21])
    assert "'c'" in finding.help


def test_uneven_labels_are_mentioned() -> None:
    rows = [(f"Text {number}", "ham" if number < 100 else "spam") for number in range(105)]
    finding = found(labelled(*rows), "uneven labels")
    assert finding is not None
    assert finding.level == "info"
    assert "'Class weights'" in finding.help


def test_held_out_labels_without_training_rows_are_named() -> None:
    examples = [*labelled(*FILL), Example(21, "test", text="x", label="c")]
    finding = found(examples, "unseen labels")
    assert finding is not None
    assert finding.rows == [21]


def test_held_out_rows_that_are_learned_too_are_counted() -> None:
    examples = [*labelled(*FILL), Example(21, "test", text="TEXT 3", label="b")]
    finding = found(examples, "leaks")
    assert finding is not None
    assert finding.rows == [21]


def test_few_row_numbers_are_written_down_but_the_count_is_true() -> None:
    finding = found(labelled(*[("same", "a")] * 150, *FILL), "duplicates")
    assert finding is not None
    assert (finding.count, len(finding.rows), len(finding.as_dict()["rows"])) == (149, 149, 100)


def test_conversations_that_repeat_their_answer_are_found() -> None:
    finding = found([chat("One?", "Sorry.", "Two?", "Sorry.", "Three?", "Sorry.")], "repeated turns")
    assert finding is not None
    assert finding.rows == [1]


def test_long_rows_are_counted_in_characters_without_a_tokenizer() -> None:
    finding = found([chat("Hi", "long " * 1000), chat("Hi", "Hello", row=2)], "long rows")
    assert finding is not None
    assert (finding.count, finding.rows) == (1, [1])


def test_truncated_rows_and_rows_without_learned_tokens_are_counted_with_a_tokenizer() -> None:
    def encode(example: Example) -> Encoded:
        words = " ".join(message["content"] for message in example.messages).split()
        kept = words[:4]
        asked = len(example.messages[0]["content"].split())
        return Encoded(list(range(len(kept))), [index >= asked for index in range(len(kept))], len(words))

    examples = [chat("one two", "three"), chat("one two three", "four five", row=2), chat("a b c d e", "f", row=3)]
    findings = {finding.name: finding for finding in audit(examples, encode)}
    assert findings["truncated"].rows == [2, 3]
    assert findings["nothing learned"].rows == [3]
    assert "the longest 6" in findings["truncated"].help


def test_labels_are_counted_most_first() -> None:
    assert list(label_counts(labelled(*FILL, ("x", "b"))).items()) == [("b", 11), ("a", 10)]


def test_free_answers_have_no_label_counts() -> None:
    assert label_counts([chat("Hi", f"Answer {number}", row=number) for number in range(9)]) == {}


# --- personal data


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Write to anna.b+c@mail.example.org.", ["emails"]),
        ("Call +44 20 7946 0958 now", ["phones"]),
        ("Call (555) 123-4567 or 555-123-4567", ["phones"]),
        ("Pay to DE89 3704 0044 0532 0130 00 please", ["ibans"]),
        ("My card is 4111 1111 1111 1111", ["cards"]),
        ("From 8.8.8.8 and 2606:4700:4700::1111", ["addresses"]),
        ("Card 4111-1111-1111-1111, a@b.org", ["emails", "cards"]),
    ],
)
def test_personal_data_is_seen(text: str, kinds: list[str]) -> None:
    assert personal.kinds(text) == kinds


@pytest.mark.parametrize(
    "text",
    [
        "Order 4111 1111 1111 1112",
        "GB82 WEST 1234 5698 7654 33",
        "Version 1.2.3.4.5, at 12:30:45 on 2024-01-02",
        "Open 0900-0130, 1,250,000 rows, 0.123456789",
        "From 192.168.0.1 to 127.0.0.1",
        "him@home and a @ b",
        "Pi is 3.14159265358979",
    ],
)
def test_ordinary_numbers_are_no_personal_data(text: str) -> None:
    assert personal.kinds(text) == []


def test_rows_with_personal_data_are_counted() -> None:
    finding = found(labelled(*FILL, ("Mail a@b.org and c@d.org", "a")), "emails")
    assert finding is not None
    assert (finding.count, finding.rows) == (1, [21])
