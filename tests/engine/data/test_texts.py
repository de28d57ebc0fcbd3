"""What is found in texts by themselves, what each remedy takes out, and what it leaves as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.data import audit, boilerplate, history, languages, likeness, report, table, versions
from engine.data.boilerplate import Cut
from engine.data.example import Example
from engine.errors import DataError
from engine.specs.sections import Data
from tests.engine.data import made_documents as made

SAMPLES = Path(__file__).parents[2] / "data" / "documents"
BOOK = SAMPLES / "pride-and-prejudice_head.txt"
POLICY = SAMPLES / "github-acceptable-use-policies.md"
PARAGRAPH = (
    "In the little world in which children have their existence, whosoever brings them up, there is nothing so finely "
    "perceived and so finely felt as injustice, and it may be only small injustice that the child can be exposed to."
)
GERMAN = "Als Gregor Samsa eines Morgens aus unruhigen Träumen erwachte, fand er sich in seinem Bett verwandelt."
FRENCH = "Longtemps, je me suis couché de bonne heure, et parfois mes yeux se fermaient si vite que je m'endormais."
ENGLISH = [
    "Call me Ishmael. Some years ago, never mind how long precisely, I thought I would sail about a little.",
    "It was the best of times, it was the worst of times, it was the age of wisdom and of foolishness.",
    "There was no possibility of taking a walk that day, as we had been wandering in the leafless shrubbery.",
]


def cuts(*texts: str, places: list[str] | None = None, documents: list[int] | None = None) -> dict[int, Cut]:
    return boilerplate.cuts(list(texts), places or [""] * len(texts), documents or [0] * len(texts))


def found(path: Path) -> dict[str, audit.Finding]:
    return {finding.name: finding for finding in report.inspect(Data(source=str(path))).findings}


def written(folder: Path, *paragraphs: str) -> Path:
    path = folder / "rows.txt"
    path.write_text("\n\n".join(paragraphs), encoding="utf-8")
    return path


def mended(path: Path, folder: Path, *names: str) -> table.Table:
    return table.read(versions.mend(Data(source=str(path)), list(names), folder))


def texts(rows: table.Table) -> list[str]:
    return [row["text"] for row in rows.rows]


# --- Project Gutenberg


def test_a_book_is_left_without_the_words_around_it(tmp_path: Path) -> None:
    kept = texts(mended(BOOK, tmp_path, "cut-boilerplate"))
    whole = texts(table.read(BOOK))
    assert kept[0] == "PRIDE AND PREJUDICE"
    assert kept[-1].startswith("With the Gardiners, they were always")
    assert kept == whole[whole.index(kept[0]) : whole.index(kept[-1]) + 1]


def test_a_version_says_what_was_taken_out_and_can_be_undone(tmp_path: Path) -> None:
    version = versions.mend(Data(source=str(BOOK)), ["cut-boilerplate"], tmp_path)
    made_of = history.read(str(version))
    rows = found(BOOK)["boilerplate"].count
    assert made_of is not None
    assert str(made_of).endswith(f": boilerplate taken out of {rows} rows.")
    assert len(made_of.steps[0].removed) == rows
    assert versions.undo(str(version)) == str(BOOK)
    assert "boilerplate" not in found(version)


def test_rows_that_hold_the_marks_keep_what_is_outside_of_them() -> None:
    first = "*** START OF THE PROJECT GUTENBERG EBOOK A\nTALE ***\n\nOnce."
    last = "The end.\nEnd of Project Gutenberg's A Tale, by Nobody"
    assert cuts("A licence", first, "Then.", last, "More licence") == {
        0: Cut("gutenberg", ""),
        1: Cut("gutenberg", "Once."),
        3: Cut("gutenberg", "The end."),
        4: Cut("gutenberg", ""),
    }


def test_of_two_books_in_one_file_both_stay() -> None:
    begin, end = "*** START OF THIS PROJECT GUTENBERG EBOOK X ***", "*** END OF THIS PROJECT GUTENBERG EBOOK X ***"
    assert sorted(cuts("Head", begin, "One.", end, "Licence", begin, "Two.", end, "Licence")) == [0, 1, 3, 4, 5, 7, 8]


def test_what_follows_a_book_and_is_no_licence_stays() -> None:
    end = "*** END OF THIS PROJECT GUTENBERG EBOOK X ***"
    licence = "Subscribe to our email newsletter to hear about new eBooks."
    assert sorted(cuts("One.", end, licence, *["Another book. " * 500] * 10)) == [1, 2]


def test_a_text_that_mentions_the_project_is_no_licence() -> None:
    assert cuts("We read a Project Gutenberg eBook.", "At the end of this Project Gutenberg volunteers met.") == {}


def test_another_documents_licence_costs_a_text_nothing() -> None:
    end = "*** END OF THE PROJECT GUTENBERG EBOOK X ***"
    assert sorted(cuts("One.", end, "Licence", "Two.", documents=[0, 0, 0, 1])) == [1, 2]


# --- front matter


def test_markdown_is_left_without_its_front_matter(tmp_path: Path) -> None:
    (kept,) = texts(mended(POLICY, tmp_path, "cut-boilerplate"))
    assert kept.startswith("**Short version:** _We host")
    assert texts(table.read(POLICY))[0].endswith(kept)


def test_a_line_above_a_text_is_no_front_matter() -> None:
    assert cuts("---\nA sentence that stands between two lines.\n---\nMore.") == {}


# --- tables of contents


def test_lines_with_dots_and_a_page_are_taken_out() -> None:
    text = "Preface\n1 Introduction ........ 3\n2 Tools . . . . . . . xiv\nHe waited ... 3 days."
    assert cuts(text) == {0: Cut("contents", "Preface\nHe waited ... 3 days.")}


def test_what_stands_under_contents_and_comes_again_is_taken_out() -> None:
    entries = "CONTENTS\n\n", "Chapter I. The Pool   7\nChapter II. The Caucus\nChapter III. The Rabbit\n"
    rest = "Chapter I.\nThe Pool", "She swam.", "Chapter II.\nThe Caucus", "They ran.", "Chapter III. The Rabbit", "It"
    assert cuts(*entries, *rest) == {0: Cut("contents", ""), 1: Cut("contents", "")}


def test_a_heading_contents_without_a_table_stays() -> None:
    assert cuts("Contents", "The bottle holds a litre.", "One more.", "And another.") == {}


def test_links_into_a_markdown_page_are_taken_out_others_stay() -> None:
    toc = "## Table of contents\n- [A](#a)\n  - [B](#b)\n- [C](#c)\n"
    text = f"# Title\n\n{toc}\nSee\n- [D](#d)\n- [E](https://example.org)\n"
    assert cuts(text) == {0: Cut("contents", "# Title\n\n\nSee\n- [D](#d)\n- [E](https://example.org)")}


# --- edges of pages


def test_headers_and_numbers_of_pages_are_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    pages = [["A Title", f"Paragraph {number * number + 3} ends here.", str(number)] for number in range(1, 5)]
    path.write_bytes(made.pdf(*pages))
    assert found(path)["boilerplate"].count == 8
    assert "page headers, footers and numbers (8)" in found(path)["boilerplate"].help
    version = mended(path, tmp_path, "cut-boilerplate")
    assert texts(version) == [f"Paragraph {number * number + 3} ends here." for number in range(1, 5)]
    assert version.places == ["page 1", "page 2", "page 3", "page 4"]


# --- near copies


def changed(text: str, word: int) -> str:
    words = text.split()
    return " ".join([*words[:word], "changed", *words[word + 1 :]])


def test_near_copies_are_shown_under_the_row_that_they_are_like(tmp_path: Path) -> None:
    path = written(tmp_path, PARAGRAPH, *ENGLISH, changed(PARAGRAPH, 12), f"{PARAGRAPH} And so on.")
    finding = found(path)["near duplicates"]
    assert (finding.count, finding.rows) == (2, [1, 5, 6])
    shown = report.inspect(Data(source=str(path))).rows("near duplicates")["rows"]
    assert [row["note"] for row in shown] == ["", "85% like row 1", "93% like row 1"]


def test_of_near_copies_the_first_stays(tmp_path: Path) -> None:
    path = written(tmp_path, PARAGRAPH, ENGLISH[0], changed(PARAGRAPH, 12), ENGLISH[1])
    assert [text.strip() for text in texts(mended(path, tmp_path, "drop-near-duplicates"))] == [
        PARAGRAPH,
        ENGLISH[0],
        ENGLISH[1],
    ]


def test_likeness_is_the_share_of_runs_of_three_words() -> None:
    one = "a b c d e f g h i j k l m n o p q r s t"
    other = one.replace("t", "z")
    assert likeness.near([one, other]) == {1: (0, 17 / 19)}


def test_short_rows_and_equal_rows_are_no_near_copies() -> None:
    assert likeness.near(["Yes, sir, I will.", "Yes, sir, I shall.", PARAGRAPH, f"{PARAGRAPH.upper()}  "]) == {}


def test_rows_below_the_threshold_are_no_near_copies() -> None:
    assert likeness.near([PARAGRAPH, changed(changed(changed(PARAGRAPH, 5), 15), 25)]) == {}


def test_what_is_taken_out_as_boilerplate_is_compared_with_nothing(tmp_path: Path) -> None:
    begin = "*** START OF THE PROJECT GUTENBERG EBOOK X ***"
    assert "near duplicates" not in found(written(tmp_path, PARAGRAPH, begin, changed(PARAGRAPH, 12)))


# --- languages


def test_rows_in_other_languages_are_found_and_named(tmp_path: Path) -> None:
    path = written(tmp_path, *ENGLISH, GERMAN, "Ja, gewiss.", FRENCH)
    finding = found(path)["other languages"]
    assert (finding.count, finding.rows) == (2, [4, 6])
    assert finding.title.endswith("which are in English")
    assert "German (1), French (1)" in finding.help and "1 row was too short to tell and stay" in finding.help
    notes = [row["note"] for row in report.inspect(Data(source=str(path))).rows("other languages")["rows"]]
    assert notes == ["German", "French"]


def test_rows_too_short_to_tell_stay(tmp_path: Path) -> None:
    kept = texts(mended(written(tmp_path, *ENGLISH, GERMAN, "Ja, gewiss."), tmp_path, "drop-other-languages"))
    assert [text.strip() for text in kept] == [*ENGLISH, "Ja, gewiss."]


def test_a_novel_is_in_one_language() -> None:
    told = languages.told(texts(table.read(BOOK)))
    assert set(told) == {"", "en"} and told.count("en") > len(told) // 2


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (GERMAN, "de"),
        ("それは人間というものについて考えさせる、とても静かな夜のことであった。", "ja"),
        ("for (int i = 0; i < n; ++i) { total[i] += weights[i] * inputs[i - 1]; } // sum of it all, as before", ""),
        ("1.5 | 2.75 | 3.125 | 1.5 | 2.75 | 3.125 | mean and variance of all the measured values here 1.5 | 2", ""),
    ],
)
def test_languages_are_told_of_prose_alone(text: str, language: str) -> None:
    assert languages.told([text]) == [language]


def test_the_main_language_is_the_one_of_most_characters() -> None:
    assert languages.main(["de", "de", "en"], ["a" * 10, "b" * 10, "c" * 30]) == "en"
    assert languages.main(["", ""], ["a", "b"]) == ""


# --- all of them


def test_personal_data_in_texts_is_masked(tmp_path: Path) -> None:
    path = written(tmp_path, *ENGLISH, "Write to anna@mail.example.org or call +44 20 7946 0958.")
    assert {"emails", "phones"} <= set(found(path))
    assert texts(mended(path, tmp_path, "mask-personal"))[-1] == "Write to [EMAIL] or call [PHONE]."


def test_clean_texts_have_nothing_to_take_out(tmp_path: Path) -> None:
    assert found(written(tmp_path, *ENGLISH)) == {}


def test_texts_with_labels_are_not_looked_at_as_texts_by_themselves() -> None:
    rows = [*ENGLISH, GERMAN, PARAGRAPH, changed(PARAGRAPH, 12)] * 2
    examples = [Example(number, text=text, label="ab"[number % 2]) for number, text in enumerate(rows, start=1)]
    assert not {"boilerplate", "near duplicates", "other languages"} & {item.name for item in audit.audit(examples)}


def test_the_rows_that_are_compared_have_a_limit_which_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(audit, "MOST_COMPARED", 3)
    path = written(tmp_path, PARAGRAPH, ENGLISH[0], changed(PARAGRAPH, 12), changed(PARAGRAPH, 20))
    finding = found(path)["near duplicates"]
    assert finding.rows == [1, 3]
    assert finding.help.endswith("The first 3 rows were looked at.")


@pytest.mark.parametrize("remedy", ["cut-boilerplate", "drop-near-duplicates", "drop-other-languages"])
def test_a_remedy_with_nothing_to_do_is_refused(remedy: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing here that this mends"):
        versions.mend(Data(source=str(written(tmp_path, *ENGLISH))), [remedy], tmp_path)


def test_steps_follow_each_other_and_keep_what_belongs_together(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(
        made.zipped(
            {
                "a.txt": "\n\n".join([*ENGLISH, PARAGRAPH, GERMAN]),
                "b.md": "---\ntitle: B\n---\nBee.",
                "c.txt": f"{changed(PARAGRAPH, 12)}\n\nLast.",
            }
        )
    )
    names = ["drop-near-duplicates", "drop-other-languages", "cut-boilerplate"]
    version = mended(path, tmp_path, *names)
    assert [text.strip() for text in texts(version)] == [*ENGLISH, PARAGRAPH, "Bee.", "Last."]
    assert version.continuous == [0, 0, 0, 0, 1, 2]
    assert version.places[-2:] == ["b.md, line 1", "c.txt, line 3"]


def test_notes_of_rows_are_not_written_into_reports(tmp_path: Path) -> None:
    (written_down,) = report.check(str(written(tmp_path, *ENGLISH, GERMAN)))["findings"]
    assert written_down["remedies"] == ["drop-other-languages"]
    assert "notes" not in written_down
