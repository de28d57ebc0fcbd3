"""Step 1: which rows, how they are read, and which of them are held out."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr

from engine import home
from engine.data import formats, hub, report, table
from engine.data.rows import ACCEPTED, MAX_BYTES
from engine.errors import DataError, UserError
from engine.sections import Data, Split
from engine.settings import parse
from ui import form, owner, words
from ui.door import door
from ui.form import Form

READY = "ready"
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
    "label": ("Column with labels", "What is learned."),
    "system": ("Column with system messages", "Put before the conversation. Read, not learned."),
    "tools": ("Column with tools", "What the model may call. Read, not learned."),
}
"""What the parts that columns play are called, and what becomes of them."""
USUAL = ("messages", "conversations", "instruction", "input", "prompt", "completion", "text", "label")
"""Parts that are offered even where no column was found for them; `output` where there is an instruction."""
MOST_COLUMNS = max(len(roles) for roles in formats.ROLES.values())


@dataclass(frozen=True)
class DataScreen:
    source: gr.Textbox
    """Where the rows come from. It is kept by the browser, so that it outlives a restart of the server."""
    roles: gr.Textbox
    """Which parts the column inputs stand for, separated by spaces."""
    ready: gr.Textbox
    """READY, or why the data can't be used yet."""
    columns: list[gr.Dropdown]
    skip: gr.Checkbox
    entry_forms: list[Form] = field(repr=False)
    split_forms: list[Form] = field(repr=False)

    @property
    def inputs(self) -> list[Any]:
        forms = [item for part in (*self.entry_forms, *self.split_forms) for item in part.inputs]
        return [self.source, self.roles, self.skip, *self.columns, *forms]

    def entry(self, given: Sequence[Any]) -> dict[str, Any]:
        """The spec's data entry from the inputs. Raises DataError without a source of this owner's."""
        source, roles, skip, *rest = given
        if not source:
            raise DataError("There is no data yet.", "Drop a file, paste rows, or name a data set in step 1.")
        require_source(source)
        chosen = zip(str(roles or "").split(), rest[:MOST_COLUMNS], strict=False)
        rest = rest[MOST_COLUMNS:]
        values: list[dict[str, Any]] = []
        for part in (*self.entry_forms, *self.split_forms):
            values.append(part.values(rest[: len(part.inputs)]))
            rest = rest[len(part.inputs) :]
        entry = {"source": source, "columns": {role: name for role, name in chosen if name}}
        entry |= {"bad_rows": "skip"} if skip else {}
        for found in values[: len(self.entry_forms)]:
            entry |= found
        split = {name: value for found in values[len(self.entry_forms) :] for name, value in found.items()}
        return entry | ({"split": split} if split else {})


def build(empty: Callable[[], gr.Row]) -> DataScreen:
    """`empty` builds what stands here until there is data."""
    words.html(
        words.heading(
            "What should the model learn from?",
            "Questions with answers, texts with labels, or whole conversations. Some rows are held out, to score "
            "the model before and after.",
        )
    )
    source, roles, ready = (gr.Textbox(visible=False) for _ in range(3))
    with gr.Tabs():
        with gr.Tab("File"):
            words.html(f"<p class='ts-quiet'>{ACCEPTED}; up to {MAX_BYTES // 2**20} MB. It stays on this machine.</p>")
            file = gr.File(label="Data file", height=150, elem_classes=["ts-drop"])
        with gr.Tab("Paste"):
            pasted = gr.Textbox(
                label="Rows",
                info="Copied from a spreadsheet, or as CSV or JSON. The first line names the columns.",
                lines=6,
                placeholder="text,label\nWhere is my card?,card arrival",
            )
            paste = gr.Button("Use these rows")
        with gr.Tab("Hub"):
            named = gr.Textbox(label="Data set of the Hub", info="As the Hub names it: owner/name.", max_lines=1)
            with gr.Row(elem_classes=["ts-fields"]):
                hub_form = form.build(Data, form.named(Data, ("config", "hub_split", "revision")))
            name = gr.Button("Read it")
        with gr.Tab("Sample"):
            words.html(
                "<p>600 messages of a bank's customers with 12 intents, from banking77 (CC BY 4.0). "
                "Take a look at how rows are laid out.</p>"
            )
            sample = gr.Button("Use the sample")
    found = words.html()
    instead = empty()
    skip = gr.Checkbox(label="Leave out rows with problems", visible=False)
    details = words.html()
    with gr.Column(visible=False) as how:
        screen = _how(DataScreen(source, roles, ready, [], skip, [hub_form], []))
    format = screen.entry_forms[1].inputs[0]
    outputs = [found, details, how, ready, roles, skip, *screen.columns]

    def connect(click: Any, given: list[Any], take: Callable[..., str]) -> None:
        cleared = [source, found, details, instead, roles, file, format]
        taken = click(door(_taken(take)), given, cleared, show_progress="hidden", api_visibility="private")
        taken.success(door(_look(screen)), screen.inputs, outputs, show_progress="hidden", api_visibility="private")

    connect(file.upload, [file], _uploaded)
    connect(paste.click, [pasted], kept)
    connect(name.click, [named], _named)
    connect(sample.click, [], lambda: table.samples()[0])
    again = {"inputs": screen.inputs, "outputs": outputs, "show_progress": "hidden", "api_visibility": "private"}
    # With another format the columns play other parts, so they are guessed anew.
    format.input(lambda: "", None, [roles], api_visibility="private").then(door(_look(screen)), **again)
    for choice in (*screen.columns, screen.skip):
        choice.input(door(_look(screen)), **again)
    for text in (*screen.entry_forms[2].inputs, *(item for part in screen.split_forms for item in part.inputs)):
        text.blur(door(_look(screen)), **again)
    return screen


def _how(screen: DataScreen) -> DataScreen:
    """The screen with the inputs for how rows are read and divided; in sight once there are some."""
    words.html("<h2>How the rows are read</h2>")
    with gr.Row(elem_classes=["ts-fields"]):
        layout = form.build(Data, form.named(Data, ("format",)))
        # Choices that an update has set are known to the session alone, and a restart of the server ends it; so any
        # value is let through, and the engine says which columns there are.
        free = {"allow_custom_value": True, "interactive": True, "min_width": form.WIDTH}
        columns = [gr.Dropdown([], visible=False, **free) for _ in range(MOST_COLUMNS)]
    words.html("<h2>Held-out rows</h2>")
    with gr.Row(elem_classes=["ts-fields"]):
        shares = form.build(Split, form.basic(Split))
    with gr.Accordion("More settings", open=False):
        texts = form.build(Data, form.named(Data, ("system", "prompt")))
        with gr.Row(elem_classes=["ts-fields"]):
            numbers = form.build(Split, form.advanced(Split))
    return replace(
        screen, columns=columns, entry_forms=[*screen.entry_forms, layout, texts], split_forms=[shares, numbers]
    )


def require_source(source: str) -> None:
    """Refuse files that are not the owner's: a page must not read whatever lies on its machine."""
    if source in table.samples() or (hub.is_id(source) and not Path(source).exists()):
        return
    folder = home.files(owner.current()).resolve()
    path = Path(source).resolve()
    if not (path.is_relative_to(folder) and path.is_file()):
        raise DataError("This data is not there any more.", "Drop the file again.")


def _taken(take: Callable[..., str]) -> Callable[..., list[Any]]:
    """A handler that takes a source and clears what belonged to the one before."""

    def taken(*given: Any) -> list[Any]:
        return [take(*given), words.waiting("Reading the rows…"), "", gr.update(visible=False), "", None, "auto"]

    return taken


def _uploaded(path: str | None) -> str:
    if not path:
        raise DataError("No file arrived.", "Drop it again.")
    given = Path(path)
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in given.name)[-80:]
    place = home.files(owner.current()) / f"{uuid.uuid4().hex[:12]}-{name}"
    shutil.move(given, place)  # an upload can be read by whoever has its address; the owner's folder can't
    return str(place)


def kept(text: str) -> str:
    """Write pasted rows to a file of the owner; its path. Raises DataError for what holds no rows."""
    table.paste(text or "")  # refused here, before anything is written
    return str(table.keep(text, home.files(owner.current())))


def _named(name: str) -> str:
    name = (name or "").strip()
    if not hub.is_id(name) or Path(name).exists():
        raise DataError(f"{name!r} is no name of a data set.", "Write its owner, a slash, and its name.")
    return name


def _look(screen: DataScreen) -> Callable[..., list[Any]]:
    """A handler that says what the data holds, and which columns play which part."""

    def look(*given: Any) -> list[Any]:
        if not given[0]:
            return [gr.skip()] * (6 + MOST_COLUMNS)
        nothing = [gr.update(visible=False)] * MOST_COLUMNS
        try:
            seen = report.check(parse(Data, screen.entry(given), "data"))
        except UserError as error:
            # Rows that were readable before stay open to be read in another way.
            rest = [gr.skip()] * (2 + MOST_COLUMNS) if given[1] else ["", gr.update(visible=False), *nothing]
            return [words.failure(error), "", gr.update(visible=bool(given[1])), error.problem, *rest]
        title = re.sub(r"^[0-9a-f]{12}-", "", Path(given[0]).name) if Path(given[0]).is_absolute() else given[0]
        shown = _parts(seen)
        names = [column["name"] for column in seen["columns"]]
        columns = [_column(names, seen["roles"].get(role), *PARTS[role]) for role in shown]
        bad = sum(group["count"] for group in seen["problems"])
        skip = gr.update(visible=bool(bad), label=f"Leave out {words.counted(bad, 'row')} with problems")
        return [
            words.found(seen | {"source": title}),
            words.details(seen),
            gr.update(visible=True),
            _state(seen, bad, skipped=bool(given[2])),
            " ".join(shown),
            skip,
            *columns,
            *nothing[len(columns) :],
        ]

    return look


def _column(names: list[str], chosen: str | None, label: str, info: str) -> Any:
    return gr.update(choices=names, value=chosen, label=label, info=info, visible=True)


def _parts(seen: dict[str, Any]) -> list[str]:
    """The parts that columns are offered for."""
    roles = formats.ROLES.get(seen["format"], ())
    usual = {*USUAL, *(() if "instances" in seen["roles"] or "instruction" not in roles else ("output",))}
    return [role for role in roles if role in usual or role in seen["roles"]]


def _state(seen: dict[str, Any], bad: int, skipped: bool) -> str:
    if seen["error"]:
        return str(seen["error"]["problem"])
    if bad and not skipped:
        return f"{words.counted(bad, 'row')} with problems. Mend them in the file, or choose to leave them out."
    return READY
