"""The page's calls for programs: `gradio_client` can train with them. They take and give plain JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gradio as gr
import yaml

from engine import objectives
from engine.data import report
from engine.errors import SettingError
from engine.runs import queue, store, view
from engine.settings import parse
from engine.specs.sections import Data
from engine.specs.spec import RunSpec
from ui import limits, owner, sources
from ui.door import door
from ui.owner import own
from ui.screens import start


def build() -> None:
    for call in (add, check, train, status, events, stop, resume, runs):
        gr.api(door(call, markup=False), api_name=call.__name__, concurrency_limit=8)


def add(rows: str) -> dict[str, Any]:
    """Hand over rows as CSV, JSON, JSON Lines or text; {"source": what to call them in a spec}."""
    return {"source": sources.kept(str(rows))}


def train(spec: dict[str, Any] | str, key: str = "") -> dict[str, Any]:
    """Start a run from a spec, as a mapping or as YAML text; {"run": its id}. key: of the service that it turns to."""
    if isinstance(spec, str):
        try:
            spec = yaml.safe_load(spec)
        except yaml.YAMLError:
            raise SettingError(["The spec is not valid YAML."], "Check indentation and quotes.") from None
    wanted = RunSpec.parse(spec)
    for entry in wanted.data:
        sources.require(entry.source)
    return {"run": start.started(wanted, str(key)).id}


def status(run_id: str) -> dict[str, Any]:
    """What a run is, how far it is, what it found."""
    return view.summary(own(run_id))


def events(run_id: str, offset: int = 0) -> dict[str, Any]:
    """Events from a byte offset on: {"events": […], "offset": to go on from}."""
    found, end = own(run_id).events(max(0, int(offset)))
    records = [{"type": event.type, **asdict(event)} for event in found]
    for record in records:
        # gradio_client takes whatever has a "path" for a file and asks the server for it, which refuses.
        record.pop("path", None)
    return {"events": records, "offset": end}


def stop(run_id: str) -> dict[str, Any]:
    """Stop a run at its next step."""
    queue.stop(own(run_id))
    return view.summary(own(run_id))


def resume(run_id: str, key: str = "") -> dict[str, Any]:
    """Go on with a run that was stopped or broke. key: of the service that it turns to."""
    limits.resume(own(run_id), str(key))
    return view.summary(own(run_id))


def check(source: str, objective: str = objectives.DEFAULT) -> dict[str, Any]:
    """What a data set holds: format, rows, problems, findings."""
    entry = parse(Data, {"source": source}, "data")
    sources.require(entry.source)
    return report.check(entry, objectives.get(str(objective)).wants)


def runs() -> list[dict[str, Any]]:
    """All runs, newest first."""
    return [view.summary(run) for run in store.listed(owner=owner.current())]
