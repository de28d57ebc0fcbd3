"""Runs whose fake worker obeys orders (see `tests.fakes.worker`), and how to wait for what they come to."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from engine.data.prepare import Prepared
from engine.files import read_json
from engine.runs import process, queue, store
from tests.fakes import runs

T = TypeVar("T")
SECONDS_AT_MOST = 40


def prepared() -> Prepared:
    return Prepared(runs.examples("messages"), [], [], [])


def made(*orders: str, owner: str = "local", name: str = "") -> store.Run:
    run = store.create(runs.spec(Path("/nowhere"), "chat", "lora"), prepared(), owner)
    (run.folder / "orders.json").write_text(json.dumps(orders), encoding="utf-8")
    if name:
        store.rename(run, name)
    return store.get(run.id)


def until(what: Callable[[], T]) -> T:
    """What `what` gives as soon as that is true."""
    deadline = time.monotonic() + SECONDS_AT_MOST
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def comes_to(run: store.Run, state: str) -> None:
    seen = []

    def reached() -> bool:
        queue.reconcile()
        seen.append(store.get(run.id).state)
        return seen[-1] == state

    try:
        until(reached)
    except AssertionError:
        raise AssertionError(f"{run.id} went {list(dict.fromkeys(seen))}, not to {state}: {texts(run)}") from None


def texts(run: store.Run) -> list[str]:
    return [getattr(event, "text", None) or getattr(event, "problem", "") for event in run.events(0)[0]]


def living(run: store.Run, name: str) -> dict[str, Any]:
    """The identity of a run's "worker" or "supervisor", once it lives."""
    return until(lambda: (known := read_json(run.folder / f"{name}.json")) and process.alive(known) and known) or {}


def at_work(run: store.Run) -> dict[str, Any]:
    """The identity of a run's worker, once it has begun."""
    known = living(run, "worker")
    until(lambda: run.events(0)[0])
    return known


def attempts(run: store.Run) -> int:
    path = run.folder / "attempts"
    return len(path.read_text(encoding="utf-8")) if path.exists() else 0


def has_checkpoint(run: store.Run, step: int) -> None:
    until(lambda: (run.folder / "checkpoints" / f"step-{step}" / "manifest.json").exists())


def killed(known: dict[str, Any]) -> None:
    os.kill(known["pid"], signal.SIGKILL)
    until(lambda: not process.alive(known))
