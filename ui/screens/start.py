"""Step 3: what will happen, what it costs, and the button."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import gradio as gr

from engine import explain, models, preview
from engine.data import table
from engine.data.prepare import Prepared, prepare
from engine.data.rows import Table
from engine.errors import UserError
from engine.runs import queue, store
from engine.sections import Model
from engine.spec import RunSpec
from ui import owner, words
from ui.door import door
from ui.screens.data import DataScreen
from ui.screens.method import MethodScreen

ROWS_SHOWN = 3
GO = "(run) => { if (run) window.location.assign('?run=' + encodeURIComponent(run)); }"


@dataclass(frozen=True)
class StartScreen:
    rows: DataScreen
    how: MethodScreen
    name: gr.Textbox
    shown: gr.HTML
    start: gr.Button

    @property
    def inputs(self) -> list[Any]:
        return [self.name, *self.rows.inputs, *self.how.inputs]

    @property
    def outputs(self) -> list[Any]:
        return [self.shown, self.start]

    def spec(self, given: Sequence[Any]) -> RunSpec:
        """The run that the inputs describe. Raises SettingError or DataError."""
        name, *rest = given
        count = len(self.rows.inputs)
        entry = self.rows.entry(rest[:count])
        return RunSpec.parse({"name": (name or "").strip(), "data": [entry], **self.how.values(rest[count:])})

    def look(self, *given: Any) -> Iterator[tuple[str, Any]]:
        """What the run would do, bit by bit as it becomes known; the button when all is well."""
        wait = gr.update(interactive=False)
        try:
            yield words.waiting("Looking at the rows…"), wait
            wanted = self.spec(given)
            tables = {entry.source: table.load(entry) for entry in wanted.data}
            prepared = prepare(wanted.data, wanted.objective.wants, wanted.training.seed, tables=tables).require()
            folder = yield from _fetched(wanted.model, wait)
            yield words.waiting("Counting tokens and memory…"), wait
            planned = words.plan(explain.explain(wanted, prepared))
            yield planned + words.waiting("Preparing a preview of the rows…"), gr.update(interactive=True)
            yield planned + _preview(folder, wanted, prepared, tables), gr.update(interactive=True)
        except UserError as error:
            yield words.failure(error), wait


def build(rows: DataScreen, how: MethodScreen) -> StartScreen:
    words.html(words.heading("Ready to start?", "This is what will happen. Nothing has been changed or started yet."))
    shown = words.html()
    name = gr.Textbox(label="Name of the run", info="Empty means that it is named after model and data.", max_length=80)
    with gr.Row(elem_classes=["ts-acts"]):
        start = gr.Button("Start training", variant="primary", interactive=False)
    screen = StartScreen(rows, how, name, shown, start)
    run = gr.Textbox(visible=False)

    def begin(*given: Any) -> str:
        return started(screen.spec(given)).id

    begun = start.click(door(begin), screen.inputs, [run], concurrency_limit=4, api_visibility="private")
    begun.success(None, [run], None, js=GO)
    return screen


def started(wanted: RunSpec) -> store.Run:
    """Prepare, create and queue a run of this page's owner."""
    run = store.create(wanted, prepare(wanted.data, wanted.objective.wants, wanted.training.seed), owner.current())
    queue.start(run)
    return run


def _fetched(model: Model, wait: Any) -> Generator[tuple[str, Any], None, Path]:
    """The folder of a model as the generator's value; on the way, what is being done to get it."""
    told: SimpleQueue[str | None] = SimpleQueue()
    with ThreadPoolExecutor(max_workers=1) as pool:
        work = pool.submit(models.ensure, model, told.put)
        work.add_done_callback(lambda _: told.put(None))
        while (text := told.get()) is not None:
            yield words.waiting(text), wait
    return work.result()


def _preview(folder: Path, wanted: RunSpec, prepared: Prepared, tables: dict[str, Table]) -> str:
    first = [example for example in prepared.examples if example.split == "train"][:ROWS_SHOWN]
    read = tables[wanted.data[0].source]
    raw = dict(zip(read.numbers, read.rows, strict=True))
    seen = preview.rows(folder, wanted, first)
    return words.preview([(row, raw[example.row]) for row, example in zip(seen, first, strict=True)])
