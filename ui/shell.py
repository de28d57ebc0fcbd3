"""The page as a whole: the rail with the runs, and beside it either a new run in three steps or one run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from engine import demo
from engine.errors import DataError
from engine.runs import store
from ui import api, owner, words
from ui.door import door
from ui.screens import data, method, run, start
from ui.theme import STATIC

TITLE = "Tunesmith"
STEPS = {1: "Data", 2: "Model and method", 3: "Check and start"}
_RAIL = (
    "<header class='ts-side' id='ts-side'><a class='ts-mark' href='?'>{icon}{title}</a>"
    "<button class='ts-button ts-toggle' type='button' aria-expanded='false' aria-controls='ts-drawer'>Runs</button>"
    "<div class='ts-drawer' id='ts-drawer'><a class='ts-new' href='?'>New run</a>"
    "<nav id='ts-rail' aria-label='Runs'></nav></div></header>"
    "<div id='ts-steps' hidden data-titles='{steps}'></div>"
)
"""On a phone the button shows and hides the drawer; see static/rail.js."""


def build() -> gr.Blocks:
    with gr.Blocks(title=TITLE, fill_width=True, analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        icon = (STATIC / "icon.svg").read_text(encoding="utf-8")
        words.html(_RAIL.format(icon=icon, title=TITLE, steps=json.dumps(STEPS)))
        # Which of them shows is decided by the address, in the head and the style sheet.
        views: dict[str, Callable[[], object]] = {"new": _new, "run": run.build}
        for name, build_view in views.items():
            with gr.Column(elem_classes=["ts-main", f"ts-view-{name}"]):
                build_view()
        api.build()
    return page


def sample_run() -> store.Run:
    """The sample run: the one that is on its way or done, else a new one."""
    spec = demo.spec()
    mine = store.listed(owner=owner.current())
    known = [found for found in mine if found.name == spec.name and found.state != "failed"]
    return known[0] if known else start.started(spec)


def _new() -> None:
    with gr.Walkthrough(selected=1) as steps:
        with gr.Step(STEPS[1], id=1):
            rows = data.build(_sample)
            with gr.Row(elem_classes=["ts-acts"]):
                to_method = gr.Button("Next: model and method", variant="primary")
        with gr.Step(STEPS[2], id=2):
            how = method.build()
            with gr.Row(elem_classes=["ts-acts"]):
                to_start = gr.Button("Next: check the plan", variant="primary")
        with gr.Step(STEPS[3], id=3):
            last = start.build(rows, how)
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    to_method.click(door(_has_data), [rows.ready], [steps], **quiet)
    to_start.click(lambda: gr.Walkthrough(selected=3), None, [steps], **quiet).then(
        door(last.look), last.inputs, last.outputs, concurrency_limit=4, **quiet
    )


def _sample() -> gr.Row:
    """The whole way in one click, for somebody who has no data at hand."""
    with gr.Row(elem_classes=["ts-sample"]) as strip:
        words.html(
            "<h2>No data at hand?</h2><p class='ts-quiet'>SmolLM2-135M learns from 480 messages of a bank's customers "
            "to name what they want. It takes a few minutes on a laptop, and needs no account and no GPU.</p>",
            min_width=260,
        )
        click = gr.Button("Run the sample", elem_classes=["ts-narrow"], min_width=160)
    begun = gr.Textbox(visible=False)
    asked = click.click(door(lambda: sample_run().id), None, [begun], api_visibility="private", show_progress="hidden")
    asked.success(None, [begun], None, js=start.GO)
    return strip


def _has_data(ready: str) -> Any:
    if ready != data.READY:
        raise DataError(ready) if ready else DataError("There is no data yet.", "Drop a file, or use the sample.")
    return gr.Walkthrough(selected=2)
