"""Every broken or awkward file that people upload gets an answer that helps (see tests/data/SOURCE.md)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from engine.data import report, table
from engine.data.prepare import Prepared, prepare
from engine.data.rows import Table
from engine.errors import DataError
from engine.specs.sections import Data, Split

MESSY = Path(__file__).parents[2] / "data" / "messy"


def read(name: str) -> Table:
    return table.read(MESSY / name)


def prepared(name: str, **settings: object) -> Prepared:
    return prepare([Data(source=str(MESSY / name), **settings)], "messages", 1)


def counts(found: Prepared) -> dict[str, int]:
    return {finding.name: finding.count for finding in found.findings}


def test_ragged_rows_are_named_by_line_and_never_shifted() -> None:
    found = read("ragged.csv")
    assert [problem.place for problem in found.problems] == ["line 2", "line 3"]
    assert found.rows == [{"column_a": "0", "column_b": "mixed types.... uh oh", "column_c": "17"}]
    assert found.numbers == [3]


def test_utf16_is_decoded_and_said() -> None:
    found = read("test_utf16_little.csv")
    assert found.rows[1] == {"a": "4", "b": "5", "c": "ʤ"}
    assert "UTF-16" in found.notices[0]


def test_classic_mac_newlines_give_two_rows() -> None:
    assert read("mac_newlines.csv").rows == [
        {"a": "1", "b": "2", "c": "3"},
        {"a": "Once upon\ra time", "b": "5", "c": "6"},
    ]


def test_cp1252_with_semicolons_and_a_newline_in_the_header_is_read_and_said() -> None:
    found = read("cp1252_semicolon_header_newline_head.csv")
    assert len(found.columns) == 26
    assert found.columns[1] == "Codice dell'Unità territoriale sovracomunale (valida a fini statistici)"
    assert found.rows[0]["Denominazione in italiano"] == "Agliè"
    assert not found.problems
    assert any("cp1252" in notice for notice in found.notices)
    assert any("semicolons" in notice for notice in found.notices)


def test_repeated_column_names_are_renamed_and_said() -> None:
    found = read("duplicate-headers.csv")
    assert found.columns == ["id", "name", "id_2", "age", "id_3"]
    assert found.rows[0]["id_3"] == "001101"
    assert "id → id_2" in found.notices[0]


def test_a_column_without_a_name_gets_one() -> None:
    found = read("blank-headers.csv")
    assert found.columns == ["id", "column_2", "age"]
    assert "column_2" in found.notices[0]


def test_a_surveys_second_row_of_headings_becomes_part_of_the_names() -> None:
    found = read("survey_two_headers_head.csv")
    assert len(found.columns) == 38
    assert found.columns[0] == "RespondentID"
    assert found.columns[9].startswith("Please rank the Star Wars films") and found.columns[9].endswith(
        "least favorite film: Star Wars: Episode I The Phantom Menace"
    )
    assert found.columns[33] == "Gender"
    assert (found.places[0], found.rows[0]["RespondentID"], len(found.rows)) == ("line 3", "3292879998", 28)
    assert any("two rows of headings" in notice for notice in found.notices)


def test_a_first_row_with_gaps_above_words_stays_the_only_heading(tmp_path: Path) -> None:
    file = tmp_path / "gaps.csv"
    file.write_text("text,label,,,\nhello,yes,a,b,c\nbye,no,d,e,f\nmorning,yes,g,h,i\n")
    assert len(table.read(file).rows) == 3


def test_one_sharegpt_object_is_one_row_and_its_empty_answer_is_named() -> None:
    told = report.check(str(MESSY / "sharegpt_empty_assistant_turn.json"))
    assert (told["rows"], told["format"]) == (1, "sharegpt")
    assert told["problems"][0]["problem"] == "Turn 2 (assistant) is empty."
    assert told["error"]["problem"].startswith("No row of sharegpt_empty_assistant_turn.json can be used.")


def test_a_trailing_comma_in_a_tiny_object_is_named_with_line_and_column() -> None:
    found = read("trailing_comma_tiny.json")
    assert found.rows == [{"id": 0}]
    assert "line 1, column 8" in found.notices[0]


def test_a_parquet_without_text_loads_and_offers_no_text_column() -> None:
    told = report.check(str(MESSY / "alltypes_plain.parquet"))
    assert told["rows"] == 8
    assert told["error"] == {
        "problem": "It is not plain what to learn from alltypes_plain.parquet. No column holds text.",
        "fix": "Give rows with a column of text.",
    }


def test_a_real_workbook_is_read_with_its_sheet_rows() -> None:
    found = read("ne_1033_data.xlsx")
    assert (len(found.rows), len(found.columns)) == (1036, 14)
    assert found.rows[0]["fips"] == 31001
    assert found.places[0] == "row 2 of the sheet"


def test_chat_rows_without_a_user_are_refused_and_long_ones_reported() -> None:
    found = prepared("toy_chat_fine_tuning.jsonl")
    assert len(found.examples) == 4
    assert [(problem.row, problem.problem) for problem in found.problems] == [
        (4, "The conversation has no turn of a user.")
    ]
    assert [(finding.name, finding.rows) for finding in found.findings] == [("long rows", [5])]


def test_a_trailing_comma_after_the_last_row_is_ignored_and_said() -> None:
    found = read("sft_trailing_comma.json")
    assert len(found.rows) == 20
    assert "line 101, column 4" in found.notices[0]


def test_a_byte_order_mark_and_mixed_newlines_lose_no_row() -> None:
    found = read("sft_bom_mixed_newlines.jsonl")
    assert len(found.rows) == 40
    assert not found.problems
    assert found.columns == ["instruction", "input", "output"]


def test_a_cut_last_line_is_named_and_the_rows_before_it_are_kept() -> None:
    found = read("sft_last_line_cut.jsonl")
    assert len(found.rows) == 25
    assert [(problem.row, problem.place) for problem in found.problems] == [(26, "line 26")]
    assert "cut off" in found.problems[0].problem


def test_the_noise_of_a_labelled_table_is_counted_by_kind() -> None:
    found = prepared("banking_dups_conflicts_label_noise.csv")
    assert Counter(problem.problem for problem in found.problems) == {
        'The column "text" is empty.': 2,
        'The column "category" is empty.': 1,
    }
    told = counts(found)
    assert told["duplicates"] >= 120
    assert told["conflicts"] >= 40
    assert told["near labels"] == 35


def test_parquet_and_excel_give_the_rows_of_the_csv() -> None:
    sheet, parquet = read("banking77_500.xlsx"), read("banking77_train.parquet")
    assert sheet.columns == parquet.columns == ["text", "category"]
    assert (len(sheet.rows), len(parquet.rows)) == (500, 1000)
    assert sheet.rows == parquet.rows[:500]


def test_broken_preference_pairs_are_named_by_reason(tmp_path: Path) -> None:
    good = {"conversations": [{"from": "human", "value": "Hi"}], "chosen": {"from": "gpt", "value": "Hello"}}
    bad = {"from": "gpt", "value": "Go"}
    rows = [
        {**good, "rejected": bad},
        {**good, "rejected": good["chosen"]},
        good,
        {**good, "chosen": {**bad, "value": ""}},
    ]
    file = tmp_path / "pairs.json"
    file.write_text(json.dumps(rows))
    told = report.check(str(file))
    assert told["format"] == "preferences"
    assert told["usable"] == 1
    assert [(group["problem"], group["rows"]) for group in told["problems"]] == [
        ("The chosen and the rejected answer are the same.", [2]),
        ("The rejected answer is missing or empty.", [3]),
        ("The chosen answer is missing or empty.", [4]),
    ]


def test_the_chosen_answers_of_pairs_can_be_learned_by_naming_the_column(tmp_path: Path) -> None:
    row = {
        "conversations": [{"from": "human", "value": "Hi"}],
        "chosen": {"from": "gpt", "value": "Hello"},
        "rejected": {"from": "gpt", "value": "Go"},
    }
    file = tmp_path / "pairs.json"
    file.write_text(json.dumps([row]))
    entry = Data(
        source=str(file),
        columns={"conversations": "conversations", "output": "chosen"},
        split=Split(test=0, validation=0),
    )
    assert prepare([entry], "messages", 1).examples[0].answer == "Hello"


def test_a_row_of_a_megabyte_is_kept_whole_and_reported(tmp_path: Path) -> None:
    file = tmp_path / "corpus.jsonl"
    file.write_text(json.dumps({"text": "Short."}) + "\n" + json.dumps({"text": "word " * 200_000}) + "\n")
    assert len(table.read(file).rows[1]["text"]) == 1_000_000
    told = report.check(str(file))
    assert told["format"] == "text"
    assert told["findings"] == []  # plain texts are read in parts, none of them is cut


def test_answers_without_the_final_marker_are_flagged() -> None:
    assert counts(prepared("gsm8k_answers_without_marker_head.jsonl"))["unmarked answers"] == 5


def test_a_headless_tsv_with_stray_quotes_keeps_every_line() -> None:
    found = read("sms_head.tsv")
    assert found.columns == ["column_1", "column_2"]
    assert len(found.rows) == 38
    assert found.rows[-2]["column_2"] == '"Gimme a few" was  &lt;#&gt;  minutes ago'
    assert any("no header" in notice for notice in found.notices)
    assert {example.answer for example in prepared("sms_head.tsv").examples} == {"ham", "spam"}


def test_every_messy_file_that_can_be_read_can_be_reported() -> None:
    for path in sorted(MESSY.iterdir()):
        assert report.lines(report.check(str(path)))


@pytest.mark.parametrize("name", ["sft_last_line_cut.jsonl", "toy_chat_fine_tuning.jsonl"])
def test_rows_with_problems_stop_the_start_unless_they_are_to_be_skipped(name: str) -> None:
    with pytest.raises(DataError, match=r"1 row has a problem: Row \d+ \(line \d+\)"):
        prepared(name).require()
    assert any("with problems left out" in notice for notice in prepared(name, bad_rows="skip").require().notices)
