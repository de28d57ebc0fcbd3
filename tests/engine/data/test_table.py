from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest

from engine.data import archive, rows, table
from engine.errors import DataError

GERMAN = "text,label\nDas Mädchen läuft über die Straße,gut\nC’est déjà l’été,bon\n"


def parsed(name: str, content: str | bytes) -> rows.Table:
    return table.parse(name, content.encode() if isinstance(content, str) else content)


def zipped(files: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


# --- encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_western_text_is_read_from_its_encoding(encoding: str) -> None:
    found = parsed("a.csv", GERMAN.encode(encoding))
    assert found.rows[0] == {"text": "Das Mädchen läuft über die Straße", "label": "gut"}
    assert found.rows[1]["text"] == "C’est déjà l’été"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", "Привет, как дела? Это обычный русский текст."),
        ("gb18030", "这是一个用于测试编码检测的普通中文文本。"),
        ("cp932", "これは文字コードの検出をテストするための日本語の文章です。"),
        ("cp949", "이것은 인코딩 감지를 테스트하기 위한 한국어 텍스트입니다."),
    ],
)
def test_other_scripts_are_told_by_likeness_and_said(encoding: str, text: str) -> None:
    found = parsed("a.jsonl", "\n".join([json.dumps({"text": text}, ensure_ascii=False)] * 5).encode(encoding))
    assert found.rows[0]["text"] == text
    assert encoding in found.notices[0]


def test_utf8_needs_no_notice() -> None:
    assert parsed("a.csv", GERMAN).notices == []


def test_binary_data_under_a_text_name_is_refused() -> None:
    with pytest.raises(DataError, match="binary data"):
        parsed("a.csv", b"\x00\x01\x02\xff\xfe\xfd" * 100)


# --- separated text


def test_cells_stay_the_text_that_they_are() -> None:
    cells = parsed("a.csv", "text,label,code\nNA,null,007\n nan ,None,1.50\n").rows
    assert cells == [{"text": "NA", "label": "null", "code": "007"}, {"text": " nan ", "label": "None", "code": "1.50"}]


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
def test_separators_are_found_and_said(separator: str, word: str) -> None:
    lines = [("text", "label"), ("One, two; three"[: 8 if separator == ";" else None], "a"), ("Four", "b")]
    found = parsed("a.csv", "\n".join(separator.join(cells) for cells in lines))
    assert found.columns == ["text", "label"]
    assert any(word in notice for notice in found.notices)


def test_the_separator_that_excel_writes_down_is_followed() -> None:
    found = parsed("a.csv", "sep=;\r\ntext;label\r\na;b\r\n")
    assert found.rows == [{"text": "a", "label": "b"}]
    assert found.places == ["line 3"]


def test_newlines_and_separators_in_quotes_belong_to_the_cell() -> None:
    found = parsed("a.csv", 'text,label\r\n"One,\r\ntwo ""three""",a\r\nFour,b\r\n')
    assert found.rows[0]["text"] == 'One,\r\ntwo "three"'
    assert found.places == ["line 2", "line 4"]


def test_one_column_of_prose_is_not_torn_at_its_commas() -> None:
    found = parsed("a.csv", "text\nHello, world\nOne, two, three\nPlain\n")
    assert [row["text"] for row in found.rows] == ["Hello, world", "One, two, three", "Plain"]
    assert "one column" in found.notices[0]


def test_a_quote_that_never_closes_is_named_by_its_line() -> None:
    with pytest.raises(DataError, match="opens in line 3 never closes"):
        parsed("a.csv", 'text,label\n"fine, too",a\n"open,b\nnext,c\nlast,d\n')


def test_a_lone_quote_in_a_plain_table_is_part_of_its_text() -> None:
    found = parsed("a.csv", 'text,label\nfine,a\n"open,b\nnext,c\n')
    assert [row["text"] for row in found.rows] == ["fine", '"open', "next"]
    assert "Quotes in a.csv are part of the text" in found.notices[0]


def test_titles_above_the_header_are_refused_with_the_counts() -> None:
    with pytest.raises(DataError, match="the first line has 1 cell, but 4 of 4 rows have 3"):
        parsed("a.csv", "Report of May\nid,text,label\n1,a,b\n2,c,d\n3,e,f\n")


def test_empty_rows_are_left_out_and_said() -> None:
    found = parsed("a.csv", "text,label\na,b\n,\n\nc,d\n")
    assert len(found.rows) == 2
    assert found.notices == ["1 row without any text left out."]


def test_cells_beyond_the_header_that_are_empty_cost_no_row() -> None:
    assert parsed("a.csv", "text,label\na,b,,\nc,d\n").rows == [
        {"text": "a", "label": "b"},
        {"text": "c", "label": "d"},
    ]


@pytest.mark.parametrize(
    "content",
    [
        "ham\tSee you at the station\nspam\tWin a prize\nham\tOk then\nham\tYes\n",
        "What is the time now?\tIt is noon, as always.\n" * 2,
    ],
)
def test_a_table_without_a_header_loses_no_row(content: str) -> None:
    found = parsed("a.tsv", content)
    assert found.columns == ["column_1", "column_2"]
    assert len(found.rows) == content.count("\n")


@pytest.mark.parametrize("content", ["a,b\n1,2\n3,4\n", "message,kind\nHi,x\nHo,y\n", "year,2019\n1,2\n"])
def test_a_header_is_not_taken_for_data(content: str) -> None:
    assert len(parsed("a.csv", content).rows) == content.count("\n") - 1


def test_a_header_alone_is_refused() -> None:
    with pytest.raises(DataError, match="has a header but no rows"):
        parsed("a.csv", "text,label\n")


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.jsonl", "a.txt", "a.parquet", "a.xlsx"])
def test_an_empty_file_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="is empty"):
        parsed(name, b" \n")


# --- JSON


def test_a_broken_json_is_named_by_line_and_column() -> None:
    with pytest.raises(DataError, match="line 2, column 11"):
        parsed("a.json", '[{"text": "a"},\n {"text": b"}]')


def test_a_json_that_ends_in_the_middle_is_told_so() -> None:
    with pytest.raises(DataError, match="is not whole"):
        parsed("a.json", '[{"text": "a"},\n {"text": ')


def test_commas_inside_texts_are_no_stray_commas() -> None:
    assert parsed("a.json", '[{"text": "a,]"},\n {"text": "b,}"}, ]').rows == [{"text": "a,]"}, {"text": "b,}"}]


def test_a_name_that_stands_twice_in_an_object_is_said() -> None:
    assert "'text'" in parsed("a.json", '[{"text": "a", "text": "b"}]').notices[0].replace("text.", "'text'.")


def test_parts_named_train_and_test_are_the_splits() -> None:
    found = parsed(
        "a.json", json.dumps({"train": [["Hi", "a"], ["Ho", "b"]], "val": [["He", "a"]], "oos": [["Hu", "c"]]})
    )
    assert found.splits == ["train", "train", "validation"]
    assert found.places == ["item 1 of train", "item 2 of train", "item 1 of val"]
    assert "oos (1 rows)" in found.notices[0]


@pytest.mark.parametrize(
    "value",
    [
        {"text": ["a", "b"], "label": ["x", "y"]},
        {"text": {"0": "a", "1": "b"}, "label": {"0": "x", "1": "y"}},
        {"version": 1, "data": [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]},
        [["text", "label"], ["a", "x"], ["b", "y"]],
        [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}],
    ],
)
def test_usual_layouts_of_json_give_the_same_rows(value: object) -> None:
    assert parsed("a.json", json.dumps(value)).rows == [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]


def test_a_list_of_texts_is_a_column_of_text() -> None:
    assert parsed("a.json", '["a", "b"]').rows == [{"text": "a"}, {"text": "b"}]


def test_an_item_of_another_kind_is_a_problem() -> None:
    found = parsed("a.json", '[{"text": "a"}, null, {"text": "b"}]')
    assert [(problem.row, problem.place) for problem in found.problems] == [(2, "item 2")]
    assert found.numbers == [1, 3]


def test_questions_about_texts_become_rows() -> None:
    asked = [
        {"question": "Who?", "answers": [{"text": "Ann", "answer_start": 0}]},
        {"question": "When?", "answers": []},
    ]
    found = parsed("a.json", json.dumps({"data": [{"paragraphs": [{"context": "Ann sang.", "qas": asked}]}]}))
    assert found.rows[0] == {"context": "Ann sang.", "question": "Who?", "answer": "Ann"}
    assert found.rows[1]["answer"] is None


def test_json_lines_under_the_name_of_json_are_read_and_said() -> None:
    found = parsed("a.json", '{"text": "a"}\n{"text": "b"}\n')
    assert len(found.rows) == 2
    assert "JSON Lines inside" in found.notices[0]


def test_a_json_list_under_the_name_of_json_lines_is_read_and_said() -> None:
    found = parsed("a.jsonl", '[\n{"text": "a"},\n{"text": "b"}\n]')
    assert len(found.rows) == 2
    assert "one JSON value inside" in found.notices[0]


def test_line_separators_inside_texts_end_no_line() -> None:
    text = "one\u2028two\x85three"
    assert parsed("a.jsonl", json.dumps({"text": text}, ensure_ascii=False) + "\n").rows == [{"text": text}]


def test_a_broken_line_in_the_middle_is_a_problem_with_its_column() -> None:
    found = parsed("a.jsonl", '{"text": "a"}\n{"text": }\n{"text": "b"}\n')
    assert [str(problem) for problem in found.problems] == [
        "Row 2 (line 2): It is not valid JSON (column 10: Expecting value)."
    ]


# --- Parquet, Excel, documents


def test_a_parquet_of_the_hub_gives_class_names(tmp_path: Path) -> None:
    features = {
        "label": {"names": ["ham", "spam"], "_type": "ClassLabel"},
        "text": {"dtype": "string", "_type": "Value"},
    }
    made = pyarrow.table({"text": ["a", "b", "c"], "label": [1, 0, -1]})
    made = made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(made, tmp_path / "a.parquet")
    found = table.read(tmp_path / "a.parquet")
    assert [row["label"] for row in found.rows] == ["spam", "ham", None]
    assert "replaced by their names" in found.notices[0]


def test_a_damaged_parquet_is_refused() -> None:
    with pytest.raises(DataError, match="not a whole Parquet file"):
        parsed("a.parquet", b"PAR1" + b"x" * 100)


def test_the_first_filled_sheet_is_read_and_the_others_named(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Empty"
    sheet, other = book.create_sheet("Rows"), book.create_sheet("Notes")
    for cells in (["text", "label"], ["a", 1.0], [None, None], ["b", 2.5]):
        sheet.append(cells)
    other.append(["x"])
    book.save(tmp_path / "a.xlsx")
    found = table.read(tmp_path / "a.xlsx")
    assert found.rows == [{"text": "a", "label": 1}, {"text": "b", "label": 2.5}]
    assert found.places == ["row 2 of the sheet", "row 4 of the sheet"]
    assert "Notes" in found.notices[0]


def test_an_old_excel_file_is_refused_with_the_way_out() -> None:
    with pytest.raises(DataError, match=r"Save it as \.xlsx"):
        parsed("a.xls", b"\xd0\xcf\x11\xe0" + b"x" * 600)


def test_paragraphs_are_rows_with_their_own_line_ends() -> None:
    found = parsed("a.txt", "One\r\ntwo\r\n\r\n\r\nThree\r\n")
    assert [row["text"] for row in found.rows] == ["One\r\ntwo", "Three\r\n".rstrip() + "\r\n"]
    assert found.places == ["line 1", "line 5"]


def test_lines_are_rows_where_no_empty_line_parts_them() -> None:
    assert [row["text"] for row in parsed("a.txt", "One\nTwo\nThree\n").rows] == ["One", "Two", "Three"]


def test_markdown_is_one_row_a_document() -> None:
    assert parsed("a.md", "# One\n\nTwo\n").rows == [{"text": "# One\n\nTwo\n"}]


# --- archives and folders


def test_a_gzipped_file_reads_like_the_file() -> None:
    assert parsed("a.csv.gz", gzip.compress(GERMAN.encode())).rows == parsed("a.csv", GERMAN).rows


def test_files_of_a_zip_with_equal_columns_are_one_table() -> None:
    found = parsed(
        "a.zip", zipped({"x.csv": "text,label\na,b\n", "y.csv": "text,label\nc,d\n", "README.md": "# Read\n"})
    )
    assert found.places == ["x.csv, line 2", "y.csv, line 2"]
    assert any("README.md" in notice for notice in found.notices)


def test_files_named_train_and_test_keep_their_sides() -> None:
    found = parsed("a.zip", zipped({"d/train.csv": "text,label\na,b\n", "d/test.csv": "text,label\nc,d\n"}))
    assert found.splits == ["test", "train"]


def test_files_with_different_columns_are_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"x\.csv: label, text; y\.csv: other"):
        parsed("a.zip", zipped({"x.csv": "text,label\na,b\n", "y.csv": "other\nc\n"}))


def test_an_archive_in_an_archive_is_refused() -> None:
    with pytest.raises(DataError, match="archive inside an archive"):
        parsed("a.zip", zipped({"b.zip": zipped({"x.csv": "text\na\n"})}))


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: zipped({"a.txt": data})])
def test_an_archive_that_swells_is_refused(pack: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_RATIO_FROM_BYTES", 100_000)
    with pytest.raises(DataError, match="200 times its size"):
        parsed("a.csv.gz", pack(b"a" * 1_000_000))  # type: ignore[operator]


def test_a_file_over_the_limit_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_BYTES", 1024**2)
    with pytest.raises(DataError, match="larger than 1 MB unpacked"):
        parsed("a.zip", zipped({"a.txt": "line\n" * 300_000}))


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_ROWS", 10)
    with pytest.raises(DataError, match="more than 10 rows"):
        parsed("a.csv", "text,label\n" + "a,b\n" * 11)


@pytest.mark.parametrize("name", ["a.zip", "a.gz", "a.xlsx"])
def test_a_damaged_archive_is_refused(name: str) -> None:
    start = b"\x1f\x8b" if name == "a.gz" else b"PK\x03\x04"
    with pytest.raises(DataError, match=r"damaged|not a whole"):
        parsed(name, start + b"\x08\x00" + b"x" * 60)


def test_a_folder_is_read_like_an_archive(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# One")
    (tmp_path / "b.md").write_text("# Two")
    (tmp_path / "photo.png").write_bytes(b"x")
    found = table.read(tmp_path)
    assert [row["text"] for row in found.rows] == ["# One", "# Two"]
    assert any("photo.png" in notice for notice in found.notices)


def test_folders_in_a_folder_are_read_and_links_and_hidden_files_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    for place, text in {"a.txt": "One", "part 2/b.txt": "Two", ".git/c.txt": "hidden", "__MACOSX/d.txt": "x"}.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text)
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "circle").symlink_to(folder, target_is_directory=True)
    found = table.read(folder)
    assert [row["text"] for row in found.rows] == ["One", "Two"]
    assert found.places == ["a.txt, line 1", "part 2/b.txt, line 1"]


def test_a_folder_of_too_many_files_is_refused(tmp_path: Path) -> None:
    for number in range(1001):
        (tmp_path / f"{number}.txt").write_text("a")
    with pytest.raises(DataError, match=r"holds 1,001 files\. Give at most 1,000"):
        table.read(tmp_path)


# --- sources


def test_a_missing_file_offers_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text\na\n")
    with pytest.raises(DataError, match=r"Did you mean train\.csv"):
        table.read(tmp_path / "trian.csv")


def test_a_mistyped_path_is_no_hub_id() -> None:
    with pytest.raises(DataError, match=r"There is no file data/trian\.csv"):
        table.read("data/trian.csv")


@pytest.mark.parametrize("name", ["a.doc", "a.odt", "a.ods"])
def test_files_of_other_kinds_are_refused_with_a_way_out(name: str) -> None:
    with pytest.raises(DataError, match=r"is not accepted\. (Save|Export)"):
        parsed(name, b"PK\x03\x04" + b"x" * 60)


def test_an_unknown_sample_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match="sample:banking-intents"):
        table.read("sample:banking")


@pytest.mark.parametrize(
    ("text", "columns", "count"),
    [
        ("text\tlabel\nHello there\ta\nGood bye\tb", ["text", "label"], 2),
        ("text,label\nHello,a\nBye,b", ["text", "label"], 2),
        ('{"text": "a"}\n{"text": "b"}', ["text"], 2),
        ('[{"text": "a"}]', ["text"], 1),
        ("Hello, how are you?\nFine, thanks.", ["text"], 2),
        ("Only one line, with a comma", ["text"], 1),
    ],
)
def test_pasted_rows_are_told_apart(text: str, columns: list[str], count: int) -> None:
    found = table.paste(text)
    assert (found.columns, len(found.rows)) == (columns, count)


def test_nothing_pasted_is_said() -> None:
    with pytest.raises(DataError, match="Nothing was pasted"):
        table.paste("  \n")
