"""From a dropped file of several labels, or of numbers, to the spec of a run and what the page says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import DataError
from engine.runs import store
from engine.specs.sections import Data
from engine.specs.spec import RunSpec, of_spec
from tests.ui.test_screens import given
from ui import example_files, inspections, sources
from ui.screens import data, findings, start


@pytest.fixture
def several(tmp_path: Path) -> str:
    return _file(tmp_path, "several-labels.csv")


@pytest.fixture
def numbers(tmp_path: Path) -> str:
    return _file(tmp_path, "numbers.csv")


def _file(tmp_path: Path, name: str) -> str:
    path = tmp_path / name
    path.write_bytes(example_files.FILES[name].content)
    return sources.uploaded(str(path))


def wanted(screen: start.StartScreen, source: str, **changes: Any) -> RunSpec:
    known = {component.label: component._id for component in reversed(screen.inputs)}
    chosen = {known[label.replace("_", " ")]: value for label, value in changes.items()}
    return screen.spec(given(screen, {screen.rows.source._id: source, screen.how.objective._id: "classify", **chosen}))


def test_several_labels_are_said_before_the_objective_is_chosen_and_stand_in_the_runs_spec(
    screen: start.StartScreen, several: str
) -> None:
    seen = inspections.inspect(Data(source=several)).report
    assert data._state(seen, 0, False) == data.READY
    assert "divided by &#x27;;&#x27;" in findings.found(seen, Data(source=several))
    (first,) = inspections.first(Data(source=several))
    assert first[0].labels == ["late", "damaged"]
    assert "labels:</span> <mark>late, damaged</mark>" in findings.example(*first)

    spec = wanted(screen, several)
    assert spec.objective_settings.model_dump()["kind"] == "auto"
    run = store.create(spec, of_spec(spec))
    kept = run.spec()
    assert kept.objective_settings.model_dump()["kind"] == "several labels"
    assert kept.data[0].label_separator == ";"
    assert screen.rows.show(kept.data[0].model_dump())  # and the page can show it again


def test_numbers_are_learned_where_the_person_chooses_that_kind(screen: start.StartScreen, numbers: str) -> None:
    seen = inspections.inspect(Data(source=numbers)).report
    assert seen["format"] == "labelled"
    assert any("'rating' holds numbers, 15 different ones" in notice for notice in seen["notices"])
    with pytest.raises(DataError, match="these are no classes"):
        of_spec(wanted(screen, numbers))
    spec = wanted(screen, numbers, Kind_of_answer="number")
    run = store.create(spec, of_spec(spec))
    assert run.spec().objective_settings.model_dump()["kind"] == "number"
    assert '"number": 9.5' in (run.folder / "examples.jsonl").read_text(encoding="utf-8")


def test_a_separator_and_label_columns_arrive_from_the_form(screen: start.StartScreen, several: str) -> None:
    entry = wanted(screen, several, Between_labels="|", Label_columns="late\nbroken").data[0]
    assert (entry.label_separator, entry.label_columns) == ("|", "late\nbroken")


def test_marked_words_are_shown_row_by_row_and_stand_in_the_runs_spec(
    screen: start.StartScreen, tmp_path: Path
) -> None:
    source = _file(tmp_path, "marked-words.jsonl")
    seen = inspections.inspect(Data(source=source)).report
    assert (seen["format"], data._state(seen, 0, False)) == ("marked", data.READY)
    assert data._parts(seen) == ["text", "marks"]
    shown = data._first(Data(source=source))
    assert shown.count("<div class='ts-text'>") == 3  # one row tells little of what is marked
    assert "<mark class='ts-marked'>Anna Brandt <b>person</b></mark> moved to" in shown
    told = findings.found(seen, Data(source=source))
    assert "marks with 3 labels" in told and "Rows in which nothing is marked" in told
    run = store.create(wanted(screen, source), of_spec(wanted(screen, source)))
    assert run.spec().objective_settings.model_dump()["kind"] == "marked words"
    assert '"marks": [[0, 11, "person"], [21, 27, "place"]]' in (run.folder / "examples.jsonl").read_text(
        encoding="utf-8"
    )
    with pytest.raises(DataError, match="can't be read as one label"):
        of_spec(wanted(screen, source, Kind_of_answer="one label"))
