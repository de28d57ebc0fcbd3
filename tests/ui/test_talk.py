"""As which task a run of several answers on the page."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from engine import demo
from engine.data.prepare import prepare
from engine.errors import DataError
from engine.runs import store
from engine.specs.spec import RunSpec
from ui import owner
from ui.screens import run

SKIPPED = gr.skip()


def made(tuner: str, sets: int) -> store.Run:
    spec = demo.spec().as_dict()
    spec |= {"tuner": {"name": tuner}, "data": spec["data"] * sets}
    wanted = RunSpec.parse(spec)
    return store.create(wanted, prepare(wanted.data, wanted.objective.wants, 1))


def test_a_run_of_several_tasks_offers_them_and_one_of_one_does_not() -> None:
    offered: Any = run._tasks(made("multitask-prompt", 2).id)
    assert (offered["visible"], offered["value"]) == (True, "1: banking-intents")
    assert [name for name, _ in gr.Dropdown(offered["choices"]).choices] == [
        "1: banking-intents",
        "2: banking-intents (2)",
    ]
    assert run._tasks(made("lora", 2).id)["visible"] is False


def test_nothing_is_told_of_a_run_that_is_not_ones_own() -> None:
    other = made("multitask-prompt", 2)
    with owner.acting("v-" + "b" * 24):
        assert run._tasks(other.id) == SKIPPED
    assert run._tasks("") == SKIPPED


def test_the_chosen_task_is_found_by_its_number() -> None:
    several, one = made("multitask-prompt", 2).spec(), made("lora", 1).spec()
    assert [run._task(several, chosen) for chosen in (None, "1: banking-intents", "2: whatever")] == [0, 0, 1]
    assert run._task(one, None) == 0
    for wrong in ("3: x", "0", "-1", "<b>"):
        with pytest.raises(DataError, match="no task"):
            run._task(several, wrong)


def test_the_likeliest_labels_are_shown_as_text_with_their_chances() -> None:
    evil = "<script>alert(1)</script>"
    found = [(evil, 0.625), *((f"label {number}", 0.05) for number in range(7))]
    shown = run.chances(found)
    assert "<script" not in shown and "62.5" in shown and "--ts-share: 62.5%" in shown
    assert shown.count("<li>") == run.LABELS_SHOWN and "and 3 labels that it thinks less likely" in shown
    assert "less likely" not in run.chances(found[:2])
    assert "<p class='ts-quiet'>They hold &lt;b&gt;.</p>" in run.chances(found[:2], "They hold <b>.")


def test_what_stands_in_the_way_of_an_answer_is_told_in_its_place() -> None:
    classifier = made("lora", 1)
    assert "The text is empty." in run._labelled(classifier.id, None, "  ")
    assert "There is no run" in run._labelled("20260101-000000-aaaaaaaa", None, "card")
    with owner.acting("v-" + "b" * 24):
        assert "There is no run" in run._labelled(classifier.id, None, "card")
