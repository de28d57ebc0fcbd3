"""Weights of several data sets on the page: kept as a person left them, taken back where their sets are gone."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from ui import mix_view
from ui.data_sets import About
from ui.screens import mix, start

TWO = About(272, True, 2, parts=(("letters of <b>.csv", 240), ("calls.csv", 32)))


def looked(screen: start.StartScreen, about: About, weights: str = "", by: str = "size", epochs: Any = 3) -> list[Any]:
    return screen.how.mix._look(about.text(), epochs, weights, by, 2.0)


def test_what_is_known_of_several_sets_is_read_as_it_was_written() -> None:
    assert About.read(TWO.text()) == TWO
    assert About.read("5 labelled 3 %5B%5B%22a%22%2C5%5D%5D").parts == ()  # of another number of sets
    assert About.read("5 labelled 2 nonsense").parts == ()


def test_one_data_set_has_nothing_to_mix(screen: start.StartScreen) -> None:
    group, weights, _, shown = looked(screen, About(5, True))
    assert group["visible"] is False and shown == "" and weights == gr.skip()


def test_the_picture_follows_weights_and_names_are_text(screen: start.StartScreen) -> None:
    group, weights, temperature, shown = looked(screen, TWO, "[1,2]")
    assert group["visible"] is True and temperature["visible"] is False and weights == gr.skip()
    assert "57 rows a pass" in shown.replace("\u00a0", " ") and "5.34 times" in shown.replace("\u00a0", " ")
    assert "<b>.csv" not in shown and "aria-valuetext='2 times'" in shown
    assert looked(screen, TWO, by="temperature")[2]["visible"] is True
    assert "136 rows a pass" in looked(screen, TWO, by="equal", epochs="")[3].replace("\u00a0", " ")


def test_weights_of_sets_that_are_gone_are_taken_back(screen: start.StartScreen) -> None:
    assert looked(screen, About(5, True), "[1,2]")[1] == ""
    assert looked(screen, TWO, "[3,1,1]")[1] == "[3.0, 1.0]"


def test_a_weight_that_no_slider_stands_on_is_kept() -> None:
    shown = mix_view.sliders(mix_view_parts(), [1.5, 1], 1)
    assert "data-weight='1.5'" in shown and "value='3'" in shown


def mix_view_parts() -> list[Any]:
    from engine.data.mixture import Part

    return [Part("a", 4, 2), Part("b", 4, 6)]


@pytest.mark.parametrize(
    ("text", "weights"),
    [("", []), ("[1, 1]", []), ("[1, 2]", [1, 2]), ("nonsense", []), ("{}", []), ("[null]", []), ("7", [])],
)
def test_equal_weights_are_none(text: str, weights: list[float]) -> None:
    assert mix.given(text) == weights
    assert mix.given(mix.written(weights)) == weights
