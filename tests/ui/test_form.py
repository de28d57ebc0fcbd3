"""Forms are made from declared settings and give them back."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from engine import objectives, tuners
from engine.errors import SettingError
from engine.sections import Evaluate, Launch, Model, Output, Split, Training
from engine.settings import Section, describe, parse, setting
from ui import form

SECTIONS = [Training, Evaluate, Launch, Output, Split, *[m.Settings for m in (*objectives.all(), *tuners.all())]]


def shown(section: type[Section]) -> form.Form:
    return form.build(section, [*form.basic(section), *form.advanced(section)])


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__qualname__)
def test_an_untouched_form_means_the_defaults(section: type[Section]) -> None:
    made = shown(section)
    values = made.values([component.value for component in made.inputs])
    assert parse(section, values, "") == section()


@pytest.mark.parametrize("section", [*SECTIONS, Model], ids=lambda section: section.__qualname__)
def test_every_input_has_the_settings_label_and_help(section: type[Section]) -> None:
    made = shown(section)
    for declared, component in zip(made.settings, made.inputs, strict=True):
        assert component.label == declared.title and component.info == declared.help


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__qualname__)
def test_an_untouched_form_says_nothing(section: type[Section]) -> None:
    made = shown(section)
    assert made.values([component.value for component in made.inputs]) == {}


def test_no_optional_setting_has_a_number_input() -> None:
    # Gradio shows an empty one as 0, and sends the 0 as soon as it has been in sight.
    for section in SECTIONS:
        made = shown(section)
        assert not any(
            isinstance(component, gr.Number) and declared.optional
            for declared, component in zip(made.settings, made.inputs, strict=True)
        )


def test_an_empty_input_shows_what_it_means() -> None:
    made = form.build(Evaluate, form.named(Evaluate, ("early_stopping",)))
    assert made.inputs[0].placeholder == "never"


def test_a_whole_number_is_not_rounded() -> None:
    made = form.build(Training, form.named(Training, ("batch_size",)))
    with pytest.raises(SettingError, match="Batch size"):
        parse(Training, made.values([3.7]), "training")


def test_an_input_that_was_set_and_cleared_means_the_default_again() -> None:
    made = form.build(Training, form.named(Training, ("max_steps",)))
    assert made.values(["5"]) == {"max_steps": 5}
    assert made.values([" "]) == {}


def test_a_number_may_be_written_as_people_write_it() -> None:
    made = form.build(Training, [item for item in describe(Training) if item.name == "learning_rate"])
    assert made.values(["2e-4"]) == {"learning_rate": 2e-4}
    assert made.values([""]) == {}


def test_a_number_that_is_none_is_refused_under_the_label_that_the_person_sees() -> None:
    made = form.build(Training, [item for item in describe(Training) if item.name == "learning_rate"])
    with pytest.raises(SettingError, match="Learning rate"):
        parse(Training, made.values(["fast"]), "training")


def test_a_needed_number_left_empty_is_refused_under_its_label() -> None:
    made = form.build(Training, [item for item in describe(Training) if item.name == "epochs"])
    with pytest.raises(SettingError, match="Passes"):
        parse(Training, made.values([None]), "training")


def test_each_kind_of_setting_comes_back_as_it_was_given() -> None:
    class Example(Section):
        whole: int = setting(3, "Whole", "A whole number.", ge=1)
        part: float = setting(0.5, "Part", "A share.", gt=0)
        maybe: int | None = setting(None, "Maybe", "A number or nothing.")
        word: str = setting("a", "Word", "Some text.")
        on: bool = setting(True, "On", "A switch.")

    made = shown(Example)
    given: list[Any] = [4, 0.25, "7", "b", False]
    assert parse(Example, made.values(given), "") == Example(whole=4, part=0.25, maybe=7, word="b", on=False)
