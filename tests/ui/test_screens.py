"""From what stands in the inputs to the spec of a run."""

from __future__ import annotations

import re
import shutil
import time
from html import unescape
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from engine import demo, home, objectives, tuners
from engine.data.prepare import Prepared
from engine.errors import DataError, SettingError
from engine.methods import ideas
from engine.offers import Choice
from engine.planning import speed
from engine.planning.speed import Speed
from engine.runs import store
from engine.specs.spec import RunSpec
from tests.engine.test_text import document
from tests.engine.test_timing import SPEED
from tests.fakes import models as fakes
from tests.fakes import runs as made
from ui import choices, method_cards, own_choice, sources
from ui.data_sets import About
from ui.screens import data, method, start

SAMPLE = "sample:banking-intents"


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
    found, _, _, _, ready, roles, _, _, *columns = look(
        *(inputs.get(part._id, part.value) for part in screen.rows.inputs)
    )
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
    advice, *_, moved, _, _ = looked("embedded:minilm", about="480 labelled")
    assert moved == "chat lora>classify lora>classify lora"
    assert "Recommended for your data" in advice


def test_the_objective_follows_model_and_data_when_only_the_tuner_was_chosen() -> None:
    advice, *_, moved, _, _ = looked("embedded:minilm", tuner="full", about="480 labelled")
    assert moved == "chat full>classify full>classify *"
    assert advice == ""
    *_, moved, _, _ = looked("embedded:smollm2-135m", "classify", "adapter", "480 labelled", "classify *")
    assert moved == "classify adapter>chat adapter>chat *"


def test_what_a_person_chose_is_left_alone() -> None:
    advice, *_, refusal, moved, _, _ = looked("embedded:minilm", objective="chat", tuner="full", auto="classify lora")
    assert moved == f"chat full>chat full>{own_choice.OWN_CHOICE}"
    assert advice == "" and "needs a model of the kind decoder" in refusal["value"]


def test_the_learning_rate_that_will_be_used_stands_in_its_empty_input() -> None:
    assert looked("embedded:smollm2-135m")[-2]["placeholder"] == "0.0005"
    assert looked("embedded:smollm2-135m", tuner="full")[-2]["placeholder"] == "5e-05"


def test_going_on_with_what_a_run_added_is_offered_where_it_can() -> None:
    assert looked("embedded:smollm2-135m")[-1]["visible"] is False
    base = fakes.tiny_decoder(home.home() / "base")
    for name, offered in (("lora", True), ("full", False), ("pissa", False)):
        run = store.create(made.spec(base, "chat", name), Prepared(made.examples("messages"), [], [], []))
        shutil.copytree(base, run.folder / "model")
        if name != "full":
            (run.folder / "model" / "model.safetensors").rename(run.folder / "model" / "adapter_model.safetensors")
        assert looked(f"run:{run.id}")[-1]["visible"] is offered


def test_what_is_out_of_sight_does_nothing(screen: start.StartScreen) -> None:
    record = demo.spec().as_dict()
    values = [
        update["value"] for update in screen.how.show({**record, "model": {**record["model"], "continued": True}})
    ]
    assert screen.how.values(values)["model"]["continued"] is False
    assert screen.how.values(["run:x", *values[1:]])["model"]["continued"] is True


def test_settings_that_a_tuner_has_no_use_for_are_out_of_sight() -> None:
    look = method._look([], ["training.epochs", "training.max_tokens"])

    def seen(tuner: str) -> list[bool]:
        rate, _, *fields = look("embedded:minilm", "classify", tuner, "", own_choice.OWN_CHOICE)[-4:]
        return [update["visible"] for update in (rate, *fields)]

    assert seen("lora") == [True, True, True]
    assert seen("head") == [False, False, True]


def test_only_what_comes_or_goes_is_told_to_the_page() -> None:
    look = method._look([], ["training.epochs", "training.max_tokens"])
    given = ("embedded:minilm", "classify", "head", "", own_choice.OWN_CHOICE, "")
    seen, *_ = look(*given)[4:]
    assert seen == "0001"
    rate, *others = look(*given, seen)[-4:]
    assert "visible" not in rate and others == [gr.skip()] * 3
    assert [update.get("visible") for update in look(*given, "1001")[-4:]] == [False, None, None, None]
    for unknown in ("", "01", "not of the page"):
        assert [update["visible"] for update in look(*given, unknown)[-4:]] == [False, False, False, True]


def test_inputs_that_do_nothing_with_a_model_are_out_of_sight() -> None:
    names = [f"objective text.{name}" for name in ("masked_share", "whole_words", "new_head")]
    look = method._look([], names)

    def seen(model: str) -> list[bool]:
        return [update["visible"] for update in look(model, "text", "lora", "", own_choice.OWN_CHOICE)[-3:]]

    assert seen("embedded:smollm2-135m") == [False, False, False], "it writes, and learns every token"
    assert seen("embedded:minilm") == [True, True, True], "it has no head that guesses words"


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
    refusal = looked("embedded:nothing")[5]
    assert refusal["visible"] and "There is no embedded model" in refusal["value"]


def test_an_objective_that_can_not_learn_from_the_data_says_so_at_once() -> None:
    texts = About(30, plain=True, good_for=("text",)).text()
    refusal = method._look([])("embedded:smollm2-135m", "chat", "lora", texts, own_choice.OWN_CHOICE)[5]
    assert refusal["visible"] and "can&#x27;t learn from this data" in refusal["value"] and "Text" in refusal["value"]
    for objective, about in (("text", texts), ("chat", About(30, True).text()), ("chat", "")):
        told = method._look([])("embedded:smollm2-135m", objective, "lora", about, own_choice.OWN_CHOICE)[5]
        assert not told["visible"]


def test_the_chosen_model_is_the_checked_card() -> None:
    assert "value='embedded:minilm' checked" in looked("embedded:minilm")[1]


def test_a_search_without_a_hub_is_one_plain_sentence() -> None:
    assert "can&#x27;t be reached" in method._search("qwen", "", "chat", "lora", "")


def test_a_title_with_marks_stays_text() -> None:
    card = choices.Card("<b>", "<img src=x>", "<i>", ("<u>",), said="<s>")
    shown = choices.fieldset("ts-model", "Model", [choices.Cards("<h1>", [card])], "")
    assert not any(mark in shown for mark in ("<img", "<b>", "<i>", "<u>", "<s>", "<h1>"))


def test_folded_cards_are_open_where_the_choice_is_one_of_them() -> None:
    cards = choices.Cards("More", [choices.Card("a", "A", "")], folded=True)
    assert re.search("<details class='ts-more-cards'[^>]* open>", choices.fieldset("x", "X", [cards], "a"))
    assert re.search("<details class='ts-more-cards'[^>]* open>", choices.fieldset("x", "X", [cards], "b")) is None


def tuner_cards(objective: str, model: str = "embedded:smollm2-135m") -> dict[str, str]:
    """Each tuner's card as text, by its name."""
    facts, _ = method._facts(model)
    shown = method_cards.tuners_shown(Choice(objective, "lora"), "lora", facts)
    cards = re.findall(r"<label class='ts-card'>.*?</label>", shown)
    return {re.findall(r"value='([\w-]+)'", card)[0]: unescape(re.sub("<[^>]*>", " ", card)) for card in cards}


def test_tuners_are_offered_by_ideas_the_usual_ones_in_sight_and_the_others_folded() -> None:
    shown = method_cards.tuners_shown(Choice("chat", "lora"), "", None)
    assert re.findall("ts-chapter-title' id='[^']*'>([^<]*)<", shown) == [title for title, _ in ideas.IDEAS.values()]
    folded = "".join(re.findall("<details.*?</details>", shown))
    assert sorted(re.findall(r"value='([\w-]+)'", folded)) == sorted(t.name for t in tuners.all() if not t.usual)
    in_sight = re.sub("<details.*?</details>", "", shown)
    assert sorted(re.findall(r"value='([\w-]+)'", in_sight)) == sorted(t.name for t in tuners.all() if t.usual)


def test_a_tuner_that_does_not_go_with_the_objective_says_what_it_goes_with() -> None:
    assert "Goes with: Classify (choose a label)." in tuner_cards("chat")["head"]
    assert "Goes with" not in "".join(tuner_cards("classify").values())


def test_an_objective_says_which_tuner_it_does_not_go_with() -> None:
    shown = method_cards.objectives_shown("classify", "head", "")
    assert "Goes with all but: Classifier on fixed features." in shown


def test_a_tuner_says_what_it_costs_with_this_model_on_this_machine() -> None:
    card = tuner_cards("chat")["lora"]
    assert "4,884,480 weights learn (3.5 % of all); the result takes about 20 MB." in card
    assert re.search(r"(Fits|Tight|Does not fit): [\d.]+ [GM]B of [\d.]+ GB of memory\.", card)
    assert "Choose it first" in card and "Paper on LoRA (arxiv.org)" in card
    assert "All 134,515,008 weights learn; the result takes about 538 MB." in tuner_cards("chat")["full"]
    assert "learns from 384 numbers" in tuner_cards("classify", "embedded:minilm")["head"]
    assert "depends on its settings" in tuner_cards("chat")["trainable-tokens"]


def test_a_tuner_that_does_not_go_with_the_model_says_why_and_what_does() -> None:
    card = tuner_cards("chat")["biases"]
    assert "no bias terms" in card and "'norms'" in card and "'beft'" in card
    assert "weights learn (" not in card


def test_without_a_model_cards_state_no_cost() -> None:
    assert "weights learn (" not in method_cards.tuners_shown(Choice("chat", "lora"), "", None)


def test_all_cards_are_drawn_quickly() -> None:
    """A choice is answered at once; the bound leaves a slow machine five times what it takes."""
    looked("embedded:smollm2-135m")
    began = time.process_time()
    looked("embedded:smollm2-135m", tuner="dora", auto=own_choice.OWN_CHOICE)
    assert time.process_time() - began < 1.0


def pictured(screen: start.StartScreen, **tuner: Any) -> str:
    record = RunSpec.parse({**demo.spec().as_dict(), "tuner": tuner}).as_dict()
    values = [update["value"] for update in screen.how.show(record)]
    return unescape(re.sub("<[^>]*>", " ", screen.how.picture(*values)))


def test_the_picture_follows_the_settings(screen: start.StartScreen) -> None:
    assert "4,884,480 of 139,399,488 weights learn (3.5\u00a0%)." in pictured(screen, name="lora")
    assert "2,442,240 of" in pictured(screen, name="lora", rank=8)
    top = pictured(screen, name="top-layers", layers=6, gradual=True)
    assert "Layers 25 to 30" in top and "the topmost from the start, the lowest from 42 % on" in top
    assert "Layers 1 to 24" in top and "stay as they are" in top
    assert re.search(r"(Fits|Tight|Does not fit): [\d.]+.GB of [\d.]+.GB of memory", top)
    assert "All 134,515,008 weights learn." in pictured(screen, name="full")


def test_in_place_of_a_picture_stands_why_there_is_none(screen: start.StartScreen) -> None:
    assert "has 30 layers, not 40" in pictured(screen, name="top-layers", layers=40)
    assert "no bias terms" in pictured(screen, name="biases")
    values = [item.value for item in screen.how.inputs]
    assert "Once a model is chosen" in screen.how.picture("", *values[1:])
    rank = next(place for place, item in enumerate(screen.how.inputs) if item.label == "Rank")
    values[rank] = 0
    assert "Rank (tuner.rank) is 0" in screen.how.picture(*values)


def test_a_key_is_asked_for_where_the_run_turns_to_a_service(screen: start.StartScreen) -> None:
    record = {
        "model": {"id": "embedded:smollm2-135m"},
        "data": [{"source": SAMPLE}],
        "objective": {"name": "imitate-service", "service": "http://127.0.0.1:8000/v1", "model": "large"},
        "tuner": {"name": "lora"},
    }
    told = screen.asks_key(*updates(screen, RunSpec.parse(record)))
    assert (told["visible"], told["label"]) == (True, "Key of 127.0.0.1")
    plain = RunSpec.parse({**record, "objective": {"name": "chat"}})
    assert screen.asks_key(*updates(screen, plain))["visible"] is False
    assert screen.asks_key(*given(screen, {screen.rows.source._id: ""}))["visible"] is False
    assert screen.key._id not in {part._id for part in screen.inputs}  # a link or a preset never fills it


def test_hidden_words_of_a_document_are_planned_from_the_dropped_file_on(
    screen: start.StartScreen, tmp_path: Path
) -> None:
    upload = tmp_path / "terms.md"
    upload.write_text(document(90), encoding="utf-8")
    source = sources.uploaded([str(upload)])
    inputs = {screen.rows.source._id: source}
    found, _, _, _, ready, *_ = data._look(screen.rows)(*(inputs.get(i._id, i.value) for i in screen.rows.inputs))
    assert "plain texts" in found and "Good for: <b>Text</b>" in found and ready == data.READY
    base = fakes.tiny_masked_encoder(home.home() / "masked")
    changes = {
        **inputs,
        screen.how.model._id: str(base),
        screen.how.objective._id: "text",
        screen.how.tuner._id: "lora",
    }
    *_, (shown, first, button) = screen.look(*given(screen, changes))
    assert button["interactive"], shown
    assert "hidden" in shown and "texts to learn from are read in" in shown
    assert "<h3>Row" in first and "role='alert'" not in first


def test_the_plan_stands_there_while_a_new_machine_is_being_measured(
    screen: start.StartScreen, tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first plan took half a minute on a slow machine, in which nothing was shown."""
    asked: list[bool] = []

    def measured(*_: object, measure: bool = True) -> Speed | None:
        asked.append(measure)
        return SPEED if measure else None

    monkeypatch.setattr(speed, "of", measured)
    tiny = str(fakes.tiny_decoder(tmp_path / "tiny"))
    seen = [
        (str(shown), str(first), bool(button["interactive"]), list(asked))
        for shown, first, button in screen.look(
            *given(screen, {screen.rows.source._id: SAMPLE, screen.how.model._id: tiny})
        )
    ]
    *_, early, with_rows, whole = [one for one in seen if one[2]]
    assert "Measuring how fast this machine is" in early[0] and early[3] == with_rows[3] == [False]
    assert "<mark" in with_rows[1] and with_rows[0] == early[0]
    assert "Measuring" not in whole[0] and "<h3>Time</h3>" in whole[0] and whole[1] == with_rows[1]
