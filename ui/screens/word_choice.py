"""Under the settings of cloze: a button that asks the model for words, and what it said."""

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
class WordChoice:
    group: gr.Row
    """In sight where the objective has words for its labels."""
    ask: gr.Button
    said: gr.HTML


def build() -> WordChoice:
    with gr.Row(visible=False, elem_classes=["ts-acts"]) as group:
        ask = gr.Button(BUTTON)
        said = words.html(
            words.waiting(
                "The model reads some rows of each label. Words of one token that it finds likelier there than with "
                "the other labels are then written above as Label words."
            )
        )
    return WordChoice(group, ask, said)


def shown(found: Sequence[Proposal], labels: int) -> str:
    """Why these words, as markup."""
    rows = "".join(
        f"<tr><th scope='row'>{escape(one.label)}</th><td>{escape(one.word)}</td><td>{one.times:,.1f}</td>"
        f"<td>{escape(', '.join(one.others)) or '–'}</td></tr>"
        for one in found
    )
    missing = labels - len(found)
    left = f" For {missing} no word was left; their own names stand in." if missing else ""
    return (
        f"<p class='ts-quiet' role='status'>Written above as Label words; change what you know better.{left}</p>"
        "<div class='ts-scroll'><table><thead><tr><th scope='col'>Label</th><th scope='col'>Word</th>"
        "<th scope='col'>Times as likely as with other labels</th><th scope='col'>Next best</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )
