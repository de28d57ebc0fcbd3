"""Forms are made from declared settings and give them back."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from engine import machine, objectives, tuners
from engine.errors import SettingError
from engine.machine import Machine
from engine.settings import Section, describe, parse, setting
from engine.specs import optimizers
from engine.specs.sections import Evaluate, Launch, Mixture, Model, Output, Split, Training
from ui import form

SECTIONS = [
    Training,
    Mixture,
    Evaluate,
    Launch,
    Output,
    Split,
    *[m.Settings for m in (*objectives.all(), *tuners.all())],
]


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


def test_a_setting_that_does_nothing_without_another_follows_it() -> None:
    goal = objectives.get("distill").Settings
    made = shown(goal)
    names = [declared.name for declared in made.settings]
    [(leader, followers)] = made.followers()
    assert made.inputs[names.index("own_share")] is leader
    assert [item.label for item in followers] == ["Temperature of its own answers", "Longest answer of its own"]
    assert leader.visible and not any(item.visible for item in followers)
    for value, seen in ((0, False), (0.5, True), ("", False)):
        assert [update["visible"] for update in form.following(2)(value)] == [seen, seen]
    given = made.written({"own_tokens": 9})
    assert made.differing(given) == []
    given[names.index("own_share")] = 0.5
    assert made.differing(given) == ["Answers by the model itself 0.5", "Longest answer of its own 9"]


@pytest.mark.parametrize("section", [*SECTIONS, Model], ids=lambda section: section.__qualname__)
def test_what_follows_stands_beside_what_it_follows(section: type[Section]) -> None:
    for part in (form.basic(section), form.advanced(section)):
        assert {declared.only_with for declared in part} - {""} <= {declared.name for declared in part}


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


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__qualname__)
def test_a_form_shows_its_defaults_where_nothing_is_said(section: type[Section]) -> None:
    made = shown(section)
    assert made.written({}) == [component.value for component in made.inputs]


def test_what_a_form_shows_it_gives_back() -> None:
    given = {"epochs": 2.5, "learning_rate": 2e-4, "packing": "off", "micro_batch_size": 4, "max_steps": None}
    made = shown(Training)
    assert parse(Training, made.values(made.written(given)), "") == Training(**given)


def test_an_empty_optional_number_stays_empty() -> None:
    made = form.build(Training, form.named(Training, ("learning_rate",)))
    assert made.written({"learning_rate": None}) == [""]


def test_what_differs_from_the_defaults_is_named_with_its_value() -> None:
    made = form.build(Training, form.named(Training, ("epochs", "learning_rate", "packing")))
    assert made.differing([5, "2e-4", "auto"]) == ["Passes 5", "Learning rate 0.0002"]
    assert made.differing(made.written({})) == []


def test_a_switch_that_was_turned_is_told_as_off() -> None:
    made = form.build(Evaluate, form.named(Evaluate, ("before",)))
    assert made.differing([False]) == ["Score before training off"]


def test_only_choices_that_can_be_had_here_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import reporters

    monkeypatch.setattr(reporters, "_is_there", lambda module: module == "mlflow")
    made = form.build(Output, form.advanced(Output))
    offered = {declared.name: component for declared, component in zip(made.settings, made.inputs, strict=True)}
    assert [value for _, value in offered["reporters"].choices] == ["mlflow"]
    # A spec from elsewhere may name others; an input can't hold what it does not offer.
    shown = dict(
        zip(
            [declared.name for declared in made.settings], made.written({"reporters": ["wandb", "mlflow"]}), strict=True
        )
    )
    assert shown["reporters"] == ["mlflow"]


def test_a_choice_without_anything_to_offer_has_no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import reporters

    monkeypatch.setattr(reporters, "_is_there", lambda module: False)
    assert "reporters" not in [declared.name for declared in form.advanced(Output)]


def test_an_optimizer_that_does_not_work_here_is_not_offered_but_shown_where_a_spec_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laptop = Machine(device="cpu", cores=2, memory_total=8, memory_available=8, disk_free=8, cpu_bfloat16=False)
    monkeypatch.setattr(machine, "inspect", lambda: laptop)
    optimizers.offered.cache_clear()
    made = form.build(Training, form.named(Training, ("optimizer",)))
    optimizers.offered.cache_clear()
    assert "paged-adamw-8bit" not in [value for _, value in made.inputs[0].choices]
    assert "choices" not in made.show({})[0]
    (update,) = made.show({"optimizer": "paged-adamw-8bit"})
    assert update["value"] == "paged-adamw-8bit" and update["value"] in update["choices"]
