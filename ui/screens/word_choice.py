"""Beside the settings of cloze: a row in the prompt, and a button that asks the model for words with what it said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import gradio as gr

from engine.word_choice import Proposal
from ui import words

OBJECTIVE = "cloze"
BUTTON = "Propose words"


@dataclass(frozen=True)
class Slot:
    told: gr.HTML
    """In a sentence what the prompt and the words come to, or what is wrong with them."""
    shown: gr.HTML


@dataclass(frozen=True)
class WordChoice:
    group: gr.Column
    """In sight where the objective has words for its labels."""
    slot: Slot
    ask: gr.Button
    said: gr.HTML


def build() -> WordChoice:
    with gr.Column(visible=False, elem_classes=["ts-slot-side"]) as group:
        # Gradio writes into this element and leaves it where it is, so that a change of it is read out.
        polite = "element.setAttribute('aria-live', 'polite');"
        slot = Slot(words.html(js_on_load=polite, elem_classes=["ts-slot-told"]), words.html())
        ask = gr.Button(BUTTON, elem_classes=["ts-narrow"], min_width=160)
        said = words.html(
            words.waiting(
                "The model reads some rows of each label. Words of one token that it finds likelier there than with "
                "the other labels are then written above as Label words."
            )
        )
    return WordChoice(group, slot, ask, said)


def shown(found: Sequence[Proposal], labels: int) -> str:
    """Why these words, as markup."""
    rows = "".join(
        f"<tr><th scope='row'>{escape(one.label)}</th><td>{escape(one.word)}</td><td>{one.times:,.1f}</td>"
        f"<td>{escape(', '.join(one.others)) or '–'}</td></tr>"
        for one in found
    )
    missing = labels - len(found)
    left = f" For {missing} no word was left; their own names stand in." if missing else ""
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("Label", "Word", "Times as likely", "Next best"))
    return (
        "<p class='ts-quiet' role='status'>Written above as Label words; change what you know better. The figure says "
        f"how many times as likely the model finds a word there as with the other labels.{left}</p>"
        "<div class='ts-scroll' tabindex='0' role='region' aria-label='Proposed words'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
