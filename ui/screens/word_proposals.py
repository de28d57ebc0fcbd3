"""Words for labels, proposed on the page: the model is asked, and the setting is filled in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from engine import word_choice
from engine.errors import UserError
from engine.specs.spec import of_spec
from engine.texts import label_words
from ui import limits, sources, words
from ui.door import door
from ui.screens.method import MethodScreen
from ui.screens.start import StartScreen
from ui.screens.word_choice import OBJECTIVE, shown


def build(how: MethodScreen, last: StartScreen) -> None:
    field = how.input(f"objective {OBJECTIVE}", "label_words")

    def ask(*given: Any) -> Iterator[tuple[Any, Any]]:
        """What is said, and the words; these stay where none could be proposed."""
        yield words.waiting("The model reads some rows of each label; a minute or more…"), gr.skip()
        try:
            wanted = last.spec(given)
            for entry in wanted.data:
                sources.require(entry.source)
            limits.require_models(wanted)
            limits.require_turn()
            prepared = of_spec(wanted).require()
            found = word_choice.proposed(wanted, prepared)
        except UserError as error:
            yield words.failure(error), gr.skip()
            return
        labels = len({example.label for example in prepared.examples})
        text = label_words.written({one.label: one.word for one in found})
        yield shown(found, labels), gr.update(value=text)

    # One at a time: a model is loaded for each.
    how.proposals.ask.click(
        door(ask),
        last.inputs,
        [how.proposals.said, field],
        show_progress="hidden",
        api_visibility="private",
        concurrency_limit=1,
    )
