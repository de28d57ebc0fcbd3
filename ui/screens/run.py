"""One run: live while it works, its result, and a talk with base and result side by side.

The scripts of `ui/static` draw what stands in `ts-run`, `ts-push` and `ts-more`; only the talk goes through Gradio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from engine import chat
from engine.errors import DataError
from ui import words
from ui.door import door
from ui.owner import own

OF_ADDRESS = "(_, talk) => [new URLSearchParams(window.location.search).get('run') || '', talk]"
"""The address names the run, also after the server was started anew, which a session does not outlive."""
LONGEST = 8000
"""Characters of a message."""


def build() -> None:
    words.html("<div id='ts-run'><p class='ts-quiet' role='status'>Opening the run…</p></div>")
    with gr.Column(elem_classes=["ts-talk"]):
        words.html("<h2>Talk to it</h2><p class='ts-quiet'>One message to the model before and after training.</p>")
        with gr.Row():
            boxes = [_box(label) for label in ("Before training", "After training")]
        with gr.Row(elem_classes=["ts-ask"]):
            question = gr.Textbox(
                label="Message",
                max_length=LONGEST,
                lines=1,
                max_lines=6,
                placeholder="Write what it was trained for",
                scale=1,
                min_width=240,
            )
            ask = gr.Button("Ask", min_width=90, elem_classes=["ts-narrow"])
            again = gr.Button("Start over", min_width=130, elem_classes=["ts-narrow"])
    words.html("<div id='ts-push'></div><div id='ts-said'></div><div id='ts-more'></div>")
    private = {"api_visibility": "private", "show_progress": "hidden"}
    run = gr.Textbox(visible=False)
    asked = gr.on([question.submit, ask.click], door(_asked), [question, *boxes], [question, *boxes], **private)
    for base, box in zip((True, False), boxes, strict=True):
        asked.success(door(_answerer(base)), [run, box], [box], js=OF_ADDRESS, concurrency_limit=4, **private)
    again.click(lambda: ([], []), None, boxes, **private)


def _box(title: str) -> gr.Chatbot:
    with gr.Column(min_width=280, elem_classes=["ts-side-by-side"]):
        words.html(f"<h3>{title}</h3>")
        # Letter by letter: an answer is judged as it is, marks and tags included.
        return gr.Chatbot(
            label=title, show_label=False, height=240, render_markdown=False, buttons=["copy"], elem_classes=["ts-chat"]
        )


def _asked(question: str, *talks: list[Any]) -> tuple[Any, ...]:
    if not (question or "").strip():
        raise DataError("The message is empty.", "Write something to ask.")
    turn = {"role": "user", "content": question[:LONGEST]}
    return "", *([*talk, turn] for talk in talks)


def _answerer(base: bool) -> Callable[[str, list[Any]], Iterator[list[Any]]]:
    """A handler by which the base or the trained model goes on with a talk."""

    def answer(run_id: str, talk: list[Any]) -> Iterator[list[Any]]:
        run = own(run_id)
        system = run.spec().data[0].system
        messages = [{"role": "system", "content": system}] if system else []
        messages += [{"role": turn["role"], "content": _text(turn["content"])} for turn in talk]
        said = ""
        for piece in chat.stream(run.folder, messages, base=base):
            said += piece
            yield [*talk, {"role": "assistant", "content": said}]
        if not said.strip():
            yield [*talk, {"role": "assistant", "content": "(It answered with nothing.)"}]

    return answer


def _text(content: Any) -> str:
    """A message's text; Gradio hands back parts where it was given a string."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if isinstance(part, dict))
