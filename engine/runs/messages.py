"""A message to a run's webhook when it has ended: how, by what scores, in what time. No row, path or error text."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import yaml

from engine import access, webhooks
from engine.errors import UserError
from engine.events import Notice, Writer
from engine.files import read_json
from engine.runs import store

TRIES = 3
SECONDS_BETWEEN_TRIES = 1.0


def send(folder: Path) -> None:
    """Tell the run's webhook, where it has one; what came of it stands in the run's log, whatever it was."""
    address = _webhook(folder)
    if not address:
        return
    owner = str((read_json(folder / "run.json") or {}).get("owner", ""))
    problem = _sent(address, message(store.get(folder.name)), private=owner == access.LOCAL)
    name = webhooks.host(address)
    told = Notice(f"{name} was told how this run ended.")
    if problem:
        told = Notice(f"{name} could not be told how this run ended: {problem} The run itself is as it was.", "warning")
    with Writer(folder / "events.jsonl") as writer:
        writer.write(told)


def message(run: store.Run) -> dict[str, Any]:
    """Plain values, for programs and (text) for people in a chat."""
    from engine.runs import view  # not needed while a run is supervised
    from engine.runs.outcome import outcome

    found, judged = view.summary(run), outcome(run)
    headline = judged.verdict.headline if judged else f"{run.state.capitalize()}"
    kept = ("name", "state", "model", "objective", "tuner", "main", "before", "after", "seconds", "artifact_bytes")
    return {
        "text": f"{run.name}: {headline}.",
        "run": run.id,
        **{name: found[name] for name in kept},
        "time": round(time.time()),
    }


def _sent(address: str, record: dict[str, Any], private: bool) -> str:
    """Why a message was not taken, after all tries; empty where it was."""
    problem = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(attempt * SECONDS_BETWEEN_TRIES)
        try:
            webhooks.post(address, record, private)
            return ""
        except webhooks.Busy as error:
            problem = error.problem
        except UserError as error:
            return error.problem
    return problem


def _webhook(folder: Path) -> str:
    """Looked up in the plain file: the spec's own reader loads what a supervisor has no use for."""
    try:
        values = yaml.safe_load((folder / "spec.yaml").read_text(encoding="utf-8"))
        address = str((values.get("output") or {}).get("webhook") or "")
        return webhooks.checked(address) if address else ""
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return ""
