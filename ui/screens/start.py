"""Step 3: what will happen, what it costs, and the button."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import gradio as gr

from engine.bases import models
from engine.data import table
from engine.data.example import Example
from engine.data.prepare import Prepared
from engine.data.rows import Table
from engine.errors import UserError
from engine.planning import explain, jobs
from engine.runs import queue, store
from engine.runs.stages import Stages, is_stage, number_of
from engine.specs.sections import Model
from engine.specs.spec import RunSpec, of_spec
from engine.teachers import keys
from engine.texts import preview
from ui import chaining, limits, owner, plan_words, sources, words
from ui.door import door
from ui.screens.data import DataScreen
from ui.screens.method import MethodScreen

START = "Start training"
KEY = "Key of the service"
KEY_HELP = (
    "Given to this run's processes alone. This page holds it in its memory until the run has finished, and writes it "
    "nowhere. Leave it empty where the service wants none."
)
ROWS_SHOWN = 3
SETS_SHOWN = 6
GO = "(run) => { if (run) window.location.assign('?run=' + encodeURIComponent(run)); }"


@dataclass(frozen=True)
class StartScreen:
    rows: DataScreen
    how: MethodScreen
    name: gr.Textbox
    shown: gr.HTML
    """What will happen, what it costs, how long the rows are, and why it was planned so."""
    preview: gr.HTML
    start: gr.Button
    add: gr.Button
    """Keeps this run as a stage, and begins the next one."""
    compare: gr.Checkbox
    """Of several stages: whether one is learned without those before it, too."""
    key: gr.Textbox
    """Of the service that the run turns to, in sight where it turns to one. No setting: it is kept in no file."""

    @property
    def inputs(self) -> list[Any]:
        """The stages that stand ready come last."""
        return [self.name, *self.rows.inputs, *self.how.inputs, self.how.chain]

    @property
    def outputs(self) -> list[Any]:
        return [self.shown, self.preview, self.start]

    def spec(self, given: Sequence[Any]) -> RunSpec:
        """The run that the inputs describe. Raises SettingError or DataError."""
        name, *rest = given
        count = len(self.rows.inputs)
        entries = self.rows.entries(rest[:count])
        return RunSpec.parse({"name": (name or "").strip(), "data": entries, **self.how.values(rest[count:])})

    def plan(self, given: Sequence[Any], compare: bool = False) -> Stages:
        """The stages that stand ready and the one that the inputs describe; that one alone where there are none."""
        return chaining.joined(chaining.read(str(given[-1] or "")), self.spec(given), compare)

    def look(self, *given: Any) -> Iterator[tuple[Any, ...]]:
        """What the run would do, bit by bit as it becomes known; the button when all is well."""
        # With its words: an update that comes before the step is drawn replaces those that the button was made with.
        wait, ready = (gr.update(value=START, interactive=known) for known in (False, True))
        try:
            plan = self.plan(given)
            wait, ready = (gr.update(value=started_by(plan), interactive=known) for known in (False, True))
            yield words.waiting("Looking at the rows…"), "", wait
            *_, wanted = plan.specs
            tables = [table.load(entry) for entry in wanted.data]
            prepared = of_spec(wanted, tables).require()
            limits.require_models(wanted)
            plan.require_pair(len(plan.specs))
            note = _planned_with(plan)
            wanted = plan.stand_in(len(plan.specs))
            folder = yield from _fetched(wanted.model, wait)
            for name in wanted.objective.fetched(wanted.objective_settings):
                yield from _fetched(Model(id=name), wait)
            yield words.waiting("Counting tokens, memory and time…"), "", wait
            rows = ""
            for found in explain.explained(wanted, prepared):
                if note:
                    found = replace(found, model=f"What stage {number_of(plan.specs[-1].model.id)} leaves")
                planned = note + plan_words.plan(found) + plan_words.reasons(found)
                if not rows:
                    yield planned, words.waiting("Preparing a preview of the rows…"), ready
                    rows = _preview(folder, wanted, prepared, tables)
                yield planned, rows, ready
        except UserError as error:
            yield words.failure(error), "", wait

    def asks_key(self, *given: Any) -> Any:
        """An update of the key's input, which is in sight where the run turns to a service."""
        try:
            hosts = chaining.services(self.plan(given))
        except UserError:  # what is wrong is told beside it
            return gr.update(visible=False)
        return gr.update(visible=bool(hosts), label=f"Key of {hosts[0]}" if hosts else KEY)


def started_by(plan: Stages) -> str:
    """What the button says that starts this."""
    return START if len(plan.specs) == 1 else f"Start all {len(plan.specs)} stages"


def _planned_with(plan: Stages) -> str:
    """Of a stage that begins with what an earlier one leaves: what stands for that in the plan."""
    *_, wanted = plan.specs
    if not is_stage(wanted.model.id):
        return ""
    base = words.model_title(plan.base(wanted.model).id)
    return (
        "<p class='ts-quiet ts-note ts-planned-with'>"
        f"It begins with what stage {number_of(wanted.model.id)} leaves. That is yet to be made, and has the shapes of "
        f"{escape(base)}, with which this is planned.</p>"
    )


def build(rows: DataScreen, how: MethodScreen) -> StartScreen:
    words.html(words.heading("Ready to start?", "This is what will happen. Nothing has been changed or started yet."))
    shown, first = words.html(), words.html()
    name = gr.Textbox(
        label="Name of the run", info="Empty means that it is named after what it learns and how.", max_length=80
    )
    key = gr.Textbox(label=KEY, info=KEY_HELP, type="password", visible=False, max_length=500, autofocus=False)
    compare = gr.Checkbox(
        label="Find out whether the first stage helps",
        info="The first task after reading is also learned without what comes before it, on the same rows, and both "
        "are compared. It takes as long again as that stage.",
        visible=False,
    )
    with gr.Row(elem_classes=["ts-acts"]):
        start = gr.Button(START, variant="primary", interactive=False)
        add = gr.Button("Add a stage after this one", elem_classes=["ts-narrow", "ts-add-stage"], min_width=230)
    screen = StartScreen(rows, how, name, shown, first, start, add, compare, key)
    run = gr.Textbox(visible=False)

    def begin(compared: bool, typed: str, *given: Any) -> str:
        plan = screen.plan(given, bool(compared) and bool(given[-1]))
        one = len(plan.specs) == 1
        return started(plan.specs[0], typed or "").id if one else chaining.started(plan, typed or "").links[0].run

    inputs = [compare, key, *screen.inputs]
    begun = start.click(door(begin), inputs, [run], concurrency_limit=4, api_visibility="private")
    begun.success(None, [run], None, js=GO)
    return screen


def started(wanted: RunSpec, key: str = "") -> store.Run:
    """Prepare, create and queue a run of whoever is being answered, from data and a model that are theirs to use.

    key: of the service that the run turns to, where somebody typed one.
    """
    keys.checked(key)
    for entry in wanted.data:
        sources.require(entry.source)
    limits.require_models(wanted)
    limits.require_turn()
    limits.require_disk()
    run = store.create(wanted, of_spec(wanted), owner.current())
    keys.keep(run.folder, key)
    queue.start(run)
    return run


def _fetched(model: Model, wait: Any) -> Generator[tuple[Any, ...], None, Path]:
    """The folder of a model as the generator's value; on the way, what is being done to get it."""
    told: SimpleQueue[str | None] = SimpleQueue()
    with ThreadPoolExecutor(max_workers=1) as pool:
        # In this context: the Hub is asked with what the visitor may use.
        work = pool.submit(copy_context().run, models.ensure, model, told.put)
        work.add_done_callback(lambda _: told.put(None))
        while (text := told.get()) is not None:
            yield words.waiting(text), "", wait
    return work.result()


def _preview(folder: Path, wanted: RunSpec, prepared: Prepared, tables: list[Table]) -> str:
    first = _first_rows(prepared, len(wanted.data))
    raw = [dict(zip(read.numbers, read.rows, strict=True)) for read in tables]
    seen = preview.rows(folder, jobs.readable(wanted, models.facts(wanted.model)), first)
    # A passage of a document is what stands in the data, or a part of that.
    plain = wanted.objective.wants == "text"
    shown = [(row, {} if plain else raw[example.source][example.row]) for row, example in zip(seen, first, strict=True)]
    return words.preview(shown, answers="answers" in wanted.objective.gives or wanted.objective.fills_slot)


def _first_rows(prepared: Prepared, sets: int) -> list[Example]:
    """The first rows that are learned; where there are several data sets, one of each."""
    learned = [example for example in prepared.examples if example.split == "train"]
    if sets == 1:
        return learned[:ROWS_SHOWN]
    found: dict[int, Example] = {}
    for example in learned:
        found.setdefault(example.source, example)
    return [found[source] for source in sorted(found)][:SETS_SHOWN]
