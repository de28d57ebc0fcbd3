"""Which of many inputs are in sight: only those that come or go are told to the page.

Gradio's page goes through all of its parts for each update, and several times for one that is about visibility: to tell
a hundred inputs what they know takes a slow machine seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gradio as gr


def text(shown: Iterable[bool]) -> str:
    """What is in sight, for an input out of sight that keeps it on the page: a digit for each."""
    return "".join("1" if one else "0" for one in shown)


def updates(was: str, shown: Sequence[bool]) -> list[Any]:
    """An update for each, an empty one where nothing changes. was: `text` of what is in sight, or ""."""
    known = was if len(was) == len(shown) else "?" * len(shown)
    return [
        gr.skip() if before == now else gr.update(visible=one)
        for before, now, one in zip(known, text(shown), shown, strict=True)
    ]
