"""Beside the template: what the page shows of it while somebody writes, for whom, and that it stays text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import home
from engine.texts.slot_look import Look, Word
from tests.fakes import models, pages
from tests.ui.test_limits import ADA
from tests.ui.test_screens import given
from ui import owner, slot_view
from ui.screens import slot_look, start

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def tiny() -> Path:
    return models.tiny_decoder(home.home() / "models" / "tiny")


@pytest.fixture
def rows() -> Path:
    path = home.files("local") / "intents.csv"
    path.write_text("text,label\n" + "".join(f"Question {n}?,{'ab'[n % 2]}\n" for n in range(20)), encoding="utf-8")
    return path


def looked(screen: start.StartScreen, model: Path | str, source: Path | str, **changes: Any) -> tuple[Any, Any]:
    """What is told and shown for a template and words."""
    asked = {"objective": "cloze", "template": "{text} It is {label}.", "words": "a = x\nb = y z"} | changes
    _, *sent = given(screen, {screen.rows.source._id: str(source)})[: 1 + len(screen.rows.inputs)]
    written = (asked["objective"], str(model), "", asked["template"], asked["words"], True)
    found: tuple[Any, Any] = slot_look._looked(screen)(*written, *sent)
    return found


def test_a_row_stands_in_the_prompt_and_each_word_is_split(screen: start.StartScreen, tiny: Path, rows: Path) -> None:
    told, shown = looked(screen, tiny, rows)
    assert "2 labels" in told
    assert "Question 0? It is <mark class='ts-slot'>" in shown and "<th scope='row'>b</th>" in shown
    assert "tokens: <code>" in shown and "pieces that the model knows one by one" in shown


def test_faults_are_told_beside_what_can_be_shown(screen: start.StartScreen, tiny: Path, rows: Path) -> None:
    told, shown = looked(screen, tiny, rows, template="{text} {label} {label}", words="a =\nc = d")
    assert "To mend:" in told and "2 times" in told and "And 2 more, below." in told
    assert shown.count("<mark class='ts-slot'>") == 2 and "has no word" in shown and "no row has the label" in shown


def test_without_the_models_files_the_rest_is_shown(
    screen: start.StartScreen, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "empty"))
    told, shown = looked(screen, "embedded:smollm2-135m", rows)
    assert "once the model is on this machine" in told and "<td>x</td><td>–</td>" in shown


def test_nothing_is_asked_for_other_objectives(screen: start.StartScreen, rows: Path) -> None:
    assert all(update.get("__type__") == "update" for update in looked(screen, "no model", rows, objective="chat"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("text\n" + "A text.\n" * 9, "without labels"),
        ("premise,hypothesis,label\n" + "".join(f"A {n},B {n},{'ab'[n % 2]}\n" for n in range(20)), "two texts"),
    ],
)
def test_data_that_does_not_fit_is_told_in_place_of_the_prompt(
    screen: start.StartScreen, tiny: Path, rows: Path, content: str, told: str
) -> None:
    rows.write_text(content, encoding="utf-8")
    found, shown = looked(screen, tiny, rows)
    assert told in found and shown == ""


def test_files_and_models_of_others_are_refused(screen: start.StartScreen, tiny: Path, rows: Path) -> None:
    assert "not there any more" in looked(screen, tiny, "/etc/passwd")[0]
    with pages.opened(), owner.acting(ADA):
        assert "not there any more" in looked(screen, tiny, rows)[0]
        mine = home.files(ADA.name) / "mine.csv"
        mine.write_bytes(rows.read_bytes())
        assert "its host" in looked(screen, tiny, mine)[0]
    assert "too long" in looked(screen, tiny, rows, template="x" * 30_000)[0]


def test_labels_words_and_texts_are_no_markup() -> None:
    look = Look([], [Word(EVIL, EVIL, False, (EVIL, EVIL), 2, EVIL)], [EVIL, EVIL], EVIL)
    shown = slot_view.told(look, True) + slot_view.shown(look)
    assert "<script" not in shown and shown.count("&lt;script&gt;") >= 6


def test_many_labels_are_counted_and_not_all_listed() -> None:
    words = [Word(f"label {n}", f"w{n}", True, (f"w{n}",), 1) for n in range(77)]
    shown = slot_view.shown(Look([], words))
    assert shown.count("<th scope='row'>") == slot_view.MOST_WORDS and "47 labels more." in shown
    assert "77 labels, each with a word of one token." in slot_view.told(Look([], words), True)
