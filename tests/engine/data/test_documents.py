"""Documents of each kind as rows with places, what is said of what they lack, and files that are meant to do harm."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.data import apart, archive, markup, pdf, rows, table, versions, word
from engine.errors import DataError
from engine.specs.sections import Data
from tests.engine.data import made_documents as made

SAMPLES = Path(__file__).parents[2] / "data" / "documents"
LONG = "This sentence is written on a line of a usual length and goes on to the next"


def parsed(name: str, content: str | bytes) -> rows.Table:
    return table.parse(name, content.encode() if isinstance(content, str) else content)


def texts(found: rows.Table) -> list[str]:
    return [row["text"] for row in found.rows]


def html(body: str, head: str = "") -> str:
    return f"<!doctype html><html><head>{head}</head><body>{body}</body></html>"


# --- plain texts


def test_a_book_is_paragraphs_that_follow_each_other() -> None:
    found = table.read(SAMPLES / "pride-and-prejudice_head.txt")
    at = next(index for index, text in enumerate(texts(found)) if text.startswith("It is a truth universally"))
    assert found.places[at] == "line 41"
    assert found.continuous == [0] * len(found.rows)


def test_markdown_is_one_document_of_one_row() -> None:
    found = table.read(SAMPLES / "github-acceptable-use-policies.md")
    assert (len(found.rows), found.continuous) == (1, [0])


def test_rows_of_a_table_stand_alone() -> None:
    assert parsed("a.csv", "text\nOne\nTwo\n").continuous == []


# --- source code


def test_a_short_source_file_is_one_row_as_it_stands() -> None:
    code = "import os\r\n\r\n\r\ndef f():\r\n\treturn os\r\n"
    assert texts(parsed("a.py", code)) == [code]


def test_a_long_source_file_is_one_row_a_top_level_block() -> None:
    body = "\n\n".join(f"    step_{number} = {number}" for number in range(300))
    found = parsed("a.py", f"import os\n\n\ndef first():\n{body}\n\n\ndef second():\n    return 2\n")
    assert [text.split("\n")[0] for text in texts(found)] == ["import os", "def first():", "def second():"]
    assert found.places == ["line 1", "line 4", "line 606"]


def test_what_closes_a_block_begins_no_new_one() -> None:
    body = "\n".join(f"  a({number});" for number in range(600))
    assert len(texts(parsed("a.js", f"function f() {{\n{body}\n\n}}\n\nlet b = 1;\n"))) == 2


@pytest.mark.parametrize("name", ["a.ts", "a.h", "a.sql", "a.tex", "A.RST"])
def test_source_code_is_told_by_its_ending(name: str) -> None:
    assert "the whole file" in parsed(name, "one, two\n{three}\n").notices[0]


# --- subtitles

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Well, Prince,</i>

2
00:00:02,600 --> 00:00:04,000
{\\an8}so Genoa and Lucca
are now estates.

3
01:02:03,000 --> 01:02:04,000
- No.
- Yes &amp; no.
"""


def test_subtitles_are_sentences_at_their_times() -> None:
    found = parsed("a.srt", SRT)
    assert texts(found) == ["Well, Prince, so Genoa and Lucca are now estates.", "- No.\n- Yes & no."]
    assert found.places == ["00:00:01", "01:02:03"]
    assert found.notices == ["a.srt is subtitles: 3 cues read as 2 rows."]


def test_lines_that_scroll_are_taken_once() -> None:
    vtt = (
        "WEBVTT\n\nNOTE not said\n\nSTYLE\n::cue {}\n\nintro\n00:01.000 --> 00:02.000\nso here we\n\n"
        "00:02.000 --> 00:03.000 align:start\nso here we\n<c.yellow>go</c> <00:02.500>again\n\n"
        "00:03.000 --> 00:04.000\ngo again\nmy friends\n"
    )
    assert texts(parsed("a.vtt", vtt)) == ["so here we go again my friends"]


def test_a_pause_parts_what_ends_in_no_full_stop() -> None:
    assert len(texts(parsed("a.vtt", "00:01.000 --> 00:02.000\none\n\n00:09.000 --> 00:10.000\ntwo\n"))) == 2


def test_subtitles_without_times_are_refused() -> None:
    with pytest.raises(DataError, match=r"a\.srt holds no subtitles"):
        parsed("a.srt", "Only a sentence.\n")


# --- HTML


def test_html_is_its_paragraphs_headings_and_rows_of_tables() -> None:
    found = parsed(
        "a.html",
        html("<h1>Title</h1>\n<p>One\n  <b>bold</b> word.<br>Next</p>\n<div>Before<ul><li>Point</li></ul>after</div>"
             "<table><tr><th>A</th><td>1</td><td></td></tr></table><pre>x =\n   1</pre>"),
    )  # fmt: skip
    assert texts(found) == ["Title", "One bold word.\nNext", "Before", "Point", "after", "A | 1", "x =\n   1"]
    assert found.places[:3] == ["line 1", "line 2", "line 4"]
    assert found.continuous == [0] * 7


def test_what_a_page_runs_or_hides_is_not_read_and_said() -> None:
    found = parsed(
        "a.html",
        html(
            "<nav>Menu</nav><p>Read <script>alert('me')</script>this.</p><template>no</template><p hidden>no</p>"
            "<!-- no --><noscript>no</noscript><iframe src='http://localhost/'>no</iframe><svg><text>no</text></svg>",
            "<title>no</title><style>no{}</style>",
        ),
    )
    assert texts(found) == ["Read this."]
    assert found.notices[1] == "Not read from a.html: drawings, navigation, scripts."


@pytest.mark.parametrize("meta", ['<meta charset="windows-1251">', '<meta http-equiv=a content="b; charset=cp1251">'])
def test_html_is_read_by_the_encoding_that_it_states(meta: str) -> None:
    assert texts(parsed("a.html", html("<p>Да</p>", meta).encode("cp1251"))) == ["Да"]


def test_tags_that_nobody_closed_part_paragraphs_all_the_same() -> None:
    assert texts(parsed("a.htm", "<p>One<p>Two<div>Three")) == ["One", "Two", "Three"]


def test_html_without_text_is_refused() -> None:
    with pytest.raises(DataError, match=r"a\.html is HTML without any text"):
        parsed("a.html", html("<script>only</script>"))


def test_a_page_of_many_tags_inside_each_other_is_read() -> None:
    assert texts(parsed("a.html", "<div>" * 20_000 + "deep" + "<i>er" * 20_000))[0].startswith("deep")


def test_a_page_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markup, "MOST_TAGS", 100)
    with pytest.raises(DataError, match="a page of more than 100 tags"):
        markup.read(html("<br>" * 200), "a.html")
    monkeypatch.setattr(markup, "MOST_BYTES", 1024**2)
    with pytest.raises(DataError, match="a page of more than 1 MB"):
        markup.read(html("long " * 300_000), "a.html")


def test_a_page_that_keeps_a_parser_busy_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "SECONDS", 0.5)
    with pytest.raises(DataError, match=r"a\.html can't be read: it takes longer than"):
        parsed("a.html", "<p>x" + "<a " * 50_000)


def test_pasted_html_is_told_by_its_beginning() -> None:
    assert texts(table.paste("<!DOCTYPE html>\n<p>One</p><p>Two</p>")) == ["One", "Two"]


# --- PDF


def test_lines_of_a_pdf_become_paragraphs_on_their_pages() -> None:
    found = parsed("a.pdf", made.pdf(["Introduction", LONG, f"{LONG} and exam-", "ple ends."], ["Second (page)."]))
    assert texts(found) == ["Introduction", f"{LONG} {LONG} and example ends.", "Second (page)."]
    assert found.places == ["page 1", "page 1", "page 2"]
    assert found.notices == ["a.pdf is a PDF of 2 pages: 3 rows."]
    assert found.continuous == [0, 0, 0]


def test_a_sentence_goes_on_at_the_top_of_the_next_page() -> None:
    found = parsed("a.pdf", made.pdf([LONG, LONG], ["and ends here.", f"{LONG}.", "Next."]))
    assert texts(found)[0].endswith("goes on to the next and ends here.")
    assert found.places[0] == "page 1"


def sentence(number: int) -> str:
    return f"Sentence number {number * number + 3} goes on for about as long as a line of this page is wide."


def test_what_repeats_or_counts_at_the_edges_of_pages_stands_by_itself() -> None:
    pages = [["A Title", sentence(page), sentence(page + 50), f"Report {page + 4} of 9"] for page in range(4)]
    found = parsed("a.pdf", made.pdf(*pages))
    edges = [(place, text) for place, text in zip(found.places, texts(found), strict=True) if "," in place]
    assert edges[:2] == [("page 1, top", "A Title"), ("page 1, bottom", "Report 4 of 9")]
    assert len(edges) == 8


def test_headings_of_chapters_are_no_headers() -> None:
    pages = [[sentence(page), sentence(page + 50)] for page in range(12)]
    for chapter, page in enumerate((0, 1, 3, 6, 8), start=1):
        pages[page].insert(0, f"Chapter {chapter}")
    found = parsed("a.pdf", made.pdf(*pages))
    assert texts(found).count("Chapter 3") == 1
    assert not [place for place in found.places if "top" in place]


def test_lines_of_contents_stay_lines() -> None:
    found = parsed("a.pdf", made.pdf(["Contents", f"1 {LONG} ........ 3", f"2 {LONG} . . . . . 14"]))
    assert len(found.rows) == 3


def test_scanned_pages_are_named() -> None:
    found = parsed("a.pdf", made.pdf(None, ["Text."], None, None, []))
    assert texts(found) == ["Text."] and found.places == ["page 2"]
    assert "Pages of a.pdf that are pictures without text, not read: 1, 3-4. They need OCR." in found.notices
    assert "Pages of a.pdf without text or pictures: 5." in found.notices


def test_a_scanned_pdf_is_refused() -> None:
    with pytest.raises(DataError, match="its pages are pictures, as a scanner makes them") as raised:
        parsed("a.pdf", made.pdf(None, None))
    assert "OCR" in raised.value.fix


def test_a_pdf_with_a_password_is_refused_and_one_that_forbids_printing_is_read() -> None:
    with pytest.raises(DataError, match=r"a\.pdf is protected with a password"):
        parsed("a.pdf", made.locked_pdf("secret", ["Hidden."]))
    assert texts(parsed("a.pdf", made.locked_pdf("", ["Open."]))) == ["Open."]


def test_a_pdf_that_is_cut_off_or_broken_is_refused() -> None:
    whole = made.pdf(["One."], ["Two."])
    with pytest.raises(DataError, match=r"a\.pdf is cut off: its end is missing"):
        parsed("a.pdf", whole[: whole.index(b"startxref")])
    with pytest.raises(DataError, match=r"a\.pdf is a damaged PDF"):
        parsed("a.pdf", b"%PDF-1.4\n" + b"x" * 200 + b"\n%%EOF\n")


def test_a_page_whose_letters_cannot_be_told_is_named_and_the_others_are_read() -> None:
    whole = made.pdf(["One."], ["Two."])
    found = parsed("a.pdf", whole.replace(b"<</F1 3 0 R>>", b"<</F1 (no)>>", 1))
    assert (texts(found), found.places) == (["Two."], ["page 2"])
    assert "Pages of a.pdf that are damaged or whose letters can't be told, not read: 1." in found.notices


def test_a_pdf_of_too_many_pages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MOST_PAGES", 2)
    with pytest.raises(DataError, match="has 3 pages; up to 2 are read"):
        parsed("a.pdf", made.pdf(["One."], ["Two."], ["Three."]))


def test_a_pdf_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "PDF_SECONDS", 0.0)
    with pytest.raises(DataError, match="takes longer than 0 minutes: page 0 of 2 was reached"):
        parsed("a.pdf", made.pdf(["One."], ["Two."]))


def test_no_copy_of_a_pdf_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apart.tempfile, "tempdir", str(tmp_path))
    assert texts(parsed("a.pdf", made.pdf(["One."]))) == ["One."]
    with pytest.raises(DataError):
        parsed("a.pdf", made.pdf(None))
    assert os.listdir(tmp_path) == []


# --- DOCX


def test_a_word_document_is_paragraphs_rows_of_tables_and_notes() -> None:
    cell = "<w:tc>{}</w:tc>"
    row = "<w:tr>" + cell.format(made.paragraph("Tea")) + cell.format(made.paragraph("2")) + "</w:tr>"
    tabs = '<w:pPr><w:tabs><w:tab w:val="left"/></w:tabs></w:pPr>'
    body = (
        f"<w:p>{tabs}<w:r><w:t>One</w:t><w:tab/><w:t>two</w:t><w:br/><w:t>three</w:t></w:r></w:p><w:p/>"
        f"<w:tbl>{row}</w:tbl><w:p><w:ins><w:r><w:t>New</w:t></w:r></w:ins><w:del><w:r><w:delText>Old</w:delText></w:r>"
        "</w:del><mc:Fallback><w:r><w:t>New</w:t></w:r></mc:Fallback></w:p>"
    )
    notes = f"<w:footnote>{made.paragraph('See there.')}</w:footnote>"
    found = parsed("a.docx", made.docx(body, footnotes=notes, comments=made.paragraph("no")))
    assert texts(found) == ["One\ttwo\nthree", "Tea | 2", "New", "See there."]
    assert found.places == ["paragraph 1", "table 1, row 1", "paragraph 2", "footnote 1"]
    assert found.notices[1] == "Not read from a.docx: comments."


def test_a_word_document_without_text_is_refused() -> None:
    with pytest.raises(DataError, match=r"a\.docx holds no text"):
        parsed("a.docx", made.docx("<w:p/>"))


def test_an_encrypted_word_document_asks_for_docx() -> None:
    with pytest.raises(DataError, match="protected Office file") as raised:
        parsed("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 600)
    assert raised.value.fix == "Save it as .docx without a password."


ENTITY = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><x>&a;</x>'


def test_entities_in_xml_are_refused() -> None:
    with pytest.raises(DataError, match=r"a\.docx is damaged inside"):
        parsed("a.docx", made.zipped({"word/document.xml": ENTITY}))
    with pytest.raises(DataError, match=r"a\.epub is damaged inside"):
        parsed("a.epub", made.zipped({"META-INF/container.xml": ENTITY}))


def test_a_document_that_swells_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_RATIO_FROM_BYTES", 100_000)
    with pytest.raises(DataError, match="200 times its size"):
        word.read(made.docx(made.paragraph("a" * 1_000_000)), "a.docx")


# --- EPUB


def test_a_book_is_chapters_in_the_order_of_its_package() -> None:
    chapters = {
        "z.xhtml": "<h2>First</h2><p>One.</p>",
        "cover.xhtml": "<img src='cover.jpg'/>",
        "a b.xhtml": "<p>Two &#8212; &nbsp;2.</p>",
    }
    found = parsed("a.epub", made.epub(chapters))
    assert texts(found) == ["First", "One.", "Two — 2."]
    assert found.places == ["chapter 1, paragraph 1", "chapter 1, paragraph 2", "chapter 2, paragraph 1"]
    assert found.notices == [
        "a.epub is a book: 3 rows of 2 chapters.",
        "1 page of a.epub without text, such as a cover, not read.",
        "The table of contents of a.epub is not read.",
    ]


def test_a_chapter_that_is_missing_is_named() -> None:
    whole = made.epub({"one.xhtml": "<p>One.</p>", "two.xhtml": "<p>Two.</p>"})
    kept = {}
    with zipfile.ZipFile(made.io.BytesIO(whole)) as book:
        kept = {name: book.read(name) for name in book.namelist() if name != "OPS/two.xhtml"}
    assert (
        "Chapters that a.epub names but does not hold: OPS/two.xhtml."
        in parsed("a.epub", made.zipped({**kept})).notices
    )


def test_a_book_with_copy_protection_is_refused() -> None:
    lock = '<encryption><CipherReference URI="OPS/one.xhtml"/></encryption>'
    with pytest.raises(DataError, match="protected against copying"):
        parsed("a.epub", made.epub({"one.xhtml": "<p>One.</p>"}, encryption=lock))


def test_a_book_whose_fonts_alone_are_hidden_is_read() -> None:
    lock = '<encryption><CipherReference URI="OPS/font.otf"/></encryption>'
    assert texts(parsed("a.epub", made.epub({"one.xhtml": "<p>One.</p>"}, encryption=lock))) == ["One."]


# --- several documents


def several() -> dict[str, str | bytes]:
    return {
        "d/book.epub": made.epub({"one.xhtml": "<p>Four.</p>"}),
        "a.txt": "One.\n\nTwo.\n",
        "b.pdf": made.pdf(["Three."]),
        "e.docx": made.docx(made.paragraph("Five.")),
        "cover.jpg": b"\xff\xd8\xff\0\0",
        "empty.py": "",
    }


def test_documents_of_several_kinds_in_a_zip_are_one_table() -> None:
    found = parsed("a.zip", made.zipped(several()))
    assert dict(zip(found.places, texts(found), strict=True)) == {
        "a.txt, line 1": "One.",
        "a.txt, line 3": "Two.\n",
        "b.pdf, page 1": "Three.",
        "d/book.epub, chapter 1, paragraph 1": "Four.",
        "e.docx, paragraph 1": "Five.",
    }
    assert found.continuous == [0, 0, 1, 2, 3]
    assert "Empty files, not read: empty.py." in found.notices
    assert "Files of another kind, not read: cover.jpg." in found.notices


def test_a_document_that_cannot_be_read_is_a_problem_beside_others() -> None:
    locked = made.locked_pdf("secret", ["Hidden."])
    found = parsed("a.zip", made.zipped({**several(), "c.pdf": locked, "f.docx": b"PK\x03\x04broken"}))
    assert [(item.row, item.place, item.problem) for item in found.problems] == [
        (6, "c.pdf", "c.pdf is protected with a password."),
        (7, "f.docx", found.problems[1].problem),
    ]
    assert "damaged" in found.problems[1].problem
    assert (len(found.rows), found.numbers) == (5, [1, 2, 3, 4, 5])


def test_rows_that_stand_alone_are_documents_of_one_row_beside_texts() -> None:
    found = parsed("a.zip", made.zipped({"a.txt": "One.\n\nTwo.", "b.csv": "text\nThree\nFour\n"}))
    assert found.continuous == [0, 0, 1, 2]


@pytest.mark.parametrize("name", ["../a.txt", "/etc/a.txt", "d/../../a.txt", "..\\a.txt"])
def test_a_zip_with_a_path_that_climbs_out_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"a\.zip holds a file for a place outside of it"):
        parsed("a.zip", made.zipped({"b.txt": "One.", name: "Two."}))


def test_packed_documents_count_by_what_they_unpack_to(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = made.docx("".join(made.paragraph(f"{number} {LONG}") for number in range(2000)))
    monkeypatch.setattr(rows, "MAX_BYTES", 200_000)
    monkeypatch.setattr(archive, "_check", lambda *given: None)
    with pytest.raises(DataError, match="unpacked"):
        parsed("a.zip", made.zipped({"a.docx": inner, "b.docx": inner}))


def test_a_version_of_documents_keeps_places_and_what_belongs_together(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(made.zipped({"a.txt": "One.\n\nTwo.", "b.txt": "One.\n\nThree.\n\nWrite to a@b.org."}))
    version = versions.mend(Data(source=str(path)), ["drop-duplicates", "mask-personal"], tmp_path)
    found = table.read(version)
    assert texts(found) == ["One.", "Two.", "Three.", "Write to [EMAIL]."]
    assert found.places == ["a.txt, line 1", "a.txt, line 3", "b.txt, line 3", "b.txt, line 5"]
    assert found.continuous == [0, 0, 1, 1]


def test_places_that_do_not_fit_a_version_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("One.\n\nOne.\n\nTwo.")
    version = versions.mend(Data(source=str(path)), ["drop-duplicates"], tmp_path)
    version.write_text('{"text": "Only one"}\n')
    assert (table.read(version).places, table.read(version).continuous) == (["line 1"], [])


# --- every kind

BAD: dict[str, Callable[[], bytes]] = {
    ".pdf": lambda: made.pdf(["One."]),
    ".docx": lambda: made.docx(made.paragraph("One.")),
    ".epub": lambda: made.epub({"one.xhtml": "<p>One.</p>"}),
}


@pytest.mark.parametrize("ending", sorted({*table.KINDS} - {".gz", ".zip"}))
def test_an_empty_file_of_any_kind_is_refused(ending: str) -> None:
    with pytest.raises(DataError, match="is empty"):
        parsed(f"a{ending}", b" \n")


@pytest.mark.parametrize("ending", BAD)
def test_a_truncated_file_is_refused(ending: str) -> None:
    whole = BAD[ending]()
    with pytest.raises(DataError, match=r"damaged|is cut off"):
        parsed(f"a{ending}", whole[:50])


@pytest.mark.parametrize("ending", BAD)
def test_a_file_that_is_something_else_is_refused(ending: str) -> None:
    with pytest.raises(DataError, match=rf"a\{ending} is no \{ending} file inside"):
        parsed(f"a{ending}", b"Only text.")


@pytest.mark.parametrize("ending", BAD)
def test_what_is_inside_decides_not_the_name(ending: str) -> None:
    assert texts(parsed("download", BAD[ending]())) == ["One."]
