"""Ways to give rows: a file, pasted text, a data set of the Hub, the sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.data import hub_search, table
from engine.data.rows import ACCEPTED, MAX_BYTES
from engine.errors import UserError
from engine.specs.sections import Data
from ui import example_files, form, sources, words
from ui.door import door
from ui.form import Form
from ui.screens import findings

_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}


@dataclass(frozen=True)
class Way:
    """`happens` is the event, `given` its inputs, `take` makes a source of them."""

    happens: Any
    given: list[Any]
    take: Callable[..., str]


@dataclass(frozen=True)
class Giving:
    ways: list[Way]
    file: gr.File
    texts: list[gr.Textbox]
    """Pasted rows, and the name of a data set."""
    hub: Form
    """What belongs to a data set of the Hub besides its name."""


def build() -> Giving:
    with gr.Tabs():
        with gr.Tab("File"):
            words.html(
                f"<p class='ts-quiet ts-before-data'>{ACCEPTED}; up to {MAX_BYTES // 2**20} MB. "
                "Several at once are read as one. It stays on this machine.</p>"
            )
            file = gr.File(label="Data file", file_count="multiple", height=150, elem_classes=["ts-drop"])
            words.html(
                "<div class='ts-quiet ts-before-data'><p>Not sure how to lay it out? Put your rows into an example:</p>"
                f"{example_files.links()}</div>"
            )
        with gr.Tab("Paste"):
            pasted = gr.Textbox(
                label="Rows",
                info="Copied from a spreadsheet, or as CSV or JSON. The first line names the columns.",
                lines=6,
                placeholder="text,label\nWhere is my card?,card arrival",
            )
            paste = gr.Button("Use these rows")
        with gr.Tab("Hub"):
            named, hub, read = _hub()
        with gr.Tab("Sample"):
            words.html(
                "<p>600 messages of a bank's customers with 12 intents, from banking77 (CC BY 4.0). "
                "Take a look at how rows are laid out.</p>"
            )
            sample = gr.Button("Use the sample")
    ways = [
        Way(file.upload, [file], sources.uploaded),
        Way(paste.click, [pasted], sources.kept),
        Way(read.click, [named], sources.named),
        Way(named.submit, [named], sources.named),
        Way(sample.click, [], lambda: table.samples()[0]),
    ]
    return Giving(ways, file, [pasted, named], hub)


def _hub() -> tuple[gr.Textbox, Form, gr.Button]:
    """Search on the Hub, which static/data.js asks the server for while a person writes."""
    named = gr.Textbox(
        label="Data set of the Hub",
        info="A few words to search for, or its name: owner/name.",
        placeholder="customer support",
        max_lines=1,
        elem_id="ts-hub-name",
    )
    results = findings.live("search")
    with gr.Row(elem_classes=["ts-fields"]):
        hub = form.build(Data, form.named(Data, ("hub_split", "config", "revision")))
    first_rows = words.html()
    read = gr.Button("Read all of it")
    chosen = results.select(door(_chosen), None, [named, first_rows], **_QUIET)
    chosen.success(door(_first_rows), [named, *hub.inputs], [first_rows], **_QUIET)
    return named, hub, read


def _chosen(event: gr.EventData) -> tuple[str, str]:
    """A result of the search that was clicked."""
    return sources.named(str(findings.asked(event).get("id", ""))), words.waiting("Fetching the first rows…")


def _first_rows(name: str, split: str, config: str, revision: str) -> str:
    try:
        seen = hub_search.preview(sources.named(name), split or "train", revision or None)
    except UserError as error:
        return words.failure(error)
    return findings.first_rows(seen.file, seen.rows)
