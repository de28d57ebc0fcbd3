from __future__ import annotations

from typing import Any

import pytest

from engine.data import example
from engine.data.examples import Built, build
from engine.data.rows import Table, UnusableRows
from engine.errors import DataError
from engine.method import Wants
from engine.specs.sections import Data


def built(*rows: dict[str, Any], wants: Wants = "messages", **settings: Any) -> Built:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    places = [f"line {number}" for number in range(2, len(rows) + 2)]
    return build(Table(columns, list(rows), places, source="data.csv"), Data(source="data.csv", **settings), wants)


def turns(found: Built, index: int = 0) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in found.examples[index].messages]


def told(found: Built) -> list[str]:
    return [str(problem) for problem in found.problems]


def chat(*contents: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in contents]}


GOOD = chat(("user", "Hi"), ("assistant", "Hello"))
PAIR = {"prompt": "Hi", "completion": "Hello"}
LABELLED = [{"text": f"Text {number}", "label": ("a", "b")[number % 2]} for number in range(4)]


# --- formats


def test_alpaca_puts_the_input_under_the_instruction() -> None:
    found = built(
        {"instruction": "Add.", "input": "1 + 1", "output": "2"}, {"instruction": "Greet.", "input": "", "output": "Hi"}
    )
    assert turns(found) == [("user", "Add.\n\n1 + 1"), ("assistant", "2")]
    assert turns(found, 1) == [("user", "Greet."), ("assistant", "Hi")]


def test_each_instance_of_an_instruction_is_an_example_of_its_row() -> None:
    instances = [{"input": "1 1", "output": "2"}, {"input": "", "output": "3"}]
    found = built({"instruction": "Add.", "instances": instances})
    assert [item.row for item in found.examples] == [1, 1]
    assert [turns(found, index)[0][1] for index in range(2)] == ["Add.\n\n1 1", "Add."]


def test_sharegpt_turns_get_usual_roles() -> None:
    conversation = [
        {"from": "system", "value": "Be kind."},
        {"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "Hello"},
    ]
    assert turns(built({"conversations": conversation})) == [
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", "Hello"),
    ]


def test_sharegpt_tool_calls_are_learned_as_tagged_json() -> None:
    conversation = [
        {"from": "human", "value": "Area?"},
        {"from": "function_call", "value": '{"name": "area", "arguments": {}}'},
        {"from": "observation", "value": "15"},
        {"from": "gpt", "value": "It is 15."},
    ]
    found = built({"conversations": conversation, "tools": '[{"name": "area", "parameters": {}}]'})
    assert turns(found)[1] == ("assistant", '<tool_call>\n{"name": "area", "arguments": {}}\n</tool_call>')
    assert turns(found)[2] == ("tool", "15")
    assert found.examples[0].tools == [{"type": "function", "function": {"name": "area", "parameters": {}}}]
    assert any("<tool_call>" in notice for notice in found.notices)


def test_openai_tool_calls_are_learned_like_those_of_sharegpt() -> None:
    call = {"type": "function", "function": {"name": "area", "arguments": '{"side": 2}'}}
    row = chat(("user", "Area?"), ("assistant", None), ("tool", "4"), ("assistant", "It is 4."))
    row["messages"][1]["tool_calls"] = [call]
    assert turns(built(row))[1][1] == '<tool_call>\n{"name": "area", "arguments": {"side": 2}}\n</tool_call>'


def test_texts_in_parts_are_joined_and_pictures_refused() -> None:
    text = {"type": "text", "text": "Hi"}
    found = built(
        chat(("user", [text]), ("assistant", "Hello")),
        chat(("user", [text, {"type": "image_url"}]), ("assistant", "A cat.")),
    )
    assert turns(found)[0] == ("user", "Hi")
    assert told(found) == ["Row 2 (line 3): Turn 1 holds more than text (pictures or sound)."]


def test_prompts_and_completions_may_be_turns() -> None:
    found = built(
        {"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": "Hello"}]}
    )
    assert turns(found) == [("user", "Hi"), ("assistant", "Hello")]


def test_a_labelled_text_becomes_a_question_with_the_label_as_answer() -> None:
    assert turns(built(*LABELLED)) == [("user", "Text 0"), ("assistant", "a")]


def test_a_labelled_text_stays_one_where_labels_are_wanted() -> None:
    first = built(*LABELLED, wants="labelled").examples[0]
    assert (first.text, first.label, first.messages) == ("Text 0", "a", [])


def test_pairs_with_few_answers_can_be_classified() -> None:
    rows = [{"prompt": f"Text {number}", "completion": ("yes", "no")[number % 2]} for number in range(4)]
    assert built(*rows, wants="labelled").examples[1].label == "no"


def test_plain_text_is_refused_where_answers_are_wanted() -> None:
    with pytest.raises(DataError, match="plain text without answers"):
        built({"text": "Once upon a time"})


# --- templates, system messages, columns


def test_a_template_is_filled_with_columns_or_parts() -> None:
    found = built(*LABELLED, prompt="Classify {{a or b}}: {text}")
    assert turns(found)[0] == ("user", "Classify {a or b}: Text 0")


def test_a_part_is_found_by_its_role_where_no_column_has_the_name() -> None:
    rows = [{"message": f"Text {number}", "intent": "xy"[number % 2]} for number in range(4)]
    assert turns(built(*rows, prompt="Say: {text}"))[0] == ("user", "Say: Text 0")


def test_a_column_that_the_template_leaves_out_is_said_to_be_unused() -> None:
    rows = [{"text": f"Text {number}", "title": "T", "label": "xy"[number % 2]} for number in range(4)]
    assert built(*rows, prompt="Say: {title}").notices == ["Columns not used: text."]


def test_several_columns_can_stand_in_a_template() -> None:
    rows = [{"first": f"A {number}", "second": f"B {number}", "label": "xy"[number % 2]} for number in range(4)]
    found = built(*rows, wants="labelled", prompt="{first} / {second}")
    assert found.examples[1].text == "A 1 / B 1"
    assert found.notices == []


def test_braces_in_the_data_stay_as_they_are() -> None:
    rows = [{"text": "I am {{name}} {text}", "label": "a"}, {"text": "{label}", "label": "b"}]
    found = built(*rows, prompt="Say: {text}")
    assert [turns(found, index)[0][1] for index in range(2)] == ["Say: I am {{name}} {text}", "Say: {label}"]


def test_an_unknown_name_in_a_template_lists_the_columns() -> None:
    with pytest.raises(DataError, match=r"asks for \{texte\}: .*Did you mean 'text'\? Its columns are text, label"):
        built(*LABELLED, prompt="Say: {texte}")


def test_a_template_without_a_column_is_refused() -> None:
    with pytest.raises(DataError, match="names no column"):
        built(*LABELLED, prompt="Classify this.")


def test_a_template_goes_not_with_conversations() -> None:
    with pytest.raises(DataError, match="can't be used with conversations"):
        built(GOOD, prompt="{messages}")


def test_the_system_message_stands_first_where_there_is_none() -> None:
    own = chat(("system", "Own."), ("user", "Hi"), ("assistant", "Hello"))
    found = built(GOOD, own, system="Given.")
    assert [turns(found, index)[0] for index in range(2)] == [("system", "Given."), ("system", "Own.")]


def test_a_system_column_goes_before_the_given_one() -> None:
    found = built({**PAIR, "system": "Column."}, {**PAIR, "system": ""}, system="Given.")
    assert [turns(found, index)[0][1] for index in range(2)] == ["Column.", "Given."]


def test_an_unknown_column_lists_the_columns() -> None:
    with pytest.raises(
        DataError, match=r"data\.csv has no column 'lable'\. Did you mean 'label'\? Its columns are text, label"
    ):
        built(*LABELLED, columns={"label": "lable"})


def test_an_unknown_part_lists_the_parts() -> None:
    with pytest.raises(DataError, match="no part called 'class'"):
        built(*LABELLED, columns={"class": "label"})


def test_columns_that_are_not_used_are_said() -> None:
    assert built({**PAIR, "source": "x"}).notices == ["Columns not used: source."]


def test_ratings_beside_conversations_are_pointed_out() -> None:
    found = built({**GOOD, "label": True}, {**GOOD, "label": False})
    assert any("1 row marked false is learned like the others" in notice for notice in found.notices)


# --- values


def test_texts_are_kept_exactly() -> None:
    assert turns(built({"prompt": "  Hi\r\n", "completion": "\tHello "})) == [
        ("user", "  Hi\r\n"),
        ("assistant", "\tHello "),
    ]


def test_numbers_are_used_as_they_are_written_and_said() -> None:
    found = built(*({"text": f"Text {number}", "label": number % 2} for number in range(4)), wants="labelled")
    assert [item.label for item in found.examples] == ["0", "1", "0", "1"]
    assert found.notices == ["4 values of 'label' were no text and are used as they are written."]


def test_lists_of_sentences_are_joined_and_the_first_of_several_answers_is_used() -> None:
    found = built({"source": ["One.", "Two."], "target": ["Short.", "Shorter."]})
    assert turns(found) == [("user", "One. Two."), ("assistant", "Short.")]
    assert found.notices == [
        "1 row has a list of texts in 'source': joined with spaces.",
        "1 row has several answers in 'target': the first is used.",
    ]


@pytest.mark.parametrize("value", [None, "", "  \n", [], float("nan")])
def test_an_empty_answer_is_a_problem(value: Any) -> None:
    assert told(built(PAIR, {"prompt": "Hi", "completion": value})) == [
        'Row 2 (line 3): The column "completion" is empty.'
    ]


def test_an_object_is_no_text() -> None:
    assert told(built(PAIR, {"prompt": {"a": 1}, "completion": "x"})) == [
        'Row 2 (line 3): The column "prompt" holds an object, not text.'
    ]


def test_half_an_emoji_is_a_problem_because_it_cannot_be_saved() -> None:
    assert told(built(PAIR, {"prompt": "Hi \ud83d", "completion": "x"})) == [
        "Row 2 (line 3): A text holds half a character (a broken emoji)."
    ]


def test_examples_survive_saving(tmp_path: Any) -> None:
    found = built(GOOD, chat(("user", "a\u2028b\r\n\x85"), ("assistant", "ä"))).examples
    example.save(found, tmp_path / "examples.jsonl")
    assert example.load(tmp_path / "examples.jsonl") == found


# --- conversations that can't be used


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (chat(("system", "Be kind."), ("assistant", "Hi")), "The conversation has no turn of a user."),
        (chat(("user", "Hi")), "The conversation has no answer of the assistant."),
        (chat(("user", "Hi"), ("assistant", " ")), "Turn 2 (assistant) is empty."),
        (chat(("user", "Hi"), ("user", "Ho"), ("assistant", "He")), "Turn 2 is out of order: user after user."),
        (chat(("assistant", "He"), ("user", "Hi")), "Turn 1 is out of order: assistant after start."),
        (chat(("user", "Hi"), ("assistant", "He"), ("system", "x")), "Turn 3 is out of order: system after assistant."),
        (chat(("user", "Hi"), ("narrator", "He")), "Turn 2 has the unknown role 'narrator'."),
        (chat(("user", "Hi"), ("assistant", 5)), "The text of turn 2 is int, not text."),
        ({"messages": []}, "The conversation has no turn of a user."),
        ({"messages": None}, 'The column "messages" holds no list of turns.'),
        ({"messages": [{"role": "user", "content": "Hi"}, "Hello"]}, "Turn 2 is no object with a role and a text."),
    ],
)
def test_a_conversation_that_cannot_be_learned_is_named(row: dict[str, Any], problem: str) -> None:
    assert told(built(GOOD, row)) == [f"Row 2 (line 3): {problem}"]


def test_a_conversation_that_ends_with_a_question_is_kept_and_said() -> None:
    found = built(chat(("user", "Hi"), ("assistant", "Hello"), ("user", "And?")))
    assert found.examples[0].answer == "Hello"
    assert "1 conversation ends without an answer" in found.notices[0]


def test_settings_of_turns_that_are_not_used_are_said() -> None:
    row = chat(("user", "Hi"), ("assistant", "Hello"))
    row["messages"][1]["weight"] = 0
    assert built(row).notices == ["'weight' of 1 turn is not used."]


def test_no_usable_row_is_an_error_with_the_first_reason() -> None:
    with pytest.raises(UnusableRows, match=r"No row of data\.csv can be used\. Row 1 \(line 2\): Turn 2"):
        built(chat(("user", "Hi"), ("assistant", "")))


# --- the source's own splits


def test_a_split_column_divides_the_rows() -> None:
    rows = [{**PAIR, "split": name} for name in ("train", "test", "dev")]
    found = built(*rows)
    assert found.divided
    assert [item.split for item in found.examples] == ["train", "test", "validation"]
    assert "The rows are divided by the column 'split': 1 train, 1 validation, 1 test." in found.notices


def test_a_column_that_only_is_called_split_divides_nothing() -> None:
    assert not built({**PAIR, "split": "banana"}, {**PAIR, "split": "train"}).divided
