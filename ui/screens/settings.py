"""The settings view, which `ui/static/settings.js` draws, and what is to be known of a Space before a run starts."""

from __future__ import annotations

import os
from html import escape

import gradio as gr

from ui import sharing, words

_DUPLICATE = "https://huggingface.co/spaces/{}?duplicate=true"


def build() -> None:
    words.html("<div id='ts-settings'><p class='ts-quiet' role='status'>Opening the settings…</p></div>")
    if sharing.can_sign_in():
        words.html(
            "<h2>Sign in</h2><p class='ts-quiet'>With your Hugging Face account your runs follow you to other "
            "browsers, and a result can be pushed to your own page of the Hub.</p>"
        )
        # An address without its query: Gradio comes back to it, and adds the query that stands there.
        gr.LoginButton("Sign in with Hugging Face", elem_classes=["ts-narrow"], min_width=240)


def build_notes() -> None:
    """What is different on this Space, before anything is started."""
    notes = [*_notes()]
    if notes:
        words.html("".join(f"<div class='ts-note'>{note}</div>" for note in notes), elem_classes=["ts-space"])


def _notes() -> list[str]:
    found = []
    if not sharing.outlives_restarts():
        found.append(
            "<p><strong>Runs on this Space vanish when it restarts.</strong> Download a result, or push it to the Hub, "
            "as soon as it is finished. They stay where the Space has a storage bucket and TUNESMITH_HOME names a "
            "folder of it.</p>"
        )
    if sharing.has_zero_gpu():
        place = os.environ.get("SPACE_ID", "")
        own = "duplicate this Space"
        if place:
            link = escape(_DUPLICATE.format(place), quote=True)
            own = f"<a href='{link}' target='_blank' rel='noopener'>{own}</a>"
        found.append(
            "<p><strong>A run gets no GPU here.</strong> ZeroGPU lends one for single calls of a minute, not for "
            f"training. Small models learn on the processor. For a GPU, {own} with hardware of its own, or take the "
            "run's script to a Hugging Face Job.</p>"
        )
    return found
