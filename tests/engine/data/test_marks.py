"""Texts with marked words: every way to write them down comes to the same marks, and what is broken is said where it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.data import hub, marks, report, table
from engine.data.conversations import BadRow
from engine.data.prepare import prepare
from engine.errors import DataError
from engine.specs.sections import Data, Split

WORDS = ["Anna", "Brandt", "met", "Omar", "in", "New", "York"]
EXPECTED = [(0, 11, "per"), (16, 20, "per"), (24, 32, "loc")]
TEXT = "Anna Brandt met Omar in New York"
NAMES = ("tokens", "ner_tags")


def written(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def examples(source: str) -> Any:
    entry = Data(source=source, split=Split(test=0, validation=0))
    return prepare([entry], "labelled", 1, kind="auto")


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("BIO", "B-per I-per O B-per O B-loc I-loc"),
        ("BIOES", "B-per E-per O S-per O B-loc E-loc"),
        ("BILOU", "B-per L-per O U-per O B-loc L-loc"),
        ("IO", "I-per I-per O I-per O I-loc I-loc"),
        ("IO", "per per O per O loc loc"),
    ],
)
def test_every_scheme_is_recognised_and_comes_to_the_same_marks(scheme: str, tags: str) -> None:
    assert marks.scheme_of([tags.split()]) == scheme
    assert marks.of_words(WORDS, tags.split(), NAMES, marks.scheme_of([tags.split()])) == (TEXT, EXPECTED)


def test_in_iob1_a_b_parts_neighbours_of_one_label() -> None:
    rows = [["I-per", "B-per", "O"], ["I-loc", "I-per", "I-per"]]
    assert marks.scheme_of(rows) == "IOB1"
    assert marks.of_words(["a", "b", "c"], rows[0], NAMES, "IOB1")[1] == [(0, 1, "per"), (2, 3, "per")]
    assert marks.of_words(["a", "b", "c"], rows[1], NAMES, "IOB1")[1] == [(0, 1, "loc"), (2, 5, "per")]


def test_where_every_word_has_a_tag_each_is_a_mark_of_its_own() -> None:
    rows = [["NOUN", "NOUN", "VERB"]]
    assert marks.scheme_of(rows) == "a tag a word"
    assert marks.of_words(["a", "b", "c"], rows[0], NAMES, "a tag a word")[1] == [
        (0, 1, "NOUN"),
        (2, 3, "NOUN"),
        (4, 5, "VERB"),
    ]


@pytest.mark.parametrize(
    ("words", "tags", "scheme", "told"),
    [
        (["a", "b"], ["O"], "BIO", "There are 2 words and 1 tag"),
        (["a", "b"], ["O", "I-per"], "BIO", r"Word 2 \('b'\): its tag I-per goes on with a mark, but none"),
        (["a", "b"], ["B-loc", "I-per"], "BIO", "goes on with a mark, but none with the label 'per'"),
        (["a", "b"], ["B-loc", "per"], "BIO", "says neither B- nor I-"),
        (["a", "b"], ["B-loc", "O"], "BIOES", "the mark 'loc' before it has no end"),
        (["a", "b"], ["O", "B-loc"], "BIOES", "the mark 'loc' has no end"),
        (["a", " "], ["O", "O"], "BIO", "Word 2 is empty"),
        (["a"], [3], "BIO", "The tag 3 is a class number"),
        ("a b", ["O", "O"], "BIO", 'The column "tokens" holds no list'),
    ],
)
def test_broken_tags_are_said_with_their_word(words: Any, tags: Any, scheme: Any, told: str) -> None:
    with pytest.raises(BadRow, match=told) as raised:
        marks.of_words(words, tags, NAMES, scheme)
    assert raised.value.fix


@pytest.mark.parametrize(
    "cell",
    [
        [[0, 11, "per"], [16, 20, "per"], [24, 32, "loc"]],
        [{"start": 24, "end": 32, "label": "loc"}, {"start": 0, "end": 11, "label": "per"}, {"start": 16, "end": 20, "label": "per"}],
        [{"start_offset": begin, "end_offset": end, "label": label, "id": 7} for begin, end, label in EXPECTED],
        [{"start": begin, "end": end, "labels": [label], "text": TEXT[begin:end]} for begin, end, label in EXPECTED],
        {"entities": [list(mark) for mark in EXPECTED]},
        [[0, 12, "per"], [16, 20, "per"], [24, 32, "loc"]],
    ],
)  # fmt: skip
def test_every_way_to_list_marks_is_read(cell: Any) -> None:
    assert marks.of_spans(TEXT, cell, "entities")[0] == EXPECTED
    assert marks.of_spans(TEXT, cell, "entities")[1] == int(
        cell != EXPECTED and isinstance(cell, list) and cell[0] == [0, 12, "per"]
    )


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ([[0, 40, "loc"]], "from character 0 to 40; the text has 32 characters"),
        ([[5, 5, "loc"]], "from character 5 to 5"),
        ([[0, 11, "per"], [5, 15, "loc"]], r"Two marks overlap: 'Anna Brandt' \(per\) and 'Brandt met' \(loc\)"),
        ([{"start": 1, "end": 5, "label": "per", "text": "Anna"}], "says 'Anna', but the text has 'nna ' there"),
        ([[0, 4]], "has no begin, end and label"),
        ([[11, 12, "per"]], "holds nothing but spaces"),
        ("Anna", "holds no list of marks"),
    ],
)
def test_broken_marks_are_said_with_what_to_do(cell: Any, told: str) -> None:
    with pytest.raises(BadRow, match=told):
        marks.of_spans(TEXT, cell, "entities")


def test_rows_of_words_and_of_spans_are_recognised_told_and_read_alike(tmp_path: Path) -> None:
    tags = "B-per I-per O B-per O B-loc I-loc".split()
    one = examples(
        written(
            tmp_path / "a.jsonl", [{"tokens": WORDS, "ner_tags": tags}, {"tokens": ["No", "."], "ner_tags": ["O", "O"]}]
        )
    )
    spans = [{"start": begin, "end": end, "label": label} for begin, end, label in EXPECTED]
    other = examples(
        written(tmp_path / "b.jsonl", [{"text": TEXT, "entities": spans}, {"text": "No .", "entities": []}])
    )
    assert one.kind == other.kind == "marked words"
    for found in (one, other):
        assert [(row.text, row.marks) for row in found.examples] == [(TEXT, EXPECTED), ("No .", [])]
        assert "3 marks with 2 labels: per (2), loc (1)." in found.notices
        assert any(finding.name == "no marks" and finding.count == 1 for finding in found.findings)
        assert any(finding.name == "rare labels" and "marks" in finding.title for finding in found.findings)
    assert any("the scheme BIO" in notice for notice in one.notices)
    assert one.examples[0].label == "Anna Brandt (per), Omar (per), New York (loc)"


def test_a_bad_row_is_a_problem_with_its_place_and_no_other_row_is_lost(tmp_path: Path) -> None:
    rows = [{"text": f"Anna lives in Bern {n}", "entities": [[0, 4, "per"]]} for n in range(5)]
    rows[2]["entities"] = [[0, 99, "per"]]
    found = examples(written(tmp_path / "a.jsonl", rows))
    assert [example.row for example in found.examples] == [1, 2, 4, 5]
    assert str(found.problems[0]).startswith("Row 3 (line 3): Mark 1 ('per') goes from character 0 to 99")
    with pytest.raises(DataError, match="1 row has a problem"):
        found.require()


def test_marks_inside_words_are_said(tmp_path: Path) -> None:
    rows = [{"text": "Annas book", "entities": [[0, 4, "per"]]}, {"text": "Her book", "entities": []}]
    found = examples(written(tmp_path / "a.jsonl", rows))
    assert any("In 1 row a mark begins or ends inside a word" in notice for notice in found.notices)


CONLL = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC
call NN I-NP O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""


def test_conll_files_are_read_by_what_they_hold(tmp_path: Path) -> None:
    for name in ("a.txt", "a.conll", "a.tsv"):
        text = CONLL.replace(" ", "\t") if name.endswith("tsv") else CONLL
        (tmp_path / name).write_text(text, encoding="utf-8")
        read = table.read(tmp_path / name)
        assert read.rows[0] == {"words": ["EU", "rejects", "German", "call"], "ner_tags": ["B-ORG", "O", "B-MISC", "O"]}
        assert read.places == ["line 3", "line 8"]
        assert "1 line that begins a document, or a comment, left out." in read.notices
    assert table.paste(CONLL).columns == ["words", "ner_tags"]
    assert table.keep(CONLL, tmp_path).suffix == ".conll"


def test_a_line_of_a_conll_file_that_lacks_its_tag_is_a_problem_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Anna B-per\nlives\n\nBern B-loc\nis O\nold O\n", encoding="utf-8")
    read = table.read(tmp_path / "a.conll")
    assert [(problem.row, problem.place) for problem in read.problems] == [(1, "line 2")]
    assert read.numbers == [2]
    (tmp_path / "b.conll").write_text("just\nwords\n", encoding="utf-8")
    with pytest.raises(DataError, match="has no lines with a word and its tag"):
        table.read(tmp_path / "b.conll")


@pytest.mark.parametrize(
    "text", ["a b\nc d\n\ne f\n", "O captain my captain\nB-sides are fine\n\nI-beams too\n", "x\ty\n1\t2\n3\t4\n"]
)
def test_other_texts_are_no_conll_files(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    assert "ner_tags" not in table.read(tmp_path / "a.txt").columns


def test_class_numbers_in_lists_become_names_where_the_file_has_them(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-per"])),
        }
    )
    rows = datasets.Dataset.from_dict({"tokens": [["Anna", "sings"]] * 3, "ner_tags": [[1, 0]] * 3}, features=features)
    of_hub, notices = hub._plain(rows, "owner/names")
    assert (
        of_hub[0] == {"tokens": ["Anna", "sings"], "ner_tags": ["B-per", "O"]}
        and "replaced by their names" in notices[0]
    )
    rows.to_parquet(str(tmp_path / "a.parquet"))
    read = table.read(tmp_path / "a.parquet")
    assert read.rows[0] == {"tokens": ["Anna", "sings"], "ner_tags": ["B-per", "O"]}
    nameless = written(tmp_path / "a.jsonl", [{"tokens": ["Anna", "sings"], "ner_tags": [1, 0]}])
    with pytest.raises(DataError, match="is a class number, and the file doesn't say"):
        examples(nameless)


def test_other_objectives_say_what_marked_words_are_for(tmp_path: Path) -> None:
    source = written(
        tmp_path / "a.jsonl", [{"text": f"Anna sings {n}", "entities": [[0, 4, "per"]] if n else []} for n in range(20)]
    )
    seen = report.check(source, "messages")
    assert not seen["error"] and any("The objective classify marks it" in notice for notice in seen["notices"])
    assert [turn["content"] for turn in seen["examples"][0]["messages"]] == ["Anna sings 0", "(nothing)"]
    assert "can't be read as one label" in report.check(source, "labelled")["error"]["problem"]
    plain = written(tmp_path / "b.jsonl", [{"text": f"It is {n}", "label": "abc"[n % 3]} for n in range(20)])
    assert (
        "No words are marked in this data" in report.check(plain, "labelled", kind="marked words")["error"]["problem"]
    )


def test_remedies_that_change_texts_are_not_offered_where_marks_count_characters(tmp_path: Path) -> None:
    rows = [{"text": f"Write to anna{n}@example.org", "entities": [[9, 13, "per"]]} for n in range(12)]
    seen = report.check(written(tmp_path / "a.jsonl", rows))
    assert [finding["remedies"] for finding in seen["findings"] if finding["name"] == "emails"] == [[]]
