"""Which run goes next. There is no daemon: whoever starts or ends a run takes the next one, under the index's lock."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from engine.errors import RunError, SettingError
from engine.events import Failed, Finished, Notice, Writer
from engine.files import read_json, write_json
from engine.home import CHECKOUT, runs
from engine.runs import checkpoints, process
from engine.runs.store import ACTIVE, Run, index, listed, state_of

MOST_DEATHS = 3
"""Times that a run is taken up again without having got to a newer checkpoint."""


def start(run: Run) -> None:
    """Put a run in the queue; it starts at once where there is room."""
    with index() as rows:
        if state_of(rows, run.id) in ACTIVE:
            raise RunError(f"Run {run.id} is {state_of(rows, run.id)} already.", "Wait for it, or stop it.")
        _enqueue(rows, run.id)
    advance()


def stop(run: Run, force: bool = False) -> None:
    """Stop a run at its next step, with a whole checkpoint. `force` ends it at once, with what was last saved."""
    with index() as rows:
        state = state_of(rows, run.id)
        if state == "queued":
            _set(rows, run.id, "stopped")
            return
        if state not in ("running", "stopping"):
            raise RunError(f"Run {run.id} is {state}, not running.", "Only queued and running runs can be stopped.")
        (run.folder / "stop").touch()
        _set(rows, run.id, "stopping")
    if force:
        process.end(read_json(run.folder / "worker.json"), force=True)
    reconcile()


def resume(run: Run) -> None:
    """Go on from the newest whole checkpoint, or from the start where there is none."""
    with index() as rows:
        state = state_of(rows, run.id)
        if state in ACTIVE:
            raise RunError(f"Run {run.id} is {state} already.", "Wait for it, or stop it.")
        if state == "finished":
            raise RunError(f"Run {run.id} has finished.", "Start a new run to train on.")
        _enqueue(rows, run.id)
    advance()


def advance() -> None:
    """Start queued runs, oldest first, while there is room."""
    with index() as rows:
        while (
            rows.execute("SELECT count(*) FROM runs WHERE state IN ('running', 'stopping')").fetchone()[0] < _at_once()
        ):
            found = rows.execute("SELECT id FROM runs WHERE state = 'queued' ORDER BY queued, id LIMIT 1").fetchone()
            if found is None:
                return
            folder = runs() / found[0]
            if not folder.is_dir():
                rows.execute("DELETE FROM runs WHERE id = ?", (found[0],))
                continue
            _set(rows, found[0], "running")
            (folder / "exit.json").unlink(missing_ok=True)
            write_json(folder / "supervisor.json", process.identity(_spawned(folder)))


def ended(run_id: str, state: str) -> None:
    """A supervisor's last word: its run is finished, stopped or failed, and the next one may start."""
    with index() as rows:
        _set(rows, run_id, state)
    advance()


def reconcile() -> None:
    """Bring the index to what is so: runs whose processes died are taken up again, unless the person stopped them."""
    for run in listed():
        if run.state in ("running", "stopping"):
            with index() as rows:
                if state_of(rows, run.id) in ("running", "stopping") and not _attended(run.folder):
                    _settle(rows, run)
    advance()


def _settle(rows: sqlite3.Connection, run: Run) -> None:
    """Decide on a run that is listed as running while none of its processes lives."""
    outcome = (read_json(run.folder / "exit.json") or {}).get("outcome")
    events, _ = run.events()
    last = events[-1] if events else None
    if outcome in ("finished", "failed", "stopped"):
        return _set(rows, run.id, str(outcome))
    if isinstance(last, Finished):
        return _set(rows, run.id, "finished")
    if isinstance(last, Failed):
        return _set(rows, run.id, "failed")
    if (run.folder / "stop").exists():
        return _set(rows, run.id, "stopped")
    step = checkpoints.newest_step(run.folder / "checkpoints")
    deaths, death_step = rows.execute("SELECT deaths, death_step FROM runs WHERE id = ?", (run.id,)).fetchone()
    deaths = 1 if step > death_step else deaths + 1
    rows.execute("UPDATE runs SET deaths = ?, death_step = ? WHERE id = ?", (deaths, step, run.id))
    writer = Writer(run.folder / "events.jsonl")
    try:
        if deaths > MOST_DEATHS:
            writer.write(
                Failed(
                    f"The run's processes ended {deaths} times without reaching a new checkpoint.",
                    "Look into worker.log and supervisor.log, then resume.",
                )
            )
            _set(rows, run.id, "failed")
        else:
            writer.write(Notice("The run's processes had ended unexpectedly; it is taken up again.", "warning"))
            rows.execute("UPDATE runs SET state = 'queued' WHERE id = ?", (run.id,))
    finally:
        writer.close()


def _attended(folder: Path) -> bool:
    """Whether a supervisor or a worker of this run lives."""
    return any(process.alive(read_json(folder / name)) for name in ("supervisor.json", "worker.json"))


def _enqueue(rows: sqlite3.Connection, run_id: str) -> None:
    folder = runs() / run_id
    (folder / "stop").unlink(missing_ok=True)
    rows.execute("UPDATE runs SET state = 'queued', queued = ?, deaths = 0 WHERE id = ?", (time.time(), run_id))


def _set(rows: sqlite3.Connection, run_id: str, state: str) -> None:
    rows.execute("UPDATE runs SET state = ? WHERE id = ?", (state, run_id))


def _at_once() -> int:
    given = os.environ.get("TUNESMITH_PARALLEL", "1")
    if not given.isdigit() or int(given) < 1:
        raise SettingError([f"TUNESMITH_PARALLEL is {given!r}; it should be a whole number of at least 1."])
    return int(given)


def _spawned(folder: Path) -> int:
    """Start a supervisor that outlives us; its pid."""
    with open(folder / "supervisor.log", "ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "engine.runs.supervisor", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=CHECKOUT,
            start_new_session=True,
        )
    _children.append(child)
    _children[:] = [known for known in _children if known.poll() is None]
    return child.pid


_children: list[subprocess.Popen[bytes]] = []
"""Supervisors that this process started, so that they are collected when they end."""
