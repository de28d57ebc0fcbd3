"""What rows' answers are taken for: one label, several, or a number; and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.data import report
from engine.data.prepare import Prepared, prepare
from engine.data.targets import separator
from engine.errors import DataError
from engine.specs.sections import Data

CELLS = ["late", "broken", "late;broken", "lost;late", "lost", "broken;lost", "late", "", "late;broken;lost", "broken"]
NONE_HELD = {"test": 0, "validation": 0}


def read(path: Path, kind: Any = "auto", **entry: Any) -> Prepared:
    return prepare([Data(source=str(path), split=NONE_HELD, **entry)], "labelled", 1, kind=kind)


def joined(tmp_path: Path, mark: str = ";", times: int = 1) -> Path:
    path = tmp_path / "rows.csv"
    lines = [f'text {place},"{cell.replace(";", mark)}"' for place, cell in enumerate(times * CELLS)]
    path.write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    return path


def flags(tmp_path: Path, *cells: str) -> Path:
    path = tmp_path / "flags.csv"
    given = cells or tuple(f"{place % 2},{int(place % 3 == 0)}" for place in range(12))
    lines = [f"{place},text {place},{cell}" for place, cell in enumerate(given)]
    path.write_text("\n".join(["id,text,late,broken", *lines]) + "\n", encoding="utf-8")
    return path


def numbers(tmp_path: Path, *cells: str) -> Path:
    path = tmp_path / "numbers.csv"
    given = cells or tuple(f"{0.37 * place:.2f}" for place in range(12))
    path.write_text("text,score\n" + "".join(f'text {n},"{cell}"\n' for n, cell in enumerate(given)), encoding="utf-8")
    return path


# Several labels


@pytest.mark.parametrize("mark", [";", "|", ", "])
def test_labels_that_stand_in_one_cell_are_found_and_that_is_said(mark: str, tmp_path: Path) -> None:
    found = read(joined(tmp_path, mark))
    assert found.kind == "several labels"
    assert [row.labels for row in found.examples[:4]] == [["late"], ["broken"], ["late", "broken"], ["lost", "late"]]
    (told,) = found.notices
    assert (
        f"holds several labels in 4 rows, divided by {mark.strip()!r}" in told
        and "choose the kind of answer 'one label'" in told
    )


def test_a_row_without_a_label_is_one_of_several_labels_and_a_problem_where_each_has_one(tmp_path: Path) -> None:
    assert read(joined(tmp_path)).examples[7].labels == []
    problem, _ = read(joined(tmp_path, times=2), "one label", bad_rows="skip").problems
    assert (problem.row, problem.problem) == (8, 'The column "label" is empty.')


def test_who_says_one_label_gets_each_cell_as_it_is(tmp_path: Path) -> None:
    found = read(joined(tmp_path, times=2), "one label", bad_rows="skip")
    assert (found.kind, found.examples[2].label, found.examples[2].labels) == ("one label", "late;broken", None)
    assert any("Each cell is read as one label all the same." in notice for notice in found.notices)


@pytest.mark.parametrize(
    "cells",
    [
        ["Yes, please", "No, thanks"] * 5,
        ["3,5", "4,0", "5,5", "0,3", "3,4", "5,0"] * 3,
        [f"A sentence with a comma, which is no label number {place}" for place in range(9)],
        ["late", "broken"] * 6,
    ],
)
def test_commas_in_names_numbers_and_sentences_divide_nothing(cells: list[str]) -> None:
    assert separator(cells) == ""


def test_a_separator_can_be_said_and_is_written_down_with_the_spec(tmp_path: Path) -> None:
    found = read(joined(tmp_path))
    (entry,) = found.settled([Data(source="rows.csv")])
    assert (entry.label_separator, entry.label_columns) == (";", "")
    assert read(joined(tmp_path, times=2), label_separator="|", bad_rows="skip").kind == "one label"


def test_lists_of_labels_are_read_from_json_and_from_text(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": f"text {place}", "tags": [["a"], ["a", "b", "a"], [], '["b", "a"]'][place % 4]} for place in range(12)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = read(path)
    assert [row.labels for row in found.examples[:4]] == [["a"], ["a", "b"], [], ["b", "a"]]


def test_a_list_of_something_else_is_a_problem_with_its_place(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": f"text {place}", "labels": [["a"], ["b", {"no": "label"}]][place == 3]} for place in range(8)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row | {"n": 1}) + "\n" for row in [*rows, {"text": "x", "labels": []}]))
    (problem,) = read(path, bad_rows="skip").problems
    assert str(problem).startswith('Row 4 (line 4): The column "labels" holds a list with something else')


def test_columns_of_0_and_1_are_labels_and_are_written_down(tmp_path: Path) -> None:
    found = read(flags(tmp_path))
    assert [row.labels for row in found.examples[:4]] == [["broken"], ["late"], [], ["late", "broken"]]
    assert "2 columns of 0 and 1 are labels" in found.notices[-1]
    assert found.settled([Data(source="flags.csv")])[0].label_columns == "late\nbroken"


def test_a_label_column_with_anything_but_0_and_1_is_a_problem_with_its_place(tmp_path: Path) -> None:
    path = flags(tmp_path, "1,0", "0,true", "1,maybe", "0,", "0,1", "1,1")
    found = read(path, label_columns="late\nbroken", bad_rows="skip")
    assert [str(problem) for problem in found.problems] == [
        'Row 3 (line 4): "maybe" in the label column "broken" is neither 0 nor 1.',
        'Row 4 (line 5): The label column "broken" is empty.',
    ]
    assert [row.labels for row in found.examples] == [["late"], ["broken"], ["broken"], ["late", "broken"]]


def test_a_label_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'lat'\. Did you mean 'late'"):
        read(flags(tmp_path), label_columns="lat")


def test_columns_of_0_and_1_are_no_single_label(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read as number"):
        read(flags(tmp_path), "number")


def test_a_label_that_every_row_has_teaches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "".join(f"text {place},late\n" for place in range(9)), encoding="utf-8")
    with pytest.raises(DataError, match=r"All rows have the same labels \(late\)"):
        read(path, "several labels")
    with pytest.raises(DataError, match="All rows have the same label, 'late'"):
        read(path)


def test_findings_are_of_single_labels(tmp_path: Path) -> None:
    found = read(joined(tmp_path))
    assert report.label_counts(found.examples) == {"broken": 5, "late": 5, "lost": 4}
    (rare,) = [finding for finding in found.findings if finding.name == "rare labels"]
    assert (rare.count, "'lost'" in rare.help) == (1, True)


def test_before_the_objective_is_known_rows_without_labels_are_no_problem(tmp_path: Path) -> None:
    told = report.check(str(joined(tmp_path)))
    assert (told["wants"], told["problems"], told["usable"]) == ("labelled", [], 10)
    assert report.check(str(joined(tmp_path)), "messages")["problems"][0]["count"] == 1


# Numbers


def test_numbers_are_read_where_a_person_says_so(tmp_path: Path) -> None:
    found = read(numbers(tmp_path), "number")
    assert (found.kind, [row.number for row in found.examples[:3]]) == ("number", [0.0, 0.37, 0.74])


def test_many_numbers_are_no_classes_and_the_refusal_names_the_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        read(numbers(tmp_path))
    assert "these are no classes" in refused.value.problem and "objective.kind" in refused.value.fix


def test_few_numbers_are_labels_and_it_is_said_that_they_could_be_numbers(tmp_path: Path) -> None:
    found = read(numbers(tmp_path, *["1", "2", "3", "4"] * 4))
    assert found.kind == "one label" and "the kind of answer 'number' learns how large it is" in found.notices[-1]


def test_words_gaps_and_what_is_no_number_are_problems_with_their_places(tmp_path: Path) -> None:
    path = numbers(tmp_path, "1.5", "good", "nan", "3,5", "", "inf", "-2", "1e3")
    found = read(path, "number", bad_rows="skip")
    assert [row.number for row in found.examples] == [1.5, -2.0, 1000.0]
    assert [str(problem) for problem in found.problems] == [
        'Row 2 (line 3): "good" in the column "score" is no number.',
        'Row 3 (line 4): "nan" in the column "score" is no number.',
        'Row 4 (line 5): "3,5" in the column "score" is no number.',
        'Row 5 (line 6): The column "score" is empty.',
        'Row 6 (line 7): "inf" in the column "score" is no number.',
    ]
    assert "with a point" in found.problems[2].fix


def test_numbers_that_are_all_the_same_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="All rows have the same number, 3"):
        read(numbers(tmp_path, *["3"] * 9), "number")


def test_pairs_of_texts_may_have_a_number(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    lines = [f"one {place},two {place},{place / 3:.2f}" for place in range(9)]
    path.write_text("\n".join(["sentence1,sentence2,score", *lines]) + "\n", encoding="utf-8")
    (first, *_) = read(path, "number").examples
    assert (first.text, first.second, first.number) == ("one 0", "two 0", 0.0)


def test_a_column_that_is_not_there_is_told_before_the_objective_is_known(tmp_path: Path) -> None:
    told = report.check(Data(source=str(joined(tmp_path)), columns={"label": "lable"}))
    assert "has no column 'lable'" in told["error"]["problem"]
