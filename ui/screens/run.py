"""One run: live while it works, its result, and a talk with base and result side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from engine import chat
from engine.errors import DataError
from ui.security import door, own

# The address knows the run even where the server was started anew; a session's state does not outlive it.
RUN_OF_ADDRESS = "(_, history) => [new URLSearchParams(location.search).get('run') || '', history]"
LONGEST = 8000
"""Characters of a message."""


def build() -> None:
    gr.HTML("<div id='ts-run'><p class='ts-quiet'>Opening the run…</p></div>")
    with gr.Column(elem_classes=["ts-talk"]):
        gr.HTML("<h2>Talk to it</h2><p class='ts-quiet'>The same question to the model before and after training.</p>")
        with gr.Row():
            base = gr.Chatbot(label="Before training", height=300, buttons=[])
            tuned = gr.Chatbot(label="After training", height=300, buttons=[])
        question = gr.Textbox(label="Message", max_length=LONGEST, lines=1, submit_btn="Ask")
        clear = gr.Button("Start over", size="sm")
        run = gr.Textbox(visible=False)
        asked = question.submit(
            door(_asked), [question, base, tuned], [question, base, tuned], api_visibility="private"
        )
        for which, box in ((True, base), (False, tuned)):
            asked.success(
                door(_answerer(which)),
                [run, box],
                [box],
                js=RUN_OF_ADDRESS,
                concurrency_limit=4,
                show_progress="minimal",
                api_visibility="private",
            )
        clear.click(lambda: ([], []), None, [base, tuned], api_visibility="private")


def _asked(question: str, base: list[Any], tuned: list[Any]) -> tuple[str, list[Any], list[Any]]:
    if not (question or "").strip():
        raise DataError("The message is empty.", "Write something to ask.")
    turn = {"role": "user", "content": question[:LONGEST]}
    return "", [*base, turn], [*tuned, turn]


def _answerer(base: bool) -> Any:
    def answer(run_id: str, history: list[Any]) -> Iterator[list[Any]]:
        run = own(run_id)
        system = run.spec().data[0].system
        messages = [{"role": "system", "content": system}] if system else []
        messages += [{"role": turn["role"], "content": _text(turn["content"])} for turn in history]
        said = ""
        for piece in chat.stream(run.folder, messages, base=base):
            said += piece
            yield [*history, {"role": "assistant", "content": said}]
        if not said:
            yield [*history, {"role": "assistant", "content": "(nothing)"}]

    return answer


def _text(content: Any) -> str:
    """A message's text; Gradio hands back parts where it was given a string."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if isinstance(part, dict))
