"""Step 3: what will happen, and the button."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine import explain, models, preview
from engine.data.prepare import prepare
from engine.runs import queue, store
from engine.spec import RunSpec
from ui import words
from ui.screens import data, method
from ui.security import OWNER, door

ROWS_SHOWN = 3
GO = "(run) => { if (run) location.assign('?run=' + encodeURIComponent(run)); }"


@dataclass(frozen=True)
class StartScreen:
    shown: gr.HTML
    look: Any
    """The handler that fills the screen, with its inputs and outputs, for the step before to call."""


def build(rows: data.DataScreen, how: method.MethodScreen) -> StartScreen:
    name = gr.Textbox(label="Name of the run", info="Empty: named after what it does.", max_length=80)
    shown = gr.HTML("<p class='ts-quiet'>Looking at data, model and machine…</p>")
    start = gr.Button("Start training", variant="primary", elem_id="ts-start")
    run = gr.Textbox(visible=False)
    inputs = [name, *rows.inputs, *how.inputs]
    count = len(rows.inputs)

    def spec_of(given: Sequence[Any]) -> RunSpec:
        return spec(given[0], given[1 : 1 + count], given[1 + count :], how)

    def look(*given: Any) -> str:
        wanted = spec_of(given)
        prepared = prepare(wanted.data, wanted.objective.wants, wanted.training.seed)
        prepared.require()
        explanation = explain.explain(wanted, prepared)
        first = [example for example in prepared.examples if example.split == "train"][:ROWS_SHOWN]
        previewed = preview.rows(models.ensure(wanted.model, lambda text: None), wanted, first)
        return words.plan(explanation) + words.preview(previewed)

    def begin(*given: Any) -> str:
        return started(spec_of(given)).id

    begun = start.click(door(begin), inputs, [run], concurrency_limit=4, api_visibility="private")
    begun.success(None, [run], None, js=GO)
    return StartScreen(shown, (door(look), inputs, [shown]))


def spec(name: str, rows: Sequence[Any], how: Sequence[Any], screen: method.MethodScreen) -> RunSpec:
    """The run that the inputs describe. Raises SettingError or DataError."""
    values = screen.values(how)
    entry = {**data.entry(*rows), "split": values.pop("split")}
    return RunSpec.parse({"name": (name or "").strip(), "data": [entry], **values})


def started(wanted: RunSpec) -> store.Run:
    """Prepare, create and queue a run of this page's owner."""
    run = store.create(wanted, prepare(wanted.data, wanted.objective.wants, wanted.training.seed), OWNER)
    queue.start(run)
    return run
