"""Starting runs from a terminal, and telling what they tell until they end."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any, TextIO

from engine.cli import telling
from engine.events import Checkpoint, Evaluation, Failed, Finished, Notice, Progress, Sample
from engine.runs import chains, queue, store
from engine.runs.chains import Chain
from engine.specs.spec import RunSpec, of_spec

ENDED = ("finished", "failed", "stopped")
SECONDS_BETWEEN_LOOKS = 0.2


def beside(spec: RunSpec, path: Path) -> RunSpec:
    """Relative files of a spec lie beside it, wherever the command is given."""
    entries = []
    for entry in spec.data:
        beside = path.resolve().parent / entry.source
        entries.append(entry.model_copy(update={"source": str(beside)}) if beside.exists() else entry)
    return spec.with_data(entries)


def started(spec: RunSpec, options: Namespace) -> store.Run:
    queue.reconcile()
    prepared = of_spec(spec)
    for notice in prepared.notices:
        say(notice, options)
    run = store.create(spec, prepared)
    queue.start(run)
    say(f"Run {run.id} in {run.folder}", options)
    return run


def followed(run: store.Run, options: Namespace) -> str:
    """Tell what the run tells until it ends; its state then. The run itself goes on if this is interrupted."""
    _, offset = run.events(0) if (run.folder / "events.jsonl").exists() and run.state != "created" else ([], 0)
    try:
        while True:
            events, offset = run.events(offset)
            for event in events:
                for line in lines(event):
                    say(line, options)
            state = store.get(run.id).state
            if state in ENDED and not events:
                return state
            if not events:
                time.sleep(SECONDS_BETWEEN_LOOKS)
                queue.reconcile()
    except KeyboardInterrupt:
        say(f"\nThe run goes on. Look at it with: python -m engine show {run.id}", options)
        raise


def to_the_end(chain: Chain, options: Namespace) -> int:
    """Tell what a chain's runs tell until all have finished or one has not; then how the chain stands."""
    for link, run in zip(chain.links, chains.runs(chain), strict=True):
        if run is None:
            break
        if run.state == "finished":
            continue
        say(run.name if run.name.startswith(link.title) else f"{link.title}: {run.name}", options)
        if followed(run, options) != "finished":
            break
    show(chain, options)
    return 0 if chains.at(chain) is None else 2


def show(chain: Chain, options: Namespace) -> int:
    """Print how a chain stands."""
    found = chains.picture(chain)
    print(json.dumps(found, ensure_ascii=False) if options.json else "\n".join(telling.chain_lines(found)))
    return 0


def lines(event: Any) -> list[str]:
    if isinstance(event, Progress):
        if event.phase != "train":
            return [f"{event.phase}: {event.step} of {event.total_steps}"]
        speed = f", {event.tokens_per_second:.0f} tokens/s" if event.tokens_per_second else ""
        loss = f": loss {event.loss:.4f}" if event.loss is not None else ""
        return [f"step {event.step} of {event.total_steps}{loss}{speed}"]
    if isinstance(event, Evaluation):
        return [f"held-out loss at step {event.step}: {event.metrics['loss']:.4f}"]
    if isinstance(event, Sample):
        return [f"sample at step {event.step}: {event.prompt!r} -> {event.answer!r} (expected {event.expected!r})"]
    if isinstance(event, Checkpoint):
        return [
            f"checkpoint at step {event.step}: {event.bytes / 1e6:.1f} MB" + (", the best so far" if event.best else "")
        ]
    if isinstance(event, Notice):
        return [event.text]
    if isinstance(event, Failed):
        return [event.problem, event.fix]
    if isinstance(event, Finished):
        return [f"finished after {event.seconds:.0f} s of training"]
    return []


def say(text: str, options: Namespace) -> None:
    stream: TextIO = sys.stderr if options.json else sys.stdout
    print(text, file=stream, flush=True)
