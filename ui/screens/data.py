"""Step 1: which rows, and how they are read."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from engine import home
from engine.data import hub, report, table
from engine.errors import DataError
from engine.sections import FORMATS, Data
from engine.settings import parse
from ui import words
from ui.security import OWNER, door

MOST_BYTES = 512 * 1024 * 1024
ROLES = {
    "chat": ("messages", None),
    "sharegpt": ("conversations", None),
    "alpaca": ("instruction", "output"),
    "prompt-completion": ("prompt", "completion"),
    "labelled": ("text", "label"),
    "text": ("text", None),
}
EMPTY = "<p class='ts-quiet'>Drop a file, paste rows, or name a data set of the Hub. Nothing leaves this machine.</p>"


@dataclass(frozen=True)
class DataScreen:
    source: gr.State
    format: gr.Dropdown
    asked: gr.Dropdown
    learned: gr.Dropdown
    prompt: gr.Textbox
    system: gr.Textbox
    skip: gr.Checkbox
    found: gr.HTML

    @property
    def inputs(self) -> list[Any]:
        return [self.source, self.format, self.asked, self.learned, self.prompt, self.system, self.skip]


def build() -> DataScreen:
    source = gr.State("")
    with gr.Tabs():
        with gr.Tab("File"):
            file = gr.File(
                label="CSV, TSV, JSON, JSON Lines, Parquet, Excel or text; also zipped",
                height=170,
                elem_classes=["ts-drop"],
            )
        with gr.Tab("Paste"):
            pasted = gr.Textbox(label="Rows", lines=6, placeholder="text,label\nWhere is my card?,card arrival")
            take_pasted = gr.Button("Use these rows")
        with gr.Tab("Hub or sample"):
            named = gr.Textbox(label="Data set", placeholder="owner/name, or sample:banking-intents")
            take_named = gr.Button("Read it")
    found = gr.HTML(EMPTY)
    with gr.Accordion("How the rows are read", open=False):
        with gr.Row():
            format = gr.Dropdown(list(FORMATS), value="auto", label="Format", info="'auto' looks at the columns.")
            asked = gr.Dropdown([], label="Column that is asked", info="Text, question, instruction or messages.")
            learned = gr.Dropdown([], label="Column that is learned", info="Label or answer.")
        prompt = gr.Textbox(
            label="Prompt template", info="The question, with columns in braces: Summarise: {text}. Empty: as it is."
        )
        system = gr.Textbox(label="System message", info="Put before every conversation that has none.")
        skip = gr.Checkbox(label="Leave out rows with problems", info="Otherwise they must be mended first.")
    screen = DataScreen(source, format, asked, learned, prompt, system, skip, found)
    shown = [found, asked, learned]
    for trigger, given, take in (
        (file.upload, file, _uploaded),
        (take_pasted.click, pasted, _pasted),
        (take_named.click, named, _named),
    ):
        taken = trigger(door(take), [given], [source], show_progress="minimal", api_visibility="private")
        # A new source starts with no columns chosen: the old ones may not be there.
        cleared = taken.success(lambda: ("auto", None, None), None, [format, asked, learned], api_visibility="private")
        cleared.then(door(_look), screen.inputs, shown, api_visibility="private")
    for choice in (format, asked, learned, skip):
        choice.input(door(_look), screen.inputs, shown, show_progress="hidden", api_visibility="private")
    for text in (prompt, system):
        text.blur(door(_look), screen.inputs, shown, show_progress="hidden", api_visibility="private")
    return screen


def entry(source: str, format: str, asked: Any, learned: Any, prompt: str, system: str, skip: bool) -> dict[str, Any]:
    """The spec's data entry from the inputs. Raises DataError without a source, or with somebody else's."""
    if not source:
        raise DataError("There is no data yet.", "Drop a file, paste rows, or name a data set in step 1.")
    require_source(source)
    kind = "labelled" if format == "auto" and (asked and learned) else format
    first, second = ROLES.get(kind, (None, None))
    columns = {role: name for role, name in ((first, asked), (second, learned)) if role and name}
    return {
        "source": source,
        "format": kind,
        "columns": columns,
        "prompt": prompt or None,
        "system": system or None,
        "bad_rows": "skip" if skip else "refuse",
    }


def require_source(source: str) -> None:
    """Refuse files that are not the owner's: a page must not read whatever lies on its machine."""
    if source in table.samples() or hub.is_id(source):
        return
    folder = home.files(OWNER).resolve()
    path = Path(source).resolve()
    if not (path.is_relative_to(folder) and path.is_file()):
        raise DataError("This data is not there any more.", "Drop the file again.")


def _uploaded(path: str | None) -> str:
    if not path:
        raise DataError("No file arrived.", "Drop it again.")
    given = Path(path)
    if given.stat().st_size > MOST_BYTES:
        raise DataError(
            f"The file has {given.stat().st_size / 1e6:,.0f} MB; the page takes 512 MB.", "Use the command line for it."
        )
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in given.name)[-80:]
    place = home.files(OWNER) / f"{uuid.uuid4().hex[:12]}-{name}"
    shutil.move(given, place)  # an upload can be read by whoever has its address; the owner's folder can't
    return str(place)


def _pasted(text: str) -> str:
    table.paste(text)  # refused here, before anything is written
    return str(table.keep(text, home.files(OWNER)))


def _named(name: str) -> str:
    name = (name or "").strip()
    if name not in table.samples() and not hub.is_id(name):
        raise DataError(
            f"{name or 'An empty name'} is neither a data set of the Hub nor a sample.",
            f"Write owner/name, or one of {', '.join(table.samples())}.",
        )
    return name


def _look(*inputs: Any) -> tuple[Any, Any, Any]:
    if not inputs[0]:
        return EMPTY, gr.update(), gr.update()
    found = report.check(parse(Data, entry(*inputs), "data"))
    names = [column["name"] for column in found["columns"]]
    first, second = ROLES.get(found["format"], (None, None))
    return (
        words.found(found),
        gr.update(choices=names, value=found["roles"].get(first)),
        gr.update(choices=names, value=found["roles"].get(second)),
    )
