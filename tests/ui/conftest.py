"""Fixtures of the page's tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import gradio as gr
import pytest

from ui.screens import data, method, start


@pytest.fixture(scope="module")
def screen() -> Iterator[start.StartScreen]:
    made: list[asyncio.AbstractEventLoop] = []
    new = asyncio.new_event_loop
    with pytest.MonkeyPatch.context() as patch:
        # Gradio makes event loops for an app that is never launched, and leaves them open.
        patch.setattr(asyncio, "new_event_loop", lambda: made.append(new()) or made[-1])
        with gr.Blocks():
            built = start.build(data.build(gr.Row), method.build())
    yield built
    asyncio.set_event_loop(None)
    for loop in made:
        loop.close()
