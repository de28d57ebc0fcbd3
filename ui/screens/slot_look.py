"""Beside the settings of cloze: one of the person's rows in the prompt, and each label's word, while they write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from engine.bases import models
from engine.bases.models import ModelFacts
from engine.errors import DataError, UserError
from engine.runs.stages import is_stage
from engine.settings import parse
from engine.specs.sections import Data, Model
from engine.texts import preview, slot_look
from engine.texts.slot_look import Asked, Look
from ui import chaining, inspections, limits, slot_view, words
from ui.door import door
from ui.screens.method import MethodScreen
from ui.screens.start import StartScreen
from ui.screens.word_choice import OBJECTIVE

MOST_LETTERS = 20_000
"""Of a template, and of all label words."""


def build(how: MethodScreen, last: StartScreen) -> None:
    place = f"objective {OBJECTIVE}"
    template, given, normalised = (how.input(place, name) for name in ("template", "label_words", "length_normalised"))
    inputs = [how.objective, how.model, how.chain, template, given, normalised, *last.rows.inputs]
    changed = [template.change, given.change, normalised.change, how.model.change, how.objective.change]
    gr.on(
        [*changed, how.about.change],
        door(_looked(last)),
        inputs,
        [how.slot.told, how.slot.shown],
        show_progress="hidden",
        api_visibility="private",
        # While an answer is on its way, only what was written last is asked for next.
        trigger_mode="always_last",
        concurrency_limit=4,
    )


def _looked(last: StartScreen) -> Callable[..., Any]:
    """A handler that says what the template and the words come to."""

    def look(objective: str, model: str, chain: str, template: str, given: str, normalised: bool, *rows: Any) -> Any:
        if objective != OBJECTIVE:
            return gr.skip(), gr.skip()
        if len(template or "") + len(given or "") > MOST_LETTERS:
            return _failed("That is too long to be looked at while you write. The plan in step 3 tells of it.")
        try:
            labels, row = _of_rows(last.rows.entries(rows))
            section = Model(id=str(model or "").strip())
            facts, section = _model(section, str(chain or ""))
            asked = Asked(template or "", given or "", labels, row, facts.kind == "encoder", bool(normalised))
            found, known = _with_tokens(asked, section)
        except UserError as error:
            return _failed(f"{error.problem} {error.fix}")
        return slot_view.told(found, known), slot_view.shown(found)

    return look


def _failed(text: str) -> tuple[str, str]:
    return words.waiting(text), ""


def _of_rows(entries: Sequence[dict[str, Any]]) -> tuple[list[str], str]:
    """All labels, and the text of the first row. Raises DataError."""
    labels: set[str] = set()
    row = ""
    for values in entries:
        found = inspections.labelled(parse(Data, values, "data"))
        labels |= found.labels
        row = row or found.first
    if not entries:
        raise DataError("Once there is data, one of its rows stands here in the prompt.", "Give some in step 1.")
    return sorted(labels), row if len(row) <= slot_view.MOST_LETTERS else f"{row[: slot_view.MOST_LETTERS - 1]}…"


def _model(section: Model, chain: str) -> tuple[ModelFacts, Model]:
    """Facts, and whose tokenizer it has. Raises UserError."""
    if is_stage(section.id):
        plan = chaining.read(chain)
        return chaining.facts(plan, section.id), plan.base(section)
    limits.require_model(section)
    return models.facts(section), section


def _with_tokens(asked: Asked, section: Model) -> tuple[Look, bool]:
    """Also whether the model's tokens are known."""
    folder = models.tokenizer_folder(section)
    if folder is None:
        return slot_look.look(asked), False
    return slot_look.look(asked, lambda one: preview.words(folder, one)), True
