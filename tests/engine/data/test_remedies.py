"""Each remedy: what it changes, what it leaves alone, and what the new version remembers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from engine.__main__ import main
from engine.data import history, personal, remedies, report, table, versions
from engine.data.prepare import prepare
from engine.errors import DataError
from engine.specs.sections import Data, Split

MESSY = Path(__file__).parents[2] / "data" / "messy"


def csv(folder: Path, *rows: str, head: str = "text,label") -> Path:
    path = folder / "rows.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def jsonl(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def talk(*turns: tuple[str, str], keys: tuple[str, str] = ("role", "content")) -> list[dict[str, str]]:
    return [dict(zip(keys, turn, strict=True)) for turn in turns]


GOOD = [{"messages": talk(("user", f"Question {number}?"), ("assistant", f"Answer {number}."))} for number in range(12)]
FILL = [f"Text {number},{'ab'[number % 2]}" for number in range(20)]


def mended(path: Path, *names: str) -> table.Table:
    return table.read(versions.mend(Data(source=str(path)), list(names), path.parent))


def findings(source: Path | str) -> dict[str, int]:
    return {finding["name"]: finding["count"] for finding in report.check(str(source))["findings"]}


# --- each remedy


def test_of_equal_rows_the_first_is_kept(tmp_path: Path) -> None:
    rows = mended(csv(tmp_path, *FILL, "text 0 ,a", "Text 0.,a", "Text 1,b"), "drop-duplicates").rows
    assert [row["text"] for row in rows] == [f"Text {number}" for number in range(20)]


def test_all_rows_of_a_text_with_several_labels_are_dropped(tmp_path: Path) -> None:
    path = csv(tmp_path, *FILL, "Text 0,b")
    rows = mended(path, "drop-conflicts").rows
    assert [row["text"] for row in rows] == [f"Text {number}" for number in range(1, 20)]


def test_labels_take_their_most_frequent_spelling_without_spaces(tmp_path: Path) -> None:
    path = csv(tmp_path, *FILL, "x,A", "y,' b'".replace("'", '"'), "z,B")
    rows = mended(path, "unify-labels").rows
    assert [row["label"] for row in rows[20:]] == ["a", "b", "b"]


def test_answers_of_conversations_are_unified_where_they_are_classes(tmp_path: Path) -> None:
    rows = [{"messages": talk(("user", f"Text {n}"), ("assistant", "yes" if n % 2 else "no"))} for n in range(20)]
    rows.append({"messages": talk(("user", "Text 20"), ("assistant", "Yes"))})
    assert mended(jsonl(tmp_path, *rows), "unify-labels").rows[20]["messages"][1]["content"] == "yes"


def test_rows_of_rare_labels_are_dropped(tmp_path: Path) -> None:
    assert len(mended(csv(tmp_path, *FILL, "x,c"), "drop-rare-labels").rows) == 20


def test_unknown_speakers_and_turns_of_one_speaker_are_put_in_order(tmp_path: Path) -> None:
    keys = ("from", "value")
    odd = talk(
        ("client", "Hi."), ("Client", "Are you there?"), ("chatbot", "Yes."), ("gpt", "How may I help?"), keys=keys
    )
    rows = [{"conversations": talk(("human", f"Q{n}"), ("gpt", f"A{n}"), keys=keys)} for n in range(10)]
    path = jsonl(tmp_path, *rows, {"conversations": odd})
    turns = mended(path, "fix-roles").rows[10]["conversations"]
    assert turns == talk(("user", "Hi.\n\nAre you there?"), ("assistant", "Yes.\n\nHow may I help?"), keys=keys)
    assert mended(path, "fix-roles").rows[:10] == rows


def test_an_answer_before_the_first_question_is_left_out(tmp_path: Path) -> None:
    greeting = talk(("system", "Be kind."), ("assistant", "Hello!"), ("user", "Hi"), ("assistant", "How are you?"))
    turns = mended(jsonl(tmp_path, *GOOD, {"messages": greeting}), "fix-roles").rows[12]["messages"]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant"]


def test_turns_in_json_text_stay_json_text(tmp_path: Path) -> None:
    odd = talk(("user", 'Say "hi"'), ("user", "or\nho"), ("assistant", "hi"))
    texts = [{"messages": json.dumps(row["messages"])} for row in GOOD]
    cell = mended(jsonl(tmp_path, *texts, {"messages": json.dumps(odd)}), "fix-roles").rows[12]["messages"]
    assert json.loads(cell) == talk(("user", 'Say "hi"\n\nor\nho'), ("assistant", "hi"))


def test_a_question_goes_with_its_empty_answer() -> None:
    path = MESSY / "sharegpt_empty_assistant_turn.json"
    entry = report.inspect(Data(source=str(path))).case
    before = entry.table.rows[0]["conversations"]
    after = remedies.get("strip-empty").act(entry).table.rows[0]["conversations"]
    assert after == before[2:]


def test_answers_around_an_empty_question_are_joined(tmp_path: Path) -> None:
    odd = talk(("user", "Tell a story"), ("assistant", "Once."), ("user", " "), ("assistant", "The end."))
    turns = mended(jsonl(tmp_path, *GOOD, {"messages": odd}), "strip-empty").rows[12]["messages"]
    assert turns == talk(("user", "Tell a story"), ("assistant", "Once.\n\nThe end."))


def test_personal_data_is_masked_in_the_columns_that_are_used(tmp_path: Path) -> None:
    path = csv(
        tmp_path, *[f"{row},x" for row in FILL], "Mail a@b.org or +44 20 7946 0958,a,c@d.org", head="text,label,by"
    )
    row = mended(path, "mask-personal").rows[20]
    assert row == {"text": "Mail [EMAIL] or [PHONE]", "label": "a", "by": "c@d.org"}


def test_personal_data_in_turns_is_masked(tmp_path: Path) -> None:
    odd = talk(("user", "Write to a@b.org"), ("assistant", "a@b.org it is."))
    turns = mended(jsonl(tmp_path, *GOOD, {"messages": odd}), "mask-personal").rows[12]["messages"]
    assert turns == talk(("user", "Write to [EMAIL]"), ("assistant", "[EMAIL] it is."))


@pytest.mark.parametrize(
    "text",
    [
        "Write to anna.b+c@mail.example.org.",
        "Call (555) 123-4567 or +44 20 7946 0958",
        "Pay to DE89 3704 0044 0532 0130 00 with 4111 1111 1111 1111",
        "From 8.8.8.8 and 2606:4700:4700::1111",
    ],
)
def test_nothing_personal_is_found_in_what_was_masked(text: str) -> None:
    assert personal.kinds(text) and not personal.kinds(personal.masked(text))


def test_ordinary_numbers_are_not_masked() -> None:
    text = "Order 4111 1111 1111 1112 from 192.168.0.1 at 12:30:45, him@home"
    assert personal.masked(text) == text


def test_held_out_rows_that_are_learned_too_move_to_one_side(tmp_path: Path) -> None:
    rows = [f"{row},train" for row in FILL] + ["text 3,b,test", *[f"New {n},{'ab'[n % 2]},test" for n in range(6)]]
    path = csv(tmp_path, *rows, head="text,label,split")
    assert findings(path)["leaks"] == 1
    version = mended(path, "re-split")
    assert [row["split"] for row in version.rows] == ["train"] * 21 + ["test"] * 6


def test_parts_of_a_file_become_a_column_of_its_version(tmp_path: Path) -> None:
    parts = {
        "train": [[f"Text {n}", "ab"[n % 2]] for n in range(20)],
        "test": [["text 3", "b"], *[[f"New {n}", "ab"[n % 2]] for n in range(6)]],
    }
    path = tmp_path / "parts.json"
    path.write_text(json.dumps(parts), encoding="utf-8")
    assert findings(path)["leaks"] == 1
    version = versions.mend(Data(source=str(path)), ["re-split"], tmp_path)
    assert "leaks" not in findings(version)
    told = prepare([Data(source=str(version), split=Split(test=0, validation=0))], "messages", 42)
    assert told.counts() == {"train": 21, "validation": 0, "test": 6}


def test_rows_with_problems_are_left_out_the_unreadable_too(tmp_path: Path) -> None:
    path = csv(tmp_path, *FILL, "only one cell", ",a")
    version = mended(path, "drop-problems")
    assert len(version.rows) == 20 and not report.check(str(path.parent / version.source))["problems"]


def test_long_rows_are_dropped(tmp_path: Path) -> None:
    assert len(mended(csv(tmp_path, *FILL, f"{'long ' * 1000},a"), "drop-long").rows) == 20


def test_a_row_of_several_examples_is_not_dropped_for_one_that_repeats(tmp_path: Path) -> None:
    def task(*inputs: str) -> dict[str, Any]:
        return {"instruction": "Add", "instances": [{"input": text, "output": f"{text}!"} for text in inputs]}

    path = jsonl(tmp_path, *[task(f"{n}", f"{n}+1") for n in range(10, 30)], task("10", "new"))
    with pytest.raises(DataError, match="nothing here that this mends"):
        versions.mend(Data(source=str(path)), ["drop-duplicates"], tmp_path)


# --- all of them


@pytest.mark.parametrize("name", sorted(path.name for path in MESSY.iterdir()))
def test_what_is_offered_for_a_messy_file_mends_it_and_leaves_the_file_as_it_was(name: str, tmp_path: Path) -> None:
    path = MESSY / name
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        seen = report.check(str(path))
    except DataError:
        return
    offered = [(item["name"], remedy) for item in seen["findings"] for remedy in item["remedies"]]
    for finding, remedy in offered:
        version = versions.mend(Data(source=str(path)), [remedy], tmp_path)
        assert finding not in findings(version)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_every_remedy_has_words_and_something_that_it_answers() -> None:
    for remedy in remedies.REMEDIES:
        assert remedy.title and remedy.help.endswith(".")
        assert remedy.findings or remedy.problems or remedy.name == remedies.DROP_PROBLEMS


def test_an_unknown_remedy_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"Did you mean drop-duplicates\? The remedies are drop-duplicates, "):
        remedies.get("drop-duplicate")


# --- versions


def test_a_version_remembers_where_it_came_from(tmp_path: Path) -> None:
    path = csv(tmp_path, *FILL, "Text 0,a", "x,A")
    version = versions.mend(Data(source=str(path)), ["drop-duplicates", "unify-labels"], tmp_path)
    made = history.read(str(version))
    assert made is not None
    assert str(made) == "Made from rows.csv: 1 repeat dropped, then 1 label written alike."
    assert [(step.remedy, step.rows_before, step.rows_after) for step in made.steps] == [
        ("drop-duplicates", 22, 21),
        ("unify-labels", 21, 21),
    ]
    assert made.steps[0].removed == [21] and made.steps[1].changed == [21]


def test_undo_goes_back_step_by_step(tmp_path: Path) -> None:
    path = csv(tmp_path, *FILL, "Text 0,a", "x,A")
    version = versions.mend(Data(source=str(path)), ["drop-duplicates", "unify-labels"], tmp_path)
    between = versions.undo(str(version))
    assert len(table.read(between).rows) == 21
    assert versions.undo(between) == str(path)
    with pytest.raises(DataError, match="nothing to undo"):
        versions.undo(str(path))


def test_a_run_on_a_version_says_how_it_was_made(tmp_path: Path) -> None:
    path = csv(tmp_path, *FILL, "Text 0,a")
    version = versions.mend(Data(source=str(path)), ["drop-duplicates"], tmp_path)
    notices = prepare([Data(source=str(version))], "messages", 42).notices
    assert notices[0] == "Made from rows.csv: 1 repeat dropped."


def test_rows_that_could_not_be_read_are_told_when_a_version_leaves_them_behind(tmp_path: Path) -> None:
    path = csv(tmp_path, *FILL, "Text 0,a", "only one cell")
    version = versions.mend(Data(source=str(path)), ["drop-duplicates"], tmp_path)
    made = history.read(str(version))
    assert made is not None
    assert made.steps[0].told == "1 repeat dropped, 1 row that could not be read left out"
    assert made.steps[0].removed == [21, 22]


def test_texts_keep_every_character_in_a_version(tmp_path: Path) -> None:
    odd = ["007", " NA ", "line\u2028end", 'a "quote"', "émoji 🎉"]
    rows = [{"text": text, "label": "ab"[n % 2]} for n, text in enumerate([*odd, *[f"T{n}" for n in range(16)]])]
    path = jsonl(tmp_path, *rows, {"text": "T0", "label": "b"})
    assert [row["text"] for row in mended(path, "drop-duplicates").rows[: len(odd)]] == odd


def test_a_remedy_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    path = MESSY / "sharegpt_empty_assistant_turn.json"
    with pytest.raises(DataError, match="No row would be left"):
        versions.mend(Data(source=str(path)), ["drop-problems"], tmp_path)
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize("content", ["", "[]", '{"parent": "x"}', '{"parent": 1, "title": 2, "steps": [{"a": 1}]}'])
def test_a_damaged_history_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.jsonl").write_text("{}", encoding="utf-8")
    (tmp_path / f"a.jsonl{history.SUFFIX}").write_text(content, encoding="utf-8")
    assert history.read(str(tmp_path / "a.jsonl")) is None


# --- the rows of a finding


def test_a_finding_opens_all_of_its_rows_page_by_page(tmp_path: Path) -> None:
    path = csv(tmp_path, *FILL, *["Text 0,a"] * 150)
    seen = report.inspect(Data(source=str(path)))
    first, last = seen.rows("duplicates"), seen.rows("duplicates", 140)
    assert (first["count"], len(first["rows"]), len(last["rows"])) == (150, report.ROWS_AT_ONCE, 10)
    assert first["rows"][0] == {
        "row": 21,
        "place": "line 22",
        "cells": [["text", "Text 0"], ["label", "a"]],
        "note": "",
    }


def test_rows_with_problems_say_what_is_wrong_with_each(tmp_path: Path) -> None:
    odd = [talk(("user", "a"), ("assistant", "b"), ("user", "c"), ("user", "d"), ("assistant", "e"))]
    odd.append(talk(("user", "a"), ("user", "b"), ("assistant", "c")))
    path = jsonl(tmp_path, *GOOD, *[{"messages": turns} for turns in odd])
    seen = report.inspect(Data(source=str(path)))
    (group,) = seen.report["problems"]
    assert (group["problem"], group["count"]) == ("Turn … is out of order: user after user.", 2)
    notes = [row["note"] for row in seen.rows(group["name"])["rows"]]
    assert notes == ["Turn 4 is out of order: user after user.", "Turn 2 is out of order: user after user."]
    assert "user: a\nassistant: b" in seen.rows(group["name"])["rows"][0]["cells"][0][1]


def test_rows_of_an_unknown_finding_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such finding"):
        report.inspect(Data(source=str(csv(tmp_path, *FILL)))).rows("duplicates of nothing")


# --- the command line


def test_the_command_makes_a_version_and_prints_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = csv(tmp_path, *FILL, "Text 0,a", "x,A")
    code = main(
        ["mend", str(path), "--with", "drop-duplicates", "--with", "unify-labels", "--to", str(tmp_path / "new")]
    )
    told, written = capsys.readouterr().out.splitlines()
    assert (code, told) == (0, "Made from rows.csv: 1 repeat dropped, then 1 label written alike.")
    assert len(table.read(written).rows) == 21 and Path(written).parent == tmp_path / "new"


def test_the_check_names_what_would_mend_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", str(csv(tmp_path, *FILL, "Text 0,a", "one cell"))])
    told = capsys.readouterr().out
    assert "Mended by: drop-duplicates" in told and "Mended by: drop-problems" in told
