"""chat, evaluate, export: what is done with a finished run."""

from __future__ import annotations

import json
import sys
from argparse import Namespace, _SubParsersAction
from pathlib import Path
from typing import Any

from engine import chat, export
from engine.errors import UserError
from engine.runs import store


def add(commands: _SubParsersAction[Any]) -> None:
    talk = commands.add_parser("chat", help="ask a finished run's model, or its base model, one thing")
    talk.add_argument("run", metavar="RUN")
    talk.add_argument("--prompt", required=True, help="what to ask; - reads it from standard input")
    talk.add_argument("--system", help="a system message; by default the one that the run was trained with")
    talk.add_argument("--base", action="store_true", help="ask the model as it was before training")
    talk.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    talk.set_defaults(call=_chat)

    evaluate = commands.add_parser("evaluate", help="score a finished run on its held-out rows, or on other data")
    evaluate.add_argument("run", metavar="RUN")
    evaluate.add_argument("--data", metavar="FILE", help="rows to score on; by default the run's own held-out rows")
    evaluate.add_argument("--base", action="store_true", help="score the model as it was before training")
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
    system = options.system if options.system is not None else run.spec().data[0].system
    messages = [{"role": "system", "content": system}] if system else []
    pieces = []
    for piece in chat.stream(run.folder, [*messages, {"role": "user", "content": prompt}], base=options.base):
        pieces.append(piece)
        if not options.json:
            print(piece, end="", flush=True)
    print(json.dumps({"answer": "".join(pieces)}, ensure_ascii=False) if options.json else "")
    return 0


def _evaluate(options: Namespace) -> int:
    from engine.evaluate import evaluate

    run = store.get(options.run)
    scores = evaluate(
        run.folder, data=options.data, base=options.base, say=lambda text: print(text, file=sys.stderr, flush=True)
    )
    if options.json:
        print(json.dumps(scores, ensure_ascii=False))
    else:
        for name, value in scores["metrics"].items():
            print(f"{name.replace('_', ' ')}: {value:.4f}")
        print(f"rows: {scores['rows']}")
    return 0


def _export(options: Namespace) -> int:
    run = store.get(options.run)
    path = export.export(run.folder, options.format, options.to)
    print(json.dumps({"path": str(path)}) if options.json else f"Written to {path}")
    return 0
