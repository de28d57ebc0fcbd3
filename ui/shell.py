"""The page as a whole: the rail with the runs, and beside it either a new run in three steps or one run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from engine import demo
from engine.data import mixture
from engine.errors import DataError
from engine.runs import store
from engine.settings import parse
from engine.specs.sections import Data
from ui import api, own_choice, owner, prefill, words
from ui.data_sets import About
from ui.door import door
from ui.screens import chain, data, longest_row, method, run, runs, settings, slot_look, start, word_proposals
from ui.theme import STATIC

TITLE = "Tunesmith"
STEPS = {1: "Data", 2: "Model and method", 3: "Check and start"}
_RAIL = (
    "<header class='ts-side' id='ts-side'><a class='ts-mark' href='?'>{icon}{title}</a>"
    "<button class='ts-button ts-toggle' type='button' aria-expanded='false' aria-controls='ts-drawer'>Runs</button>"
    "<div class='ts-drawer' id='ts-drawer'><a class='ts-new' href='?'>New run</a>"
    "<nav id='ts-rail' aria-label='Runs'></nav><a class='ts-rail-all' href='?runs'>All runs</a>"
    "<div class='ts-rail-foot' id='ts-rail-foot'><a href='?settings'>Settings</a></div></div></header>"
    "<div id='ts-steps' hidden data-titles='{steps}'></div>"
)
"""On a phone the button shows and hides the drawer; see static/rail.js."""


def build() -> gr.Blocks:
    with gr.Blocks(title=TITLE, fill_width=True, analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        icon = (STATIC / "icon.svg").read_text(encoding="utf-8")
        words.html(_RAIL.format(icon=icon, title=TITLE, steps=json.dumps(STEPS)))
        # Which of them shows is decided by the address, in the head and the style sheet.
        views: dict[str, Callable[[], object]] = {
            "new": _new,
            "run": run.build,
            "runs": runs.build,
            "compare": runs.build_comparison,
            "settings": settings.build,
        }
        for name, build_view in views.items():
            with gr.Column(elem_classes=["ts-main", f"ts-view-{name}"]):
                build_view()
        api.build()
    # Gradio tells every output of every event that has run how each further one gets on, which takes seconds.
    for handler in page.fns.values():
        if handler.show_progress == "hidden":
            handler.show_progress_on = []
    return page


def sample_run() -> store.Run:
    """The sample run: the one that is on its way or done, else a new one."""
    spec = demo.spec()
    mine = store.listed(owner=owner.current())
    known = [found for found in mine if found.name == spec.name and found.state != "failed"]
    return known[0] if known else start.started(spec)


def _new() -> None:
    settings.build_notes()
    note = words.html()
    picture = chain.build()
    with gr.Walkthrough(selected=1) as steps:
        with gr.Step(STEPS[1], id=1):
            rows = data.build(_sample)
            with gr.Row(elem_classes=["ts-acts", "ts-after-data"]):
                to_method = gr.Button("Next: model and method", variant="primary")
        with gr.Step(STEPS[2], id=2):
            how = method.build()
            with gr.Row(elem_classes=["ts-acts"]):
                to_start = gr.Button("Next: check the plan", variant="primary")
        with gr.Step(STEPS[3], id=3):
            last = start.build(rows, how)
            longest_row.build(how, last)
            word_proposals.build(how, last)
            slot_look.build(how, last)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    to_method.click(door(_with_data(rows)), [rows.ready, *rows.inputs], [steps, how.about], **quiet)
    asked = gr.Textbox(visible=False)
    looked = asked.change(door(last.look), last.inputs, last.outputs, concurrency_limit=4, **quiet)
    # A plan that is still being made, such as one that waits for the machine to be measured, gives way to the new one.
    to_start.click(door(_to_start), None, [steps, asked], cancels=[looked], **quiet)
    chain.connect(picture, steps, rows, last)
    to_start.click(door(last.asks_key), last.inputs, [last.key], **quiet)
    _open_by_address(steps, note, rows, last)


def _to_start() -> tuple[gr.Walkthrough, str]:
    """The last step, and what asks for a fresh plan: a text that was not there before."""
    return gr.Walkthrough(selected=3), str(time.time_ns())


def _open_by_address(steps: gr.Walkthrough, note: gr.HTML, rows: data.DataScreen, last: start.StartScreen) -> None:
    """`?from=RUN`, `?preset=NAME` and `?merge=RUN,RUN` open the steps with settings in them (`ui.prefill`)."""
    # Both begin with what the script gives for no address, so that nothing is asked then.
    address, step = gr.Textbox("", visible=False), gr.Textbox("", visible=False)
    shown = [steps, note, step, last.how.about, last.how.auto, *last.inputs]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}
    page = gr.context.Context.root_block
    # The address is the browser's; only a page that is asked for something goes through this.
    given = "|".join(prefill.WAYS)
    page.load(None, None, [address], js=f"() => /[?&]({given})=/.test(location.search) ? location.search : ''")
    asked = address.change(door(_prefilled(last)), [address], shown, **quiet)
    looked = asked.success(door(rows.look), rows.inputs, rows.outputs, **quiet)
    looked.success(door(_planned(last)), [step, *last.inputs], last.outputs, **quiet)
    looked.success(door(last.asks_key), last.inputs, [last.key], **quiet)


def _prefilled(last: start.StartScreen) -> Callable[[str], list[Any]]:
    """A handler that shows what the address asks for, and takes the person to where they have to look first."""

    def show(address: str) -> list[Any]:
        found = prefill.asked(address)
        rest = 3 + len(last.inputs)
        if not isinstance(found, prefill.Prefill):
            return [gr.skip(), found or "", *[gr.skip()] * rest]
        spec = [gr.update(value=found.name), *last.rows.show(found.entry, found.sets), *last.how.show(found.spec), ""]
        about = About(sets=len(found.spec["data"])).text()
        return [gr.Walkthrough(selected=found.step), found.note, str(found.step), about, own_choice.OWN_CHOICE, *spec]

    return show


def _planned(last: start.StartScreen) -> Callable[..., Iterator[Any]]:
    """The plan, where that is the step to stand on."""

    def look(step: str, *given: Any) -> Iterator[Any]:
        if step == str(prefill.PLAN):
            yield from last.look(*given)

    return look


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


def _good_for(reports: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The objectives that can learn from all of these."""
    each = [{suit["name"] for suit in report["suits"] if not suit["missing"]} for report in reports]
    names = [suit["name"] for suit in reports[0]["suits"]] if reports else []
    return tuple(name for name in names if all(name in good for good in each))


def _with_data(rows: data.DataScreen) -> Callable[..., tuple[Any, str]]:
    """A handler that goes on where there is data, with what is known of it."""

    def go_on(ready: str, *given: Any) -> tuple[Any, str]:
        if ready != data.READY:
            raise DataError(ready) if ready else DataError("There is no data yet.", "Drop a file, or use the sample.")
        entries = [parse(Data, entry, "data") for entry in rows.entries(given)]
        seen = [data.usable(entry) for entry in entries]
        learned = [report["splits"].get("train", 0) for report in seen]
        known = About(
            rows=sum(learned),
            labelled=all(report["format"] == "labelled" for report in seen),
            sets=len(seen),
            plain=all(report["format"] == "text" for report in seen),
            marked=all(report["format"] == "marked" for report in seen),
            good_for=_good_for(seen),
            parts=tuple(zip(mixture.names(entries), learned, strict=True)) if len(seen) > 1 else (),
        )
        return gr.Walkthrough(selected=2), known.text()

    return go_on
