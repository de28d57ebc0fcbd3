"""From what stands in the inputs to the spec of a run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest

from engine import demo, objectives, tuners
from engine.errors import DataError, SettingError
from engine.spec import RunSpec
from ui import choices
from ui.screens import data, method, start

SAMPLE = "sample:banking-intents"


@pytest.fixture(scope="module")
def screen() -> Iterator[start.StartScreen]:
    made: list[asyncio.AbstractEventLoop] = []
    new = asyncio.new_event_loop
    with pytest.MonkeyPatch.context() as patch:
        # Gradio makes event loops for an app that is never launched, and leaves them open.
        patch.setattr(asyncio, "new_event_loop", lambda: made.append(new()) or made[-1])
        with gr.Blocks():
            built = start.build(data.build(gr.Row), method.build())
    yield built
    asyncio.set_event_loop(None)
    for loop in made:
        loop.close()


def given(screen: start.StartScreen, changes: dict[int, Any]) -> list[Any]:
    """What the inputs send, untouched but for `changes`, by the component's id."""
    return [changes.get(component._id, component.value) for component in screen.inputs]


def spec(screen: start.StartScreen, **changes: Any) -> RunSpec:
    """The spec from untouched inputs but for those named by their label."""
    # Several tuners have a rank: the first in sight, that of the default one, is meant.
    known = {component.label: component._id for component in reversed(screen.inputs)}
    wanted = {known[label.replace("_", " ")]: value for label, value in changes.items()}
    return screen.spec(given(screen, {screen.rows.source._id: SAMPLE, **wanted}))


def test_untouched_inputs_give_the_spec_of_the_defaults(screen: start.StartScreen) -> None:
    found = spec(screen)
    plain = RunSpec.parse({"model": {"id": "embedded:smollm2-135m"}, "data": [{"source": SAMPLE}]})
    assert found == plain


def test_a_changed_setting_arrives_in_its_section(screen: start.StartScreen) -> None:
    found = spec(screen, Rank=4, Passes=2, Test_share=0.3, Learning_rate="2e-4", Stop_early_after="3")
    assert found.tuner_settings.model_dump()["rank"] == 4
    assert (found.training.epochs, found.training.learning_rate) == (2, 2e-4)
    assert (found.data[0].split.test, found.evaluation.early_stopping) == (0.3, 3)


def test_settings_of_the_tuner_that_is_not_chosen_are_left_out(screen: start.StartScreen) -> None:
    found = spec(screen, Rank=4, What_of_it_changes="full")
    assert found.tuner.name == "full"


def test_every_refused_value_is_told_with_its_label(screen: start.StartScreen) -> None:
    with pytest.raises(SettingError) as caught:
        spec(screen, Rank=0, Passes=-1, Learning_rate="fast")
    told = "\n".join(caught.value.problems)
    assert all(label in told for label in ("Rank", "Passes", "Learning rate"))


def test_columns_are_sent_by_the_parts_that_they_play(screen: start.StartScreen) -> None:
    changes: dict[int, Any] = {screen.rows.source._id: SAMPLE, screen.rows.roles._id: "text label"}
    changes |= {screen.rows.columns[0]._id: "text", screen.rows.columns[1]._id: "intent"}
    found = screen.spec(given(screen, changes))
    assert found.data[0].columns == {"text": "text", "label": "intent"}


def test_a_run_without_data_is_refused(screen: start.StartScreen) -> None:
    with pytest.raises(DataError, match="no data yet"):
        screen.spec(given(screen, {screen.rows.source._id: ""}))


def test_the_sample_is_read_and_said_to_be_ready(screen: start.StartScreen) -> None:
    look = data._look(screen.rows)
    inputs = {screen.rows.source._id: SAMPLE}
    found, _, _, _, ready, roles, _, *columns = look(*(inputs.get(part._id, part.value) for part in screen.rows.inputs))
    assert "600 rows: texts with labels" in found
    assert (ready, roles.split()[:2]) == (data.READY, ["text", "label"])
    assert [column["value"] for column in columns[:2]] == ["text", "intent"]


def test_a_problem_in_the_plan_is_told_in_place_of_the_plan(screen: start.StartScreen) -> None:
    changes = {screen.rows.source._id: SAMPLE, screen.how.model._id: "/no/such/folder"}
    *_, (shown, _, button) = screen.look(*given(screen, changes))
    assert "role='alert'" in shown and button["interactive"] is False


def updates(screen: start.StartScreen, spec: RunSpec) -> list[Any]:
    """The values of all inputs after they were made to show a spec."""
    record = spec.as_dict()
    shown = [*screen.rows.show(record["data"][0]), *screen.how.show(record)]
    return [record["name"], *(update["value"] for update in shown)]


@pytest.mark.parametrize("objective", [method.name for method in objectives.all()])
@pytest.mark.parametrize("tuner", [method.name for method in tuners.all()])
def test_a_spec_that_is_shown_comes_back_equal(screen: start.StartScreen, objective: str, tuner: str) -> None:
    wanted = RunSpec.parse(
        {
            "name": "again",
            "model": {"id": "embedded:minilm", "load": "32bit"},
            "data": [
                {
                    "source": SAMPLE,
                    "columns": {"text": "text", "label": "intent"},
                    "bad_rows": "skip",
                    "system": "Be brief.",
                    "split": {"test": 0.2, "validation_rows": 7},
                }
            ],
            "objective": {"name": objective},
            "tuner": {"name": tuner},
            "training": {"epochs": 2.5, "learning_rate": 2e-4, "packing": "off", "micro_batch_size": 4},
            "evaluation": {"before": False, "early_stopping": 3},
            "launch": {"ignore_memory": True},
        }
    )
    assert screen.spec(updates(screen, wanted)) == wanted


def test_changed_settings_are_named_and_those_of_other_tuners_are_not(screen: start.StartScreen) -> None:
    record = demo.spec().as_dict()
    record["tuner"]["rank"] = 8
    values = [update["value"] for update in screen.how.show(record)]
    assert screen.how.differing(*values) == (
        "<p class='ts-changed'>Changed from the defaults: Rank 8, Longest row 256.</p>"
    )


def test_untouched_settings_are_not_said_to_be_changed(screen: start.StartScreen) -> None:
    assert screen.how.differing(*(item.value for item in screen.how.inputs)) == ""


def looked(
    model: str, objective: str = "chat", tuner: str = "lora", about: str = "", auto: str = "chat lora"
) -> list[Any]:
    return method._look([])(model, objective, tuner, about, auto)


def test_another_model_brings_what_is_recommended_for_it() -> None:
    advice, *_, objective, tuner, auto, _ = looked("embedded:minilm", about="480 labelled")
    assert (objective, tuner, auto) == ("classify", "lora", "classify lora")
    assert "Recommended for your data" in advice


def test_what_a_person_chose_is_left_alone() -> None:
    advice, *_, refusal, objective, tuner, auto, _ = looked("embedded:minilm", objective="chat", tuner="full")
    assert (objective, tuner, auto) == ("chat", "full", method.OWN_CHOICE)
    assert advice == "" and "needs a model of the kind decoder" in refusal["value"]


def test_the_learning_rate_that_will_be_used_stands_in_its_empty_input() -> None:
    assert looked("embedded:smollm2-135m")[-1]["placeholder"] == "0.0005"
    assert looked("embedded:smollm2-135m", tuner="full")[-1]["placeholder"] == "5e-05"


def test_settings_that_a_tuner_has_no_use_for_are_out_of_sight() -> None:
    look = method._look([], ["training.epochs", "training.max_tokens"])

    def seen(tuner: str) -> list[bool]:
        return [update["visible"] for update in look("embedded:minilm", "classify", tuner, "", method.OWN_CHOICE)[-3:]]

    assert seen("lora") == [True, True, True]
    assert seen("head") == [False, False, True]


def test_changed_settings_that_the_tuner_has_no_use_for_are_not_named(screen: start.StartScreen) -> None:
    record = RunSpec.parse(
        {
            "model": {"id": "embedded:minilm"},
            "data": [{"source": SAMPLE}],
            "objective": "classify",
            "tuner": "head",
            "training": {"epochs": 9, "max_tokens": 64},
        }
    ).as_dict()
    values = [update["value"] for update in screen.how.show(record)]
    assert "Longest row 64" in screen.how.differing(*values) and "Passes" not in screen.how.differing(*values)


def test_a_model_that_can_not_be_used_says_why_at_once() -> None:
    refusal = looked("embedded:nothing")[4]
    assert refusal["visible"] and "There is no embedded model" in refusal["value"]


def test_the_chosen_model_is_the_checked_card() -> None:
    assert "value='embedded:minilm' checked" in looked("embedded:minilm")[1]


def test_a_search_without_a_hub_is_one_plain_sentence() -> None:
    assert "can&#x27;t be reached" in method._search("qwen", "", "chat", "lora")


def test_a_title_with_marks_stays_text() -> None:
    card = choices.Card("<b>", "<img src=x>", "<i>", ("<u>",), said="<s>")
    shown = choices.fieldset("ts-model", "Model", [choices.Cards("<h1>", [card])], "")
    assert not any(mark in shown for mark in ("<img", "<b>", "<i>", "<u>", "<s>", "<h1>"))


def test_folded_cards_are_open_where_the_choice_is_one_of_them() -> None:
    cards = choices.Cards("More", [choices.Card("a", "A", "")], folded=True)
    assert "<details class='ts-more-cards' open>" in choices.fieldset("x", "X", [cards], "a")
    assert "<details class='ts-more-cards'>" in choices.fieldset("x", "X", [cards], "b")


def test_the_usual_tuners_are_in_sight_and_all_others_folded_by_families() -> None:
    shown = method._cards("tuner", "lora", None, "chat")
    in_sight, *folded = shown.split("<details")
    assert re.findall(r"value='([\w-]+)'", in_sight) == [tuner.name for tuner in tuners.all() if tuner.usual]
    rest = [name for part in folded for name in re.findall(r"value='([\w-]+)'", part)]
    assert sorted(rest) == sorted(tuner.name for tuner in tuners.all() if not tuner.usual)
    assert len(folded) == len({tuner.family for tuner in tuners.all() if not tuner.usual})


def test_a_tuner_that_does_not_go_with_the_objective_says_what_it_goes_with() -> None:
    assert "Goes with: Classify (choose a label)." in method._cards("tuner", "lora", None, "chat")
    assert "Goes with" not in method._cards("tuner", "lora", None, "classify")
