from __future__ import annotations

import csv
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.data import report, table
from engine.data.prepare import prepare
from engine.errors import DataError
from engine.specs.sections import Data, Split
from engine.specs.spec import RunSpec, of_spec

NONE_HELD_OUT = Split(test=0, validation=0)


def written(folder: Path, name: str, rows: list[dict[str, str]]) -> str:
    path = folder / name
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def numbered(count: int, start: int = 0) -> list[dict[str, str]]:
    return [{"text": f"Text {number}", "label": "ab"[number % 2]} for number in range(start, start + count)]


def test_the_sample_gives_the_rows_of_the_demo() -> None:
    entry = Data(source="sample:banking-intents", split=Split(test_rows=120, validation=0))
    found = prepare([entry], "messages", 42).require()
    assert found.counts() == {"train": 480, "validation": 0, "test": 120}
    assert set(Counter(example.answer for example in found.examples if example.split == "train").values()) == {40}
    assert found.findings == []
    assert found.problems == []


def test_several_entries_are_one_list_with_their_numbers(tmp_path: Path) -> None:
    sources = [written(tmp_path, "a.csv", numbered(20)), written(tmp_path, "b.csv", numbered(20, 100))]
    found = prepare([Data(source=source) for source in sources], "labelled", 42)
    assert [example.source for example in found.examples] == [0] * 20 + [1] * 20
    assert len(found.splits) == len(found.guesses) == 2


def test_a_text_in_two_entries_sits_on_one_side(tmp_path: Path) -> None:
    sources = [written(tmp_path, "a.csv", numbered(40)), written(tmp_path, "b.csv", numbered(40, 20))]
    found = prepare([Data(source=source, split=Split(test=0.3, validation=0)) for source in sources], "labelled", 42)
    by_text: dict[str, set[str]] = {}
    for example in found.examples:
        by_text.setdefault(example.text, set()).add(example.split)
    assert all(len(places) == 1 for places in by_text.values())


def test_the_same_entry_twice_is_divided_alike(tmp_path: Path) -> None:
    source = written(tmp_path, "a.csv", numbered(20))
    found = prepare([Data(source=source)] * 2, "labelled", 42)
    assert [example.split for example in found.examples[:20]] == [example.split for example in found.examples[20:]]


def test_refused_rows_are_named_with_both_ways_out(tmp_path: Path) -> None:
    source = written(tmp_path, "a.csv", [*numbered(20), *[{"text": "", "label": "a"}] * 7])
    found = prepare([Data(source=source)], "labelled", 42)
    assert len(found.examples) == 20
    with pytest.raises(DataError) as caught:
        found.require()
    assert caught.value.problem.startswith('7 rows have problems: Row 21 (line 22): The column "text" is empty; Row 22')
    assert caught.value.problem.endswith("and 2 more.")
    assert "bad_rows: skip" in caught.value.fix


def test_only_entries_that_refuse_bad_rows_block(tmp_path: Path) -> None:
    bad = [*numbered(20), {"text": "", "label": "a"}]
    sources = [written(tmp_path, name, bad) for name in ("a.csv", "b.csv")]
    entries = [Data(source=sources[0], bad_rows="skip"), Data(source=sources[1])]
    found = prepare(entries, "labelled", 42)
    assert [problem.source for problem in found.problems] == [0, 1]
    assert [problem.source for problem in found.blocking] == [1]


def test_free_answers_are_no_classes(tmp_path: Path) -> None:
    source = written(tmp_path, "a.csv", [{"prompt": f"Text {n}", "completion": f"Answer {n}"} for n in range(20)])
    with pytest.raises(DataError, match="'completion' has 20 different values in 20 rows; these are no classes"):
        prepare([Data(source=source)], "labelled", 42)


def test_one_label_alone_teaches_nothing(tmp_path: Path) -> None:
    source = written(tmp_path, "a.csv", [{"text": f"Text {n}", "label": "a"} for n in range(20)])
    with pytest.raises(DataError, match="All rows have the same label, 'a'"):
        prepare([Data(source=source)], "labelled", 42)


def test_rows_that_are_only_scored_may_have_one_label(tmp_path: Path) -> None:
    source = written(tmp_path, "a.csv", [{"text": f"Text {n}", "label": "a"} for n in range(3)])
    found = prepare([Data(source=source, split=NONE_HELD_OUT)], "labelled", 42, learn=False)
    assert [example.label for example in found.examples] == ["a"] * 3


def test_each_class_may_come_from_a_file_of_its_own(tmp_path: Path) -> None:
    kinds = [[{"text": f"{label} {n}", "label": label} for n in range(20)] for label in ("ham", "spam")]
    sources = [written(tmp_path, f"{number}.csv", rows) for number, rows in enumerate(kinds)]
    found = prepare([Data(source=source) for source in sources], "labelled", 42)
    assert {example.label for example in found.examples} == {"ham", "spam"}


def test_pasted_rows_are_prepared_without_a_file() -> None:
    pasted = table.paste("question,answer\nOne?,1\nTwo?,2\n")
    found = prepare([Data(source="pasted", split=NONE_HELD_OUT)], "messages", 42, tables=[pasted])
    assert [example.answer for example in found.examples] == ["1", "2"]


def test_preparing_again_gives_the_same(tmp_path: Path) -> None:
    entry = Data(source=written(tmp_path, "a.csv", numbered(50)))
    assert prepare([entry], "messages", 42) == prepare([entry], "messages", 42)


def test_a_hundred_thousand_rows_take_seconds(tmp_path: Path) -> None:
    rows = [
        {"text": f"Where is my card number {number}, please?", "label": f"intent {number % 70}"}
        for number in range(100_000)
    ]
    source = written(tmp_path, "a.csv", rows)
    before = time.process_time()
    found = prepare([Data(source=source)], "messages", 42)
    assert len(found.examples) == 100_000
    assert time.process_time() - before < 15


# --- the report


def test_a_report_is_plain_json_and_readable_lines() -> None:
    told = report.check("sample:banking-intents", "labelled")
    assert json.loads(json.dumps(told)) == told
    text = "\n".join(report.lines(told))
    assert "Parts: text = text, label = intent" in text
    assert "Labels (12)" in text
    assert "480 train, 60 validation, 60 test" in text


def test_a_report_groups_equal_problems(tmp_path: Path) -> None:
    source = written(tmp_path, "a.csv", [*numbered(20), *[{"text": "", "label": "a"}] * 3])
    group = report.check(source)["problems"][0]
    assert (group["count"], group["places"]) == (3, ["line 22", "line 23", "line 24"])


def test_a_report_of_too_few_rows_still_shows_them(tmp_path: Path) -> None:
    told = report.check(written(tmp_path, "a.csv", numbered(2)))
    assert "too few" in told["error"]["problem"]
    assert [column["name"] for column in told["columns"]] == ["text", "label"]


def test_a_report_of_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file"):
        report.check(str(tmp_path / "none.csv"))


# --- the shipped sample


def test_the_sample_file_is_the_one_that_its_source_note_describes() -> None:
    import hashlib

    from engine import home

    file = home.samples() / "banking-intents.csv"
    assert hashlib.sha256(file.read_bytes()).hexdigest() in (home.samples() / "SOURCE.md").read_text(encoding="utf-8")


def data_set(place: Path, name: str, text: str, **further: Any) -> Data:
    place.joinpath(name).write_text(text, encoding="utf-8")
    return Data(source=str(place / name), **further)


LETTERS = "text,label\n" + "".join(f"letter {row},{'ab'[row % 2]}\n" for row in range(20))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ("", "calls.csv"),
        ("text,label\n", "calls.csv"),
        ("text,label\nOne row.,c\n", "calls.csv: 1 usable row is too few to hold out"),
        (
            "premise,hypothesis,label\n" + "".join(f"one {row},two {row},{'cd'[row % 2]}\n" for row in range(20)),
            "calls.csv holds pairs of texts, letters.csv single ones",
        ),
        ("text,c,d\n" + "".join(f"call {row},{row % 2},{(row + 1) % 2}\n" for row in range(20)), "calls.csv: "),
    ],
)
def test_what_is_wrong_with_one_of_several_data_sets_names_it(other: str, told: str, tmp_path: Path) -> None:
    entries = [data_set(tmp_path, "letters.csv", LETTERS), data_set(tmp_path, "calls.csv", other)]
    with pytest.raises(DataError) as caught:
        prepare(entries, "labelled", 1)
    assert told in caught.value.problem
    assert str(tmp_path) not in caught.value.problem.removeprefix(str(tmp_path / "calls.csv"))


def test_labels_of_a_head_for_each_set_have_to_be_learnable_in_each(tmp_path: Path) -> None:
    same = data_set(tmp_path, "calls.csv", "text,label\n" + "".join(f"call {row},c\n" for row in range(20)))
    entries = [data_set(tmp_path, "letters.csv", LETTERS), same]
    whole = prepare(entries, "labelled", 1)  # one head for all learns this set's label beside the others
    with pytest.raises(DataError, match=r"calls\.csv: All rows have the same label, 'c'"):
        whole.require_apart(entries)
    asked = {"model": {"id": "x"}, "data": [one.model_dump() for one in entries]}
    with pytest.raises(DataError, match=r"calls\.csv: All rows have the same label"):
        of_spec(RunSpec.parse({**asked, "objective": {"name": "classify", "heads": "separate"}}))
    two = prepare([entries[0], data_set(tmp_path, "notes.csv", LETTERS.replace("letter", "note"))], "labelled", 1)
    held = [replace(row, split="test") if row.source else row for row in two.examples]
    with pytest.raises(DataError, match=r"notes\.csv: No row is left to learn its labels from"):
        replace(two, examples=held).require_apart([entries[0], Data(source="/place/notes.csv")])


def test_the_name_of_a_task_stands_before_its_texts_alone(tmp_path: Path) -> None:
    entries = [
        data_set(tmp_path, "letters.csv", LETTERS, task=" To a  bank "),
        data_set(tmp_path, "b.csv", LETTERS.replace("letter", "call")),
    ]
    asked = {"model": {"id": "x"}, "data": [one.model_dump() for one in entries]}
    spec = RunSpec.parse({**asked, "objective": {"name": "classify", "prefix": True}})
    assert spec.tasks() == ["To a bank", "b.csv"]
    assert {row.before for row in of_spec(spec).examples if row.source == 0} == {"To a bank: "}
    assert {row.before for row in of_spec(spec).examples if row.source == 1} == {"b.csv: "}
    assert not any(
        row.before or row.text.startswith("To a")
        for row in of_spec(RunSpec.parse({**asked, "objective": "classify"})).examples
    )
