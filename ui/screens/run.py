"""One run: live while it works, its result, and a talk with base and result side by side.

The scripts of `ui/static` draw what stands in `ts-chain`, `ts-run`, `ts-push` and `ts-more`; only the talk goes through
Gradio.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from html import escape
from typing import Any

import gradio as gr

from engine import chat, kinds
from engine.errors import DataError, UserError
from engine.judging.measures import digits
from engine.judging.scores import Marked
from engine.specs.spec import RunSpec
from engine.texts import text_pairs
from ui import marking, words
from ui.door import door
from ui.owner import own
from ui.words import bound, brief

OF_ADDRESS = "(_, task, talk) => [new URLSearchParams(window.location.search).get('run') || '', task, talk]"
"""The address names the run, also after the server was started anew, which a session does not outlive."""
LONGEST = 8000
"""Characters of a message."""
LABELS_SHOWN = 5
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build() -> None:
    words.html("<div id='ts-chain'></div>")
    words.html("<div id='ts-run'><p class='ts-quiet' role='status'>Opening the run…</p></div>")
    with gr.Column(elem_classes=["ts-task"]):
        # Choices that an update has set are known to the session alone: see the columns of step 1.
        task = gr.Dropdown(
            [],
            label="Task",
            info="This run learned several data sets, each as a task of its own. It answers as for this one.",
            visible=False,
            interactive=True,
            allow_custom_value=True,
        )
    run = gr.Textbox(visible=False)
    _build_talk(run, task)
    _build_trial(run, task)
    words.html("<div id='ts-push'></div><div id='ts-said'></div><div id='ts-more'></div>")
    page = gr.context.Context.root_block
    shown = gr.Textbox("", visible=False)  # as the script leaves it where no run is shown: then nothing is asked
    page.load(None, None, [shown], js="() => new URLSearchParams(window.location.search).get('run') || ''")
    shown.change(door(_tasks), [shown], [task], **PRIVATE)


def _build_talk(run: gr.Textbox, task: gr.Dropdown) -> None:
    """Base and result side by side, for a model that answers."""
    with gr.Column(elem_classes=["ts-talk"]):
        words.html("<h2>Talk to it</h2><p class='ts-quiet'>One message to the model before and after training.</p>")
        with gr.Row():
            boxes = [_box(label) for label in ("Before training", "After training")]
        question, ask, again = _asking("Message", "Write what it was trained for", again="Start over")
    asked = gr.on([question.submit, ask.click], door(_asked), [question, *boxes], [question, *boxes], **PRIVATE)
    for base, box in zip((True, False), boxes, strict=True):
        asked.success(door(_answerer(base)), [run, task, box], [box], js=OF_ADDRESS, concurrency_limit=4, **PRIVATE)
    again.click(lambda: ([], []), None, boxes, **PRIVATE)


def _build_trial(run: gr.Textbox, task: gr.Dropdown) -> None:
    """A text, and what a classifier says of it."""
    with gr.Column(elem_classes=["ts-try"]):
        words.html("<h2>Try it</h2><p class='ts-quiet'>A text of your own, and what it says of it.</p>")
        with gr.Row(elem_classes=["ts-ask"]):
            text = _written("Text", "Write something like your rows")
            # For runs that read two texts together; the others don't show it.
            with gr.Column(elem_classes=["ts-second"], scale=1, min_width=240):
                second = _written("Second text", "Write what stands beside it")
            ask, clear = _buttons("Clear")
        said = words.html()
    asked = gr.on([text.submit, second.submit, ask.click], door(_reading), None, [said], **PRIVATE)
    both = OF_ADDRESS.replace("talk", "...talk")
    asked.then(door(_labelled), [run, task, text, second], [said], js=both, concurrency_limit=4, **PRIVATE)
    clear.click(lambda: ("", "", ""), None, [text, second, said], **PRIVATE)


def _asking(label: str, example: str, again: str) -> tuple[gr.Textbox, gr.Button, gr.Button]:
    with gr.Row(elem_classes=["ts-ask"]):
        return _written(label, example), *_buttons(again)


def _written(label: str, example: str) -> gr.Textbox:
    return gr.Textbox(
        label=label, max_length=LONGEST, lines=1, max_lines=6, placeholder=example, scale=1, min_width=240
    )


def _buttons(again: str) -> tuple[gr.Button, gr.Button]:
    ask = gr.Button("Ask", min_width=90, elem_classes=["ts-narrow"])
    return ask, gr.Button(again, min_width=130, elem_classes=["ts-narrow"])


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


def _tasks(run_id: str) -> Any:
    """The tasks of the run that is shown ("1: orders.csv"), where it tells some apart."""
    if not run_id:
        return gr.skip()
    try:
        spec = own(run_id).spec()
    except UserError:  # the view says so
        return gr.skip()
    names = [f"{number}: {name}" for number, name in enumerate(spec.tasks(), 1)]
    return gr.update(choices=names, value=names[0] if names else None, visible=bool(names))


def _task(spec: RunSpec, chosen: str | None) -> int:
    """The chosen one of a run's tasks, counted from 0. Raises DataError where there is no such one."""
    tasks = spec.tasks()
    number = str(chosen or "1").partition(":")[0]
    if not tasks:
        return 0
    if not number.isdecimal() or not 1 <= int(number) <= len(tasks):
        raise DataError(f"This run has no task {brief(number)!r}.", f"Choose one of {', '.join(tasks)}.")
    return int(number) - 1


def _answerer(base: bool) -> Callable[[str, str | None, list[Any]], Iterator[list[Any]]]:
    """A handler by which the base or the trained model goes on with a talk."""

    def answer(run_id: str, chosen: str | None, talk: list[Any]) -> Iterator[list[Any]]:
        run = own(run_id)
        spec = run.spec()
        task = _task(spec, chosen)
        system = spec.data[task].system
        messages = [{"role": "system", "content": system}] if system else []
        messages += [{"role": turn["role"], "content": _text(turn["content"])} for turn in talk]
        said = ""
        for piece in chat.stream(run.folder, messages, base=base, task=task):
            said += piece
            yield [*talk, {"role": "assistant", "content": said}]
        if not said.strip():
            yield [*talk, {"role": "assistant", "content": "(It answered with nothing.)"}]

    return answer


def _reading() -> str:
    return words.waiting("Reading it…")


def _labelled(run_id: str, chosen: str | None, text: str, second: str = "") -> str:
    """What a classifier says of a text, or of two, as markup; a problem stands in its place."""
    try:
        if not (text or "").strip():
            raise DataError("The text is empty.", "Write something to ask.")
        run = own(run_id)
        pairs = text_pairs.of_result(run.folder / "model")
        if pairs and not (second or "").strip():
            raise DataError("The second text is empty.", "Write something into both.")
        beside = second[:LONGEST] if pairs else ""
        spec = run.spec()
        task = _task(spec, chosen)
        if kinds.of_folder(run.folder / "model").marks_words:
            asked = text[:LONGEST]
            return marked(asked, chat.marks(run.folder, asked, task=task))
        found = chat.labels(run.folder, text[:LONGEST], task=task, second=beside, before=spec.before()[task])
        return told(kinds.said(run.folder / "model", found))
    except UserError as error:
        return words.failure(error)


def marked(text: str, found: list[Marked]) -> str:
    """A text with what is marked in it, and how sure that is, as markup."""
    shown = marking.marked(text, [(mark.begin, mark.end, mark.label) for mark in found])
    told = "<p>Nothing is marked in it.</p>"
    if found:
        least = min(found, key=lambda mark: mark.chance)
        told = (
            f"<p class='ts-quiet'>{words.counted(len(found), 'mark')}. The least sure is "
            f"<b>{escape(text[least.begin : least.end])}</b>, with {100 * least.chance:.1f} %, the mean chance of its "
            "words.</p>"
        )
    return f"<section class='ts-stack' role='status'><div class='ts-text'>{shown}</div>{told}</section>"


def told(said: kinds.Said) -> str:
    """What a classifier says of a text, as markup."""
    if said.number is not None:
        note = f"<p class='ts-quiet'>{escape(said.holds)}</p>"
        return f"<section class='ts-stack' role='status'><p class='ts-lead'>{digits(said.number)}</p>{note}</section>"
    if not said.several:
        return chances(said.chances, said.holds)
    names = ", ".join(f"<b>{escape(label)}</b>" for label in said.given)
    return chances(said.chances, said.holds, f"<p>It gets {names or 'no label'}.</p>", set(said.given))


def chances(found: list[tuple[str, float]], told: str = "", above: str = "", given: Container[str] = ()) -> str:
    """The likeliest labels with their chances, as markup. told: whether these hold, in a sentence.

    given: labels of several that the text gets; all of them are shown. above: markup that says which.
    """
    most = max(LABELS_SHOWN, sum(label in given for label, _ in found))
    lines = "".join(
        f"<li><b>{escape(label)}{' ✓' if label in given else ''}</b><span>{bound(f'{100 * chance:.1f} %')}</span>"
        f"<i style='--ts-share: {100 * chance:.1f}%'></i></li>"
        for label, chance in found[:most]
    )
    rest = len(found) - most
    more = f"<p class='ts-quiet'>and {words.counted(rest, 'label')} that it thinks less likely</p>" if rest > 0 else ""
    more += f"<p class='ts-quiet'>{escape(told)}</p>" if told else ""
    return f"<section class='ts-stack' role='status'>{above}<ul class='ts-chances'>{lines}</ul>{more}</section>"


def _text(content: Any) -> str:
    """A message's text; Gradio hands back parts where it was given a string."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if isinstance(part, dict))
