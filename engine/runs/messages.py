"""A message to a run's webhook when it has ended: how, by what scores, in what time. No row, path or error text."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from engine import home, webhooks
from engine.bases import access
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


def send_apart(folder: Path) -> None:
    """The same from a process of its own, for who must not wait; nothing where the run has no webhook."""
    if not _webhook(folder):
        return
    owner = str((read_json(folder / "run.json") or {}).get("owner", ""))
    places = {"TUNESMITH_HOME": str(home.home()), "TUNESMITH_CACHE": str(home.cache())}
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(
        [sys.executable, "-m", "engine.runs.messages", str(folder)],
        stdin=quiet, stdout=quiet, stderr=quiet,
        cwd=home.CHECKOUT,
        env={**access.for_owner(owner), **places},
        start_new_session=True,
    )  # fmt: skip
    _children[:] = [known for known in _children if known.poll() is None]
    _children.append(child)


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


_children: list[subprocess.Popen[bytes]] = []
"""Started by this process, so that they are collected when they end."""

if __name__ == "__main__":
    send(Path(sys.argv[1]))
