"""The page as a whole: the rail with the runs, and one of two things beside it, a new run or a run."""

from __future__ import annotations

from typing import Any

import gradio as gr

from engine import demo
from engine.runs import store
from ui import api
from ui.screens import data, method, run, start
from ui.security import OWNER, door

INTRO = (
    "<h1>Teach a model from your own rows</h1>"
    "<p class='ts-quiet'>Its answers are scored on rows that it did not learn from, before and after.</p>"
)


def build() -> gr.Blocks:
    with gr.Blocks(title="Tunesmith", fill_width=True, analytics_enabled=False) as page:
        with gr.Sidebar(width=270):
            gr.HTML(
                "<div class='ts-mark'>Tunesmith</div><a class='ts-new' href='?'>New run</a>"
                "<nav id='ts-rail' aria-label='Runs'></nav>"
            )
        # Which of the two shows is decided by the address before the first view, in live.js and page.css.
        with gr.Column(elem_classes=["ts-one-run"]):
            run.build()
        with gr.Column(elem_classes=["ts-new-run"]):
            _new()
        api.build()
    return page


def _new() -> None:
    gr.HTML(INTRO)
    with gr.Row():
        sample = gr.Button("Run the sample", variant="primary", min_width=180, scale=0)
        gr.HTML(
            min_width=300,
            value="<p class='ts-quiet'>A small chat model learns to name what a bank's customers want: 480 rows, a few "
            "minutes on a laptop. Or bring your own data:</p>",
        )
    begun = gr.Textbox(visible=False)
    sample.click(door(_sample), None, [begun], api_visibility="private").success(None, [begun], None, js=start.GO)
    with gr.Walkthrough(selected=1) as steps:
        with gr.Step("Data", id=1):
            rows = data.build()
            to_method = gr.Button("Next: model and method", variant="primary")
        with gr.Step("Model and method", id=2):
            how = method.build()
            to_start = gr.Button("Next: check and start", variant="primary")
        with gr.Step("Check and start", id=3):
            last = start.build(rows, how)
    to_method.click(door(_has_data), rows.inputs, [steps], show_progress="hidden", api_visibility="private")
    look, inputs, outputs = last.look
    to_start.click(
        lambda: gr.Walkthrough(selected=3), None, [steps], show_progress="hidden", api_visibility="private"
    ).then(look, inputs, outputs, api_visibility="private")


def _has_data(*inputs: Any) -> Any:
    data.entry(*inputs)
    return gr.Walkthrough(selected=2)


def _sample() -> str:
    """Start the sample, or go to the one that is on its way or done."""
    return sample_run().id


def sample_run() -> store.Run:
    spec = demo.spec()
    known = [found for found in store.listed(owner=OWNER) if found.name == spec.name and found.state != "failed"]
    return known[0] if known else start.started(spec)
