"""The Data step's handlers, routes and markup: whose files, which rows, what stays text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from engine import objectives
from engine.data import history, report, table
from engine.data.example import Example
from engine.data.prepare import prepare
from engine.errors import DataError, SettingError, UserError
from engine.methods.objective import Objective
from engine.methods.suits import suits
from engine.specs.sections import Data
from engine.texts.preview import Lengths
from ui import data_feed, example_files, inspections, lengths, owner, sources
from ui.screens import data, findings, longest_row

EVIL = "'><script>alert(1)</script>"
ROWS = "text,label\n" + "".join(f"Text {number},{'ab'[number % 2]}\n" for number in range(20)) + "text 0,a\nx,A\n"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(Starlette(routes=data_feed.routes())) as client:
        yield client


@pytest.fixture
def source() -> str:
    return sources.kept(ROWS)


class Screen:
    """What the handlers ask of a screen: the entry that the inputs describe."""

    def entry(self, given: Any) -> dict[str, Any]:
        return {"source": given[0]}


def click(source: str, **asked: Any) -> tuple[str, str]:
    event: Any = SimpleNamespace(_data=asked)
    screen: Any = Screen()
    return data._mend(screen)(event, source)


def entry(source: str) -> dict[str, str]:
    return {"entry": json.dumps({"source": source})}


# --- whose files


def test_an_upload_leaves_the_place_where_others_could_read_it(tmp_path: Path) -> None:
    upload = tmp_path / "my rows.csv"
    upload.write_text("text,label\na,b\n", encoding="utf-8")
    kept = sources.uploaded(str(upload))
    assert not upload.exists()
    sources.require(kept)


def test_several_uploads_are_read_as_one_whatever_they_are_called(tmp_path: Path) -> None:
    uploads = [tmp_path / place / "notes.txt" for place in ("one", "two", "three")]
    for number, upload in enumerate(uploads):
        upload.parent.mkdir()
        upload.write_text(f"The first.\n\nText number {number}.", encoding="utf-8")
    kept = sources.uploaded([str(upload) for upload in uploads])
    sources.require(kept)
    assert kept.endswith("notes-and-2-more.zip") and not any(upload.exists() for upload in uploads)
    found = table.read(kept)
    assert len(found.rows) == 6 and {place.partition(",")[0] for place in found.places} == {
        *("notes.txt", "notes-2.txt", "notes-3.txt")
    }
    with pytest.raises(DataError, match="No file arrived"):
        sources.uploaded([])


@pytest.mark.parametrize("name", ["", "no-slash", "../etc/passwd", "a/b/c"])
def test_what_is_no_name_of_a_data_set_is_refused(name: str) -> None:
    with pytest.raises(UserError):
        sources.named(name)


def test_the_address_of_a_data_set_is_taken_for_its_name() -> None:
    assert sources.named(" https://huggingface.co/datasets/ann/csv/viewer ") == "ann/csv"


def test_nobody_mends_or_opens_the_rows_of_somebody_else(source: str, client: TestClient) -> None:
    with owner.acting("somebody-else"), pytest.raises(DataError, match="not there any more"):
        click(source, remedy="drop-duplicates")
    with owner.acting("somebody-else"), pytest.raises(DataError, match="not there any more"):
        sources.before(source)
    answer = client.get("/tunesmith/data/rows", params={**entry("/etc/passwd"), "name": "duplicates"})
    assert (answer.status_code, answer.json()["problem"]) == (422, "This data is not there any more.")


# --- remedies


def test_a_click_makes_a_version_and_undo_goes_back(source: str) -> None:
    version, did = click(source, remedy="drop-duplicates")
    assert did == "Done: 1 repeat dropped."
    assert report.check(version)["rows"] == 21 and report.check(source)["rows"] == 22
    assert click(version, undo=True)[0] == source


@pytest.mark.parametrize("asked", [{}, {"remedy": "no-such"}, {"remedy": ["drop-duplicates"]}, {"undo": True}])
def test_what_no_button_says_is_refused(source: str, asked: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        click(source, **asked)


# --- routes


def test_the_rows_of_a_finding_come_as_they_stand(source: str, client: TestClient) -> None:
    answer = client.get("/tunesmith/data/rows", params={**entry(source), "name": "duplicates"}).json()
    assert answer["count"] == 1
    assert answer["rows"][0]["cells"] == [["text", "text 0"], ["label", "a"]]


@pytest.mark.parametrize("given", ["", "[1]", '{"source": 1}', '{"source": "a", "secret": 1}'])
def test_rows_of_unclear_data_are_refused_in_words(client: TestClient, given: str) -> None:
    answer = client.get("/tunesmith/data/rows", params={"entry": given, "name": "duplicates"})
    assert answer.status_code == 422 and answer.json()["problem"]


def test_a_search_without_a_hub_says_so(client: TestClient) -> None:
    answer = client.get("/tunesmith/data/search", params={"q": "support"})
    assert (answer.status_code, answer.json()["fix"]) == (422, "Use a file, paste rows, or look again in a minute.")


def test_the_hub_is_not_asked_for_a_single_letter(client: TestClient) -> None:
    assert client.get("/tunesmith/data/search", params={"q": " s "}).json() == []


@pytest.mark.parametrize("name", example_files.FILES)
def test_an_example_file_has_nothing_to_mend(client: TestClient, tmp_path: Path, name: str) -> None:
    answer = client.get(f"/tunesmith/data/examples/{name}")
    (tmp_path / name).write_bytes(answer.content)
    told = report.check(str(tmp_path / name))
    assert "attachment" in answer.headers["content-disposition"]
    to_mend = [finding for finding in told["findings"] if finding["level"] != "info"]
    assert (to_mend, told["problems"], told["error"]) == ([], [], None)


@pytest.mark.parametrize("objective", objectives.all(), ids=lambda one: one.name)
def test_each_objective_has_an_example_file_that_it_accepts(tmp_path: Path, objective: Objective) -> None:
    accepted = []
    for name, one in example_files.FILES.items():
        (tmp_path / name).write_bytes(one.content)
        entry = Data(source=str(tmp_path / name))
        suit = next(suit for suit in suits(table.load(entry), entry) if suit.name == objective.name)
        if not suit.missing:
            kind = "number" if "number" in suit.how else objective.kind(objective.Settings())
            prepared = prepare([entry], objective.wants, 42, kind=kind)
            assert bool(prepared.problems) == suit.how.startswith("but for ")
            accepted += [] if prepared.problems else [name]
    assert accepted


def test_data_that_nothing_learns_from_is_told_with_examples_of_what_is() -> None:
    pairs = [json.dumps({"prompt": "Hi?", "chosen": f"Hello {n}!", "rejected": "What."}) for n in range(12)]
    entry = Data(source=sources.kept("\n".join(pairs)))
    shown = findings.found(inspections.inspect(entry).report, entry)
    assert "No objective can learn from it as it is." in shown and "preference pairs" in shown
    assert "examples/labels.csv' download" in shown and "Good for" not in shown


def test_each_shape_of_answers_has_an_example() -> None:
    assert {one.use for one in example_files.FILES.values()} == {"Answers", "Labels", "Texts to read"}
    shown = example_files.links()
    assert all(f"examples/{name}' download" in shown for name in example_files.FILES)


# --- what is kept for a while


def test_a_file_is_read_once_until_it_changes(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = inspections.inspect(Data(source=source))
    monkeypatch.setattr(inspections.table, "load", lambda _: pytest.fail("read again"))
    assert inspections.inspect(Data(source=source)) is first
    monkeypatch.undo()
    Path(source).write_text(ROWS + "new,b\n", encoding="utf-8")
    assert inspections.inspect(Data(source=source)).report["rows"] == 23


def test_what_one_visitor_read_is_not_shown_to_another(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = inspections.inspect(Data(source=source))
    with owner.acting("somebody-else"):
        assert inspections.inspect(Data(source=source)) is not first


# --- markup


def found(**changes: Any) -> str:
    told: dict[str, Any] = {
        "rows": 1,
        "source": EVIL,
        "history": [],
        "title_of_first": EVIL,
        "title": EVIL,
        "why": EVIL,
        "error": {"problem": EVIL, "fix": EVIL},
        "splits": {"train": 1},
        "columns": [{"name": EVIL, "kind": EVIL, "distinct": 1, "example": EVIL}],
        "problems": [
            {"name": EVIL, "problem": EVIL, "fix": EVIL, "count": 1, "rows": [1], "places": [EVIL], "remedies": []}
        ],
        "findings": [{"name": EVIL, "title": EVIL, "count": 1, "help": EVIL, "rows": [1], "remedies": ["drop-long"]}],
        "notices": [EVIL],
        "suits": [{"title": EVIL, "how": EVIL, "missing": ""}, {"title": EVIL, "how": "", "missing": EVIL}],
        **changes,
    }
    return findings.found(told, Data(source=EVIL), EVIL) + findings.columns(told)


def test_what_a_file_says_of_itself_stays_text() -> None:
    shown = [
        found(),
        found(history=[EVIL]),
        findings.example(Example(1, text=EVIL, label=EVIL), {EVIL: EVIL}),
        findings.example(Example(1, messages=[{"role": EVIL, "content": EVIL}]), {EVIL: [EVIL]}),
        findings.first_rows(EVIL, [[(EVIL, EVIL)]]),
    ]
    assert not [markup for markup in shown if EVIL in markup or "<script" in markup]


def test_every_button_says_what_it_is_about(source: str) -> None:
    shown = findings.found(report.check(source), Data(source=source))
    assert "aria-label='Drop the repeats: Rows that repeat an earlier one'" in shown


def test_only_the_answers_of_the_first_row_are_coloured() -> None:
    turns = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "A"},
    ]
    shown = findings.example(Example(1, messages=turns), {"messages": turns})
    assert shown.count("<mark>") == 1 and "<mark>A</mark>" in shown


# --- lengths


def lengths_of(full: list[int], first: list[int | None], max_tokens: int) -> Lengths:
    return Lengths([], [], 0, 0, max(full), 0, {}, full, first, max_tokens)


@pytest.mark.parametrize("max_tokens", [8, 60, 1024])
@pytest.mark.parametrize("longest", [9, 140, 3000, 90_000])
def test_what_a_cut_does_is_counted_rightly_at_every_place_of_the_line(longest: int, max_tokens: int) -> None:
    full = [5 + (number * number) % 97 for number in range(200)] + [longest]
    first: list[int | None] = [None if number % 50 == 0 else length - 3 for number, length in enumerate(full)]
    markup = lengths.picture(lengths_of(full, first, max_tokens))
    drawn = json.loads(markup.partition("data-lengths='")[2].partition("'")[0].replace("&quot;", '"'))
    stops = drawn["stops"]
    assert stops[0] == 8 and stops[-1] == max(*full, 9) and len(stops) <= lengths.MOST_STOPS + 3
    for place, stop in enumerate(stops):
        assert sum(drawn["rows"][place + 1 :]) == sum(length > stop for length in full)
        assert sum(drawn["answers"][place + 1 :]) == sum(begin >= stop for begin in first if begin is not None)
    assert max_tokens in stops or max_tokens >= stops[-1]


def test_without_lengths_there_is_no_picture() -> None:
    assert lengths.picture(Lengths([], [], 0, 0, 0, 0)) == ""


@pytest.mark.parametrize("value", [None, "256", 7, 1.5, True, 10**9])
def test_the_line_can_not_be_put_where_the_setting_does_not_allow(value: Any) -> None:
    event: Any = SimpleNamespace(_data={"max_tokens": value})
    with pytest.raises(SettingError, match="Longest row"):
        longest_row._chosen(event)


def test_where_the_line_was_put_is_the_new_value_of_the_setting() -> None:
    event: Any = SimpleNamespace(_data={"max_tokens": 256})
    assert longest_row._chosen(event) == 256


def test_a_version_is_called_as_the_file_that_it_comes_from(source: str) -> None:
    version, _ = click(source, remedy="drop-duplicates")
    assert history.title(version) == history.title(source) == Path(source).name
