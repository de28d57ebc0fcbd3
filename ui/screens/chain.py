"""Several stages as one plan: their picture above the steps, and the buttons that keep a stage and open it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from engine.errors import SettingError
from engine.runs.stages import Stages
from ui import chaining, own_choice, words
from ui.data_sets import Sets
from ui.door import door
from ui.screens import data
from ui.screens.data import NOTHING_GIVEN, DataScreen
from ui.screens.start import START, StartScreen

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class Picture:
    """What stands above the steps, once a stage stands ready."""

    shown: gr.HTML
    acts: gr.Row
    back: gr.Button
    same: gr.Button


def build() -> Picture:
    shown = words.html()
    with gr.Row(visible=False, elem_classes=["ts-chain-acts"]) as acts:
        same = gr.Button("Use the rows of stage 1 again", elem_classes=["ts-narrow"], min_width=280)
        back = gr.Button("Back to stage 1", elem_classes=["ts-narrow"], min_width=160)
    return Picture(shown, acts, back, same)


def connect(picture: Picture, steps: gr.Walkthrough, rows: DataScreen, last: StartScreen) -> None:
    """What follows upon what."""
    how = last.how
    shown = [picture.shown, picture.acts, picture.back, picture.same, last.compare, last.start]
    how.chain.change(door(_shown), [how.chain], shown, **QUIET)
    form = [steps, last.name, *rows.inputs, *how.inputs, how.chain, how.about, how.auto, *rows.given]
    for button, act in ((last.add, _added(last)), (picture.back, _taken_back(last))):
        done = button.click(door(act), last.inputs, form, **QUIET)
        done.success(door(rows.look), rows.inputs, rows.outputs, **QUIET)
    again = picture.same.click(door(_same_rows(last)), last.inputs, [steps, *rows.inputs, *rows.given], **QUIET)
    again.success(door(rows.look), rows.inputs, rows.outputs, **QUIET)


def _shown(chain: str) -> list[Any]:
    """The picture and all that is in sight only where there are several stages."""
    plan = chaining.read(chain)
    count = len(plan.specs)
    several = gr.update(visible=count > 0)
    return [
        chaining.shown(plan),
        several,
        gr.update(value=f"Back to stage {count}"),
        gr.update(value=f"Use the rows of stage {count} again"),
        several,
        gr.update(value=f"Start all {count + 1} stages" if count else START, interactive=False),
    ]


def _added(last: StartScreen) -> Callable[..., list[Any]]:
    """A handler by which the stage that is described stands ready, and the next one can be described."""

    def make_ready(*given: Any) -> list[Any]:
        plan = last.plan(given)
        plan.require(len(plan.specs))
        if len(plan.specs) + 1 > chaining.MOST:
            raise SettingError([f"A plan has at most {chaining.MOST} stages."], "Start these.")
        blank = chaining.blank(plan)
        rows = last.rows.show({"source": ""})
        return [gr.Walkthrough(selected=1), "", *rows, *last.how.show(blank), *_rest(plan)]

    return make_ready


def _taken_back(last: StartScreen) -> Callable[..., list[Any]]:
    """A handler that opens the newest stage that stands ready, in place of the one that is described."""

    def take_back(*given: Any) -> list[Any]:
        plan = chaining.read(str(given[-1] or ""))
        if not plan.specs:
            raise SettingError(["There is no stage before this one."], "Describe it here.")
        *before, opened = plan.specs
        spec = opened.as_dict()
        rows = last.rows.show(*_opened(spec["data"]))
        chosen = [gr.Walkthrough(selected=1), opened.name, *rows, *last.how.show(spec)]
        return [*chosen, *_rest(replace(plan, specs=before), own_choice.OWN_CHOICE)]

    return take_back


def _same_rows(last: StartScreen) -> Callable[..., list[Any]]:
    """A handler that gives the rows of the newest stage that stands ready once more."""

    def give(*given: Any) -> list[Any]:
        plan = chaining.read(str(given[-1] or ""))
        if not plan.specs:
            raise SettingError(["There is no stage before this one."], "Give rows here.")
        entries = plan.specs[-1].as_dict()["data"]
        return [gr.Walkthrough(selected=1), *last.rows.show(*_opened(entries)), *NOTHING_GIVEN]

    return give


def _opened(entries: list[dict[str, Any]]) -> tuple[dict[str, Any], Sets]:
    """A stage's data: the entry that is open, and those beside it."""
    first, *others = entries
    return first, Sets([data.ready(entry) for entry in others])


def _rest(plan: Stages, auto: str = own_choice.PAIR) -> list[Any]:
    """Values of the inputs that no spec tells of: the stages before, what is known of the data, whose the choice is."""
    return [chaining.text(plan), "", auto, *NOTHING_GIVEN]
