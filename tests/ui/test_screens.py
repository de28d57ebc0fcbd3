"""From what stands in the inputs to the spec of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest

from engine.errors import DataError, SettingError, UserError
from engine.spec import RunSpec
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
    found, _, _, ready, roles, _, *columns = look(*(inputs.get(part._id, part.value) for part in screen.rows.inputs))
    assert "600 rows: texts with labels" in found
    assert (ready, roles.split()[:2]) == (data.READY, ["text", "label"])
    assert [column["value"] for column in columns[:2]] == ["text", "intent"]


def test_an_upload_leaves_the_place_where_others_could_read_it(tmp_path: Any) -> None:
    upload = tmp_path / "my rows.csv"
    upload.write_text("text,label\na,b\n", encoding="utf-8")
    kept = data._uploaded(str(upload))
    assert not upload.exists()
    data.require_source(kept)


def test_a_problem_in_the_plan_is_told_in_place_of_the_plan(screen: start.StartScreen) -> None:
    changes = {screen.rows.source._id: SAMPLE, screen.how.model._id: "/no/such/folder"}
    *_, (shown, button) = screen.look(*given(screen, changes))
    assert "role='alert'" in shown and button["interactive"] is False


@pytest.mark.parametrize("name", ["", "no-slash", "../etc/passwd", "a/b/c"])
def test_what_is_no_name_of_a_data_set_is_refused(name: str) -> None:
    with pytest.raises(UserError):
        data._named(name)
