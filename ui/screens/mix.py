"""In step 2, where there are several data sets: how much of each a pass takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from engine.data import mixture
from engine.errors import SettingError
from engine.settings import parse
from engine.specs.sections import Mixture
from ui import form, mix_view, words
from ui.data_sets import About
from ui.door import door
from ui.form import Form

WEIGHTS = "ts-weights"
"""The input that keeps the weights; static/mix.js writes to it."""
LONGEST = 1000


@dataclass(frozen=True)
class Mix:
    weights: gr.Textbox
    """A JSON list, a number for each data set; empty while all are alike."""
    form: Form
    group: gr.Column = field(repr=False)
    shown: gr.HTML = field(repr=False)

    def connect(self, about: gr.Textbox, epochs: gr.Number) -> None:
        """Draw the mix anew whenever something changes that it follows from."""
        inputs = [about, epochs, self.weights, *self.form.inputs]
        outputs = [self.group, self.weights, self.form.inputs[1], self.shown]
        changes = [item.change for item in inputs]
        options: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "trigger_mode": "always_last",
        }
        gr.on(changes, door(self._look), inputs, outputs, **options)

    def _look(self, about: str, epochs: Any, weights: str, *given: Any) -> list[Any]:
        known = About.read(about)
        several = gr.update(visible=known.sets > 1)
        mine = read(weights, known.sets)
        # Weights of data sets that are not there any more are taken back; else the person has the last word.
        kept = gr.skip() if len(numbers(weights)) in (0, known.sets) else written(mine)
        by_temperature = gr.update(visible=given[0] == "temperature")
        if known.sets < 2 or not known.parts:
            return [several, kept, by_temperature, ""]
        try:
            settings = parse(Mixture, {**self.form.values(given), "weights": mine}, "mixture")
        except SettingError as error:
            return [several, kept, by_temperature, words.failure(error)]
        titles, sizes = zip(*known.parts, strict=True)
        drawn = mix_view.sliders(mixture.parts(settings, titles, sizes), mine, _epochs(epochs))
        return [several, kept, by_temperature, drawn]


def build() -> Mix:
    # In no group that is hidden: there the browser would forget that it is never seen.
    weights = gr.Textbox("", label="Weights of data sets", elem_id=WEIGHTS, visible="hidden", max_length=LONGEST)
    with gr.Column(visible=False) as group:
        words.html(
            "<h2>How the data sets are mixed</h2><p class='ts-quiet'>A pass is as long as all rows together. A set "
            "with more weight is read more often in it, one with less in part.</p>"
        )
        with gr.Row(elem_classes=["ts-fields"]):
            fields = form.build(Mixture, form.basic(Mixture))
        shown = words.html()
    return Mix(weights, fields, group, shown)


def read(text: str, sets: int) -> list[float]:
    """The weights that an input holds, one for each data set; 1 where it holds none."""
    return [*numbers(text), *[1.0] * sets][:sets]


def numbers(text: str) -> list[float]:
    """All that an input holds."""
    try:
        return [float(weight) for weight in json.loads(text or "[]")]
    except (ValueError, TypeError):
        return []


def given(text: str) -> list[float]:
    """As the spec has them: none where all are alike."""
    found = numbers(text)
    return found if len(set(found)) > 1 else []


def written(weights: Sequence[float]) -> str:
    """The inverse of `given`."""
    return json.dumps([float(f"{weight:g}") for weight in weights]) if len(set(weights)) > 1 else ""


def _epochs(value: Any) -> float:
    try:
        return max(0.0, float(value))
    except (TypeError, ValueError):
        return 1.0
