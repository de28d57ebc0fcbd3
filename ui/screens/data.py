"""Step 1: which rows, how they are read, and which of them are held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr

from engine.data import formats, history
from engine.errors import DataError, UserError
from engine.settings import parse
from engine.specs.sections import Data, Split
from ui import data_sets, form, inspections, sources, words
from ui.data_sets import Entry, Ready, Sets
from ui.door import door
from ui.form import Form
from ui.screens import findings, giving

READY = "ready"
NOTHING_GIVEN = (None, "", "")
"""File, pasted rows and name of a data set, once they were taken."""
PARTS = {
    "messages": ("Column with messages", "Whole conversations. The answers in them are learned."),
    "conversations": ("Column with conversations", "Whole conversations. The answers in them are learned."),
    "instruction": ("Column with instructions", "What is asked. Read, not learned."),
    "input": ("Column with inputs", "What the instruction is about. Read, not learned."),
    "instances": ("Column with instances", "Inputs with their answers."),
    "prompt": ("Column with questions", "What is asked. Read, not learned."),
    "completion": ("Column with answers", "What is learned."),
    "output": ("Column with answers", "What is learned."),
    "text": ("Column with texts", "What is asked. Read, not learned."),
    "second": ("Column with second texts", "Read together with the first, such as a hypothesis with its premise."),
    "label": ("Column with labels", "What is learned."),
    "words": ("Column with words", "Lists of the words of each text. Read, not learned."),
    "tags": ("Column with tags", "Lists with a tag for each word. What is learned."),
    "marks": ("Column with marks", "Begin, end and label of marked words. What is learned."),
    "system": ("Column with system messages", "Put before the conversation. Read, not learned."),
    "tools": ("Column with tools", "What the model may call. Read, not learned."),
}
"""What the parts that columns play are called, and what becomes of them."""
PLAIN = ("Column with texts", "All of it is read and learned.")
"""Where there is nothing beside the texts."""
USUAL = ("messages", "conversations", "instruction", "input", "prompt", "completion", "text", "label", "marks")
"""Parts that are offered even where no column was found for them; `output` where there is an instruction."""
MOST_MARKED = 3
"""Rows that are shown where words are marked."""
MOST_COLUMNS = max(len(roles) for roles in formats.ROLES.values())


@dataclass(frozen=True)
class DataScreen:
    source: gr.Textbox
    """Where the rows come from. It is kept by the browser, so that it outlives a restart of the server."""
    sets: gr.Textbox
    """The data sets that stand ready beside this one, as `ui.data_sets` writes them."""
    roles: gr.Textbox
    """Which parts the column inputs stand for, separated by spaces."""
    ready: gr.Textbox
    """READY, or why the data can't be used yet."""
    columns: list[gr.Dropdown]
    skip: gr.Checkbox
    entry_forms: list[Form] = field(repr=False)
    split_forms: list[Form] = field(repr=False)
    outputs: list[Any] = field(default_factory=list, repr=False)
    """What `look` gives anew."""
    given: list[Any] = field(default_factory=list, repr=False)
    """Inputs by which rows are given, which are emptied for the next data set."""

    @property
    def look(self) -> Callable[..., list[Any]]:
        """A handler that says what the data of the inputs holds."""
        return _look(self)

    @property
    def format(self) -> Any:
        """The input for how the rows are laid out."""
        return self.entry_forms[1].inputs[0]

    @property
    def inputs(self) -> list[Any]:
        forms = [item for part in (*self.entry_forms, *self.split_forms) for item in part.inputs]
        return [self.source, self.sets, self.roles, self.skip, *self.columns, *forms]

    def entries(self, given: Sequence[Any]) -> list[Entry]:
        """The spec's data: the open entry and those that stand ready. Raises DataError as `entry` does."""
        sets = Sets.read(str(given[1] or ""))
        for one in sets.ready:
            sources.require(str(one.entry.get("source", "")))
        return sets.entries(self.entry(given) if given[0] or not sets.ready else None)

    def entry(self, given: Sequence[Any]) -> Entry:
        """The entry that is open, from the inputs. Raises DataError without a source of this owner's."""
        source, _, roles, skip, *rest = given
        if not source:
            raise DataError("There is no data yet.", "Drop a file, paste rows, or name a data set in step 1.")
        sources.require(source)
        chosen = zip(str(roles or "").split(), rest[:MOST_COLUMNS], strict=False)
        rest = rest[MOST_COLUMNS:]
        values: list[dict[str, Any]] = []
        for part in (*self.entry_forms, *self.split_forms):
            values.append(part.values(rest[: len(part.inputs)]))
            rest = rest[len(part.inputs) :]
        entry: Entry = {"source": source, "columns": {role: name for role, name in chosen if name}}
        entry |= {"bad_rows": "skip"} if skip else {}
        for found in values[: len(self.entry_forms)]:
            entry |= found
        split = {name: value for found in values[len(self.entry_forms) :] for name, value in found.items()}
        return entry | ({"split": split} if split else {})

    def show(self, entry: Mapping[str, Any], sets: Sets | None = None) -> list[Any]:
        """Updates of the inputs that show an entry of a spec, and those beside it: the inverse of `entries`."""
        columns = dict(entry.get("columns") or {})
        chosen = [*columns.values(), *[None] * MOST_COLUMNS][:MOST_COLUMNS]
        forms = [value for part in self.entry_forms for value in part.written(entry)]
        forms += [value for part in self.split_forms for value in part.written(entry.get("split") or {})]
        kept, skip = (sets or Sets()).text(), entry.get("bad_rows") == "skip"
        return [gr.update(value=value) for value in (entry["source"], kept, " ".join(columns), skip, *chosen, *forms)]


def build(empty: Callable[[], gr.Row]) -> DataScreen:
    """`empty` builds what stands here until there is data."""
    words.html(
        words.heading(
            "What should the model learn from?",
            "Questions with answers, texts with labels, whole conversations, or documents to read. Some rows are held "
            "out, to score the model before and after.",
        )
    )
    source, sets, roles, ready = (gr.Textbox(visible=False) for _ in range(4))
    listed = findings.live("sets")
    given = giving.build()
    found = findings.live("findings")
    instead = empty()
    skip = gr.Checkbox(label="Leave out rows with problems", visible=False)
    with gr.Column(visible=False) as how:
        screen, example, all_columns = _how(DataScreen(source, sets, roles, ready, [], skip, [given.hub], []))
        more = _more()
    screen = replace(screen, outputs=[found, example, all_columns, how, ready, roles, skip, listed, *screen.columns])
    screen = replace(screen, given=[given.file, *given.texts])
    _connect(screen, given, [source, found, example, instead, roles, given.file, screen.format])
    _connect_sets(screen, listed, more)
    return screen


def _connect(screen: DataScreen, given: giving.Giving, cleared: list[Any]) -> None:
    """What follows upon what. cleared: of `_taken`."""
    outputs = screen.outputs
    found, example = outputs[:2]
    look, quiet = door(_look(screen)), {"show_progress": "hidden", "api_visibility": "private"}
    again: dict[str, Any] = {"fn": look, "inputs": screen.inputs, "outputs": outputs, **quiet}
    for way in given.ways:
        way.happens(door(_taken(way.take)), way.given, cleared, **quiet).success(**again)
    did = gr.Textbox(visible=False)
    mended = found.click(door(_mend(screen)), screen.inputs, [screen.source, did], **quiet)
    mended.success(look, [*screen.inputs, did], outputs, **quiet)
    mended.failure(None, None, None, js="() => document.dispatchEvent(new Event('ts-data-refused'))")
    # With another format the columns play other parts, so they are guessed anew.
    screen.format.input(lambda: "", None, [screen.roles], api_visibility="private").then(**again)
    for choice in screen.columns:
        # The first row tells at once what a choice means; to look at all rows may take a second longer.
        choice.input(door(_example(screen)), screen.inputs, [example], **quiet)
        choice.input(**again)
    screen.skip.input(**again)
    texts = screen.entry_forms[2].inputs
    for text in (*texts, *(item for part in screen.split_forms for item in part.inputs)):
        text.blur(**again)


def _how(screen: DataScreen) -> tuple[DataScreen, gr.HTML, gr.HTML]:
    """The screen with the inputs for how rows are read and divided, in sight once there are some.

    Beside them the first row, and what all columns hold.
    """
    words.html("<h2>How the rows are read</h2>")
    with gr.Row(elem_classes=["ts-fields"]):
        layout = form.build(Data, form.named(Data, ("format",)))
        # Choices that an update has set are known to the session alone, and a restart of the server ends it; so any
        # value is let through, and the engine says which columns there are.
        free = {"allow_custom_value": True, "interactive": True, "min_width": form.WIDTH}
        columns = [gr.Dropdown([], visible=False, **free) for _ in range(MOST_COLUMNS)]
    example, all_columns = words.html(), words.html()
    words.html("<h2>Held-out rows</h2>")
    with gr.Row(elem_classes=["ts-fields"]):
        shares = form.build(Split, form.basic(Split))
    with gr.Accordion("More settings", open=False):
        texts = form.build(Data, form.named(Data, ("task", "system", "prompt", "label_columns", "label_separator")))
        with gr.Row(elem_classes=["ts-fields"]):
            numbers = form.build(Split, form.advanced(Split))
    whole = replace(
        screen, columns=columns, entry_forms=[*screen.entry_forms, layout, texts], split_forms=[shares, numbers]
    )
    return whole, example, all_columns


def _more() -> gr.Button:
    words.html(
        "<h2>More than one data set?</h2><p class='ts-quiet'>Rows of several files can be learned in one run. This one "
        "stands ready then, and you give the next.</p>"
    )
    with gr.Row():
        return gr.Button("Add another data set", elem_classes=["ts-narrow"], min_width=230)


def _connect_sets(screen: DataScreen, listed: gr.HTML, more: gr.Button) -> None:
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    more.click(None, None, None, js="() => document.dispatchEvent(new Event('ts-set-added'))")
    for happens, act in ((more.click, _add), (listed.click, _act)):
        done = happens(door(act(screen)), screen.inputs, [*screen.inputs, *screen.given], **quiet)
        done.success(door(_look(screen)), screen.inputs, screen.outputs, **quiet)


def _add(screen: DataScreen) -> Callable[..., list[Any]]:
    """A handler by which the open data set stands ready, and the next one can be given."""

    def set_aside(*given: Any) -> list[Any]:
        sets = Sets.read(str(given[1] or "")).closed(_closed(screen, given))
        return [*screen.show({"source": ""}, sets), *NOTHING_GIVEN]

    return set_aside


def _act(screen: DataScreen) -> Callable[..., list[Any]]:
    """A handler that opens one of those that stand ready (the open one then does), or leaves one out."""

    def act(event: gr.EventData, *given: Any) -> list[Any]:
        asked, sets = findings.asked(event), Sets.read(str(given[1] or ""))
        index = asked.get("set")
        if not isinstance(index, int) or isinstance(index, bool):
            raise DataError("Which data set is meant is not clear.", "Click on its button again.")
        if asked.get("act") == "remove":
            kept = gr.update(value=sets.without(index).text())
            return [kept if item is screen.sets else gr.skip() for item in [*screen.inputs, *NOTHING_GIVEN]]
        sets.at(index)
        if given[0]:
            index += 1 if index >= sets.place else 0
            sets = sets.closed(_closed(screen, given))
        entry, sets = sets.opened(index)
        sources.require(str(entry.get("source", "")))
        return [*screen.show(parse(Data, entry, "data").model_dump(mode="json"), sets), *NOTHING_GIVEN]

    return act


def _closed(screen: DataScreen, given: Sequence[Any]) -> Ready:
    """The open data set as it stands ready."""
    return ready(screen.entry(given))


def ready(entry: Entry) -> Ready:
    """A data set as it stands ready, with what it holds, or why it can't be read."""
    try:
        seen = inspections.inspect(parse(Data, entry, "data")).report
        told = f"{words.counted(seen['rows'], 'row')}: {seen['title']}"
    except UserError as error:
        told = error.problem
    return Ready(entry, str(entry.get("task") or history.title(str(entry["source"]))), told)


def _taken(take: Callable[..., str]) -> Callable[..., list[Any]]:
    """A handler that takes a source and clears what belonged to the one before."""

    def taken(*given: Any) -> list[Any]:
        waiting = words.waiting("Reading the rows, and looking for repeats, gaps and leaks…")
        return [take(*given), waiting, "", gr.update(visible=False), "", None, "auto"]

    return taken


def _mend(screen: DataScreen) -> Callable[..., tuple[str, str]]:
    """A handler that makes a new version of the data, or goes back to the one before; with what was done."""

    def mend(event: gr.EventData, *given: Any) -> tuple[str, str]:
        asked = findings.asked(event)
        if asked.get("undo"):
            return sources.before(str(given[0])), "Undone. This is the version before."
        source = sources.mended(parse(Data, screen.entry(given), "data"), str(asked.get("remedy", "")))
        made = history.read(source)
        return source, f"Done: {made.steps[-1].told}." if made else ""

    return mend


def _example(screen: DataScreen) -> Callable[..., Any]:
    """A handler that shows what becomes of the first row, at once."""

    def show(*given: Any) -> Any:
        if not given[0]:
            return gr.skip()
        try:
            return _first(parse(Data, screen.entry(given), "data"))
        except UserError as error:
            return words.failure(error)

    return show


def usable(entry: Data) -> dict[str, Any]:
    """What the data holds, as `inspections` report it. Raises DataError where it can't be learned from as it is."""
    seen = inspections.inspect(entry).report
    bad = sum(group["count"] for group in seen["problems"])
    state = _state(seen, bad, entry.bad_rows == "skip")
    if state != READY:
        raise DataError(f"{history.title(entry.source)}: {state}", "Open it in step 1.")
    return seen


def _first(entry: Data) -> str:
    made = inspections.first(entry, MOST_MARKED)
    further = [other for other, _ in made[1:] if other.marks is not None]  # one row tells little of what is marked
    return findings.example(*made[0], further) if made else ""


def _look(screen: DataScreen) -> Callable[..., list[Any]]:
    """A handler that says what the data holds, and which columns play which part."""

    def look(*inputs: Any) -> list[Any]:
        given, did = inputs[: len(screen.inputs)], inputs[len(screen.inputs) :]
        nothing = [gr.update(visible=False)] * MOST_COLUMNS
        sets = Sets.read(str(given[1] or ""))
        if not given[0]:
            hidden = gr.update(visible=False)
            ready = READY if sets.ready else ""
            return ["", "", "", hidden, ready, "", hidden, data_sets.listed(sets, ""), *nothing]
        title = history.title(given[0])
        listed = data_sets.listed(sets, title)
        try:
            entry = parse(Data, screen.entry(given), "data")
            seen = inspections.inspect(entry).report
            example = "" if seen["error"] else _first(entry)
        except UserError as error:
            # Rows that were readable before stay open to be read in another way.
            read = bool(given[2])
            hidden = gr.update(visible=False)
            parts, columns = ([gr.skip()] * 2, [gr.skip()] * MOST_COLUMNS) if read else (["", hidden], nothing)
            return [words.failure(error), "", "", gr.update(visible=read), error.problem, *parts, listed, *columns]
        shown = _parts(seen)
        names = [column["name"] for column in seen["columns"]]
        told = PARTS | ({"text": PLAIN} if seen["format"] == "text" else {})
        columns = [_column(names, seen["roles"].get(role), *told[role]) for role in shown]
        bad = sum(group["count"] for group in seen["problems"])
        skips = bool(given[3])
        # Rows are left out by a button beside them. The box is for a spec that leaves them out, opened here.
        skip = gr.update(visible=bool(bad) and skips, label=f"Leave out {words.counted(bad, 'row')} with problems")
        return [
            findings.found(_titled(seen, entry.source, title), entry, *map(str, did)),
            example,
            findings.columns(seen),
            gr.update(visible=True),
            _state(seen, bad, skips),
            " ".join(shown),
            skip,
            listed,
            *columns,
            *nothing[len(columns) :],
        ]

    return look


def _titled(seen: dict[str, Any], source: str, title: str) -> dict[str, Any]:
    """What was found, with the name that the file had when it was given."""
    kept = Path(source).name
    return seen | {"source": title, "notices": [notice.replace(kept, title) for notice in seen["notices"]]}


def _column(names: list[str], chosen: str | None, label: str, info: str) -> Any:
    return gr.update(choices=names, value=chosen, label=label, info=info, visible=True)


def _parts(seen: dict[str, Any]) -> list[str]:
    """The parts that columns are offered for."""
    roles = formats.ROLES.get(seen["format"], ())
    usual = {*USUAL, *(() if "instances" in seen["roles"] or "instruction" not in roles else ("output",))}
    used = set(seen["roles"].values())
    if any(column["kind"] == "text" and column["name"] not in used for column in seen["columns"]):
        usual.add("second")
    return [role for role in roles if role in usual or role in seen["roles"]]


def _state(seen: dict[str, Any], bad: int, skipped: bool) -> str:
    if seen["error"]:
        return str(seen["error"]["problem"])
    if bad and not skipped:
        return f"{words.counted(bad, 'row')} with problems. Mend them, or leave them out."
    return READY
