from __future__ import annotations

import csv
import json
import time
from collections import Counter
from pathlib import Path

import pytest

from engine.data import report, table
from engine.data.prepare import prepare
from engine.errors import DataError
from engine.specs.sections import Data, Split

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
