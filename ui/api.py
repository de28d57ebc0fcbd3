"""The page's calls for programs: `gradio_client` can train with them. They take and give plain JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr
import yaml

from engine import objectives
from engine.data import report
from engine.errors import SettingError
from engine.runs import chains, queue, store, view
from engine.runs.stages import Stages
from engine.settings import parse
from engine.specs.sections import Data
from engine.specs.spec import RunSpec
from ui import chaining, limits, owner, sources
from ui.door import door
from ui.owner import own, own_chain
from ui.screens import start


def build() -> None:
    for call in CALLS:
        gr.api(door(call, markup=False), api_name=call.__name__, concurrency_limit=8)


def add(rows: str) -> dict[str, Any]:
    """Hand over rows as CSV, JSON, JSON Lines or text; {"source": what to call them in a spec}."""
    return {"source": sources.kept(str(rows))}


def train(spec: dict[str, Any] | str, key: str = "") -> dict[str, Any]:
    """Start a run from a spec, as a mapping or as YAML text; {"run": its id}. key: of the service that it turns to."""
    wanted = RunSpec.parse(_plain(spec, "spec"))
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


def start_chain(plan: dict[str, Any] | str, key: str = "") -> dict[str, Any]:
    """Start several stages as one plan, from a mapping or YAML text with a list `stages`; its picture, as chain_status.

    key: of the first service that its stages turn to.
    """
    wanted = Stages.parse(_plain(plan, "plan"))
    return chains.picture(chaining.started(wanted, str(key)))


def chain_status(chain_id: str) -> dict[str, Any]:
    """Where a plan of several stages is: its stages with their runs, states and scores, and a sentence."""
    return chains.picture(own_chain(chain_id))


def stop_chain(chain_id: str) -> dict[str, Any]:
    """Stop what is at work of a plan at its next step; nothing after it starts until it is resumed."""
    chains.stop(own_chain(chain_id))
    return chain_status(chain_id)


def resume_chain(chain_id: str) -> dict[str, Any]:
    """Go on with a plan where it was stopped or broke."""
    limits.resume_chain(own_chain(chain_id))
    return chain_status(chain_id)


def list_chains() -> list[dict[str, Any]]:
    """All plans of several stages, newest first, each as chain_status gives it."""
    return [chains.picture(chain) for chain in chains.listed(owner.current())]


def check(source: str, objective: str = objectives.DEFAULT) -> dict[str, Any]:
    """What a data set holds: format, rows, problems, findings."""
    entry = parse(Data, {"source": source}, "data")
    sources.require(entry.source)
    return report.check(entry, objectives.get(str(objective)).wants)


def runs() -> list[dict[str, Any]]:
    """All runs, newest first."""
    return [view.summary(run) for run in store.listed(owner=owner.current())]


CALLS: tuple[Callable[..., Any], ...] = (
    *(add, check, train, status, events, stop, resume, runs),
    *(start_chain, chain_status, stop_chain, resume_chain, list_chains),
)
"""Each is published under its name, which no handler of the page may have: Gradio would rename one of the two."""


def _plain(given: Any, what: str) -> Any:
    """Plain values from a mapping or YAML text. Raises SettingError."""
    if not isinstance(given, str):
        return given
    try:
        return yaml.safe_load(given)
    except yaml.YAMLError:
        raise SettingError([f"The {what} is not valid YAML."], "Check indentation and quotes.") from None
