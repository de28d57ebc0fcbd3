"""chat, evaluate, export: what is done with a finished run."""

from __future__ import annotations

import json
import sys
from argparse import Namespace, _SubParsersAction
from pathlib import Path
from typing import Any

from engine import chat, export, kinds
from engine.errors import UserError
from engine.judging.measures import digits
from engine.runs import store
from engine.specs.spec import RunSpec

LABELS_SHOWN = 5
TASK = "of a run with several tasks, the number of one (that of its data set)"


def add(commands: _SubParsersAction[Any]) -> None:
    talk = commands.add_parser(
        "chat", help="ask a finished run's model, or its base model, one thing; a classifier says its labels"
    )
    talk.add_argument("run", metavar="RUN")
    talk.add_argument("--prompt", required=True, help="what to ask; - reads it from standard input")
    talk.add_argument("--second", default="", help="the second text, for a classifier that reads two at a time")
    talk.add_argument("--system", help="a system message; by default the one that the run was trained with")
    talk.add_argument("--base", action="store_true", help="ask the model as it was before training")
    talk.add_argument("--task", type=int, metavar="N", help=f"{TASK}; the first by default")
    talk.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    talk.set_defaults(call=_chat)

    evaluate = commands.add_parser("evaluate", help="score a finished run on its held-out rows, or on other data")
    evaluate.add_argument("run", metavar="RUN")
    evaluate.add_argument("--data", metavar="FILE", help="rows to score on; by default the run's own held-out rows")
    evaluate.add_argument("--base", action="store_true", help="score the model as it was before training")
    evaluate.add_argument(
        "--task", type=int, metavar="N", help=f"{TASK}: what the rows of FILE are; the first by default"
    )
    evaluate.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    evaluate.set_defaults(call=_evaluate)

    out = commands.add_parser("export", help="write a finished run's result somewhere else")
    out.add_argument("run", metavar="RUN")
    out.add_argument("--format", choices=export.FORMATS, required=True)
    out.add_argument("--to", type=Path, required=True, metavar="PATH")
    out.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    out.set_defaults(call=_export)


def _chat(options: Namespace) -> int:
    run = store.get(options.run)
    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    if not prompt.strip():
        raise UserError("The prompt is empty.", "Give some text after --prompt.")
    spec = run.spec()
    task = _task(run.id, spec, options.task)
    if options.second and "answers" in spec.objective.gives:
        raise UserError(f"Run {run.id} answers; it reads one prompt.", "Leave --second out.")
    if "answers" not in spec.objective.gives:
        return _label(run, prompt, task, options)
    system = options.system if options.system is not None else spec.data[task].system
    messages = [{"role": "system", "content": system}] if system else []
    pieces = []
    messages.append({"role": "user", "content": prompt})
    for piece in chat.stream(run.folder, messages, base=options.base, task=task):
        pieces.append(piece)
        if not options.json:
            print(piece, end="", flush=True)
    print(json.dumps({"answer": "".join(pieces)}, ensure_ascii=False) if options.json else "")
    return 0


def _label(run: store.Run, text: str, task: int, options: Namespace) -> int:
    """What a classifier says of a text."""
    if options.base or options.system is not None:
        raise UserError(
            f"Run {run.id} chooses labels, which the untouched model does not know, and reads no system message.",
            "Leave --base and --system out.",
        )
    if kinds.of_folder(run.folder / "model").marks_words:
        return _marked(run, text, task, options)
    before = run.spec().before()[task]
    found = chat.labels(run.folder, text, task=task, second=options.second, before=before)
    said = kinds.said(run.folder / "model", found)
    if options.json:
        print(json.dumps(_record(said), ensure_ascii=False))
        return 0
    if said.number is not None:
        print(digits(said.number))
    elif said.several:
        print(f"Labels: {', '.join(said.given) or 'none'}")
    for label, chance in said.chances[: max(LABELS_SHOWN, len(said.given))]:
        print(f"{100 * chance:5.1f} %  {label}")
    print(f"{said.holds}\n" if said.holds else "", end="")
    return 0


def _marked(run: store.Run, text: str, task: int, options: Namespace) -> int:
    """What is marked in a text: its words, label, place in characters, and how sure that is."""
    if options.second:
        raise UserError(f"Run {run.id} reads one text.", "Leave --second out.")
    found = chat.marks(run.folder, text, task=task)
    if options.json:
        marks = [{**mark._asdict(), "text": text[mark.begin : mark.end]} for mark in found]
        print(json.dumps({"marks": marks}, ensure_ascii=False))
        return 0
    for mark in found:
        print(f"{100 * mark.chance:5.1f} %  {mark.label}: {text[mark.begin : mark.end]} ({mark.begin} to {mark.end})")
    print("" if found else "Nothing is marked.\n", end="")
    return 0


def _record(said: kinds.Said) -> dict[str, Any]:
    if said.number is not None:
        return {"number": said.number, "told": said.holds}
    answer = {"labels": said.given} if said.several else {"label": said.given[0]}
    return {**answer, "chances": dict(said.chances), "calibration": said.holds}


def _task(run_id: str, spec: RunSpec, wanted: int | None) -> int:
    """The chosen task, counted from 0. Raises UserError where the run has no such task."""
    tasks = spec.tasks()
    if wanted is None:
        return 0
    if not tasks:
        raise UserError(f"Run {run_id} tells no tasks apart.", "Leave --task out.")
    if not 1 <= wanted <= len(tasks):
        known = ", ".join(f"{number} ({name})" for number, name in enumerate(tasks, 1))
        raise UserError(f"Run {run_id} has no task {wanted}.", f"Its tasks are {known}.")
    return wanted - 1


def _evaluate(options: Namespace) -> int:
    from engine.evaluate import evaluate

    run = store.get(options.run)
    if options.task is not None and options.data is None:
        raise UserError("--task is for rows of another file.", "Give the file with --data, too.")
    scores = evaluate(
        run.folder,
        data=options.data,
        base=options.base,
        say=lambda text: print(text, file=sys.stderr, flush=True),
        task=_task(run.id, run.spec(), options.task),
    )
    lines = scores.pop("lines", [])
    if options.json:
        print(json.dumps(scores, ensure_ascii=False))
    else:
        for name, value in scores["metrics"].items():
            print(f"{name.replace('_', ' ')}: {value:.4f}")
        print(f"rows: {scores['rows']}")
        print("".join(f"{line}\n" for line in lines), end="")
    return 0


def _export(options: Namespace) -> int:
    run = store.get(options.run)
    path = export.export(run.folder, options.format, options.to)
    print(json.dumps({"path": str(path)}) if options.json else f"Written to {path}")
    return 0
