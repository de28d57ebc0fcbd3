"""Which run goes next. There is no daemon: whoever starts or ends a run takes the next one, under the index's lock.

The same hands let the runs of a chain in, each when those before it have finished (`engine.runs.links`).
"""

from __future__ import annotations

import errno
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine import home
from engine.bases import access
from engine.errors import MachineError, RunError
from engine.events import Event, Failed, Notice, Writer
from engine.files import read_json, write_json
from engine.runs import checkpoints, links, messages, process, room
from engine.runs.index import index, verdict
from engine.runs.store import ACTIVE, Run, state_of, tidy
from engine.teachers import keys

MOST_DEATHS = 3
"""Times that a run is taken up again without having got to a newer checkpoint."""
_AT_WORK = "SELECT id FROM runs WHERE state IN ('running', 'stopping')"
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""What the system refuses to whoever asks just then, whichever run it is."""


def start(run: Run) -> None:
    """Put a run in the queue; it starts at once where there is room.

    One that was stopped or broke goes on from its newest whole checkpoint, or from the start where it has none.
    """
    with index() as rows, _written(run):
        state = state_of(rows, run.id)
        if state in ACTIVE:
            raise RunError(f"Run {run.id} is {state} already.", "Wait for it, or stop it.")
        if state == "finished":
            raise RunError(f"Run {run.id} has finished.", "Start a new run to train on.")
        waits = links.held(rows, run.id)
        if waits is not None:
            raise RunError(
                f"This is {waits[0].lower()} of a chain, and {waits[1].lower()} has not finished.",
                "It starts by itself when that has; if that was stopped or broke, resume it.",
            )
        if (run.folder / "events.jsonl").exists():
            # A failure that stands last would be taken for this attempt's, should it die before its first word.
            _tell(run.folder, Notice("Resumed."))
        _let_in(rows, run.id, run.folder)
    advance()


resume = start


def stop(run: Run, force: bool = False) -> None:
    """Stop a run at its next step, with a whole checkpoint. `force` ends it at once, with what was last saved."""
    with index() as rows, _written(run):
        state = state_of(rows, run.id)
        if state not in ACTIVE:
            raise RunError(f"Run {run.id} is {state}, not running.", "Only queued and running runs can be stopped.")
        (run.folder / "stop").touch()
        if state == "queued":
            (run.folder / "queued").unlink(missing_ok=True)
        _set(rows, run.id, "stopped" if state == "queued" else "stopping")
    if state == "queued":
        return messages.send_apart(run.folder)
    if force:
        process.end(read_json(run.folder / "worker.json"), force=True)
    reconcile()


def advance(apart: bool = False) -> None:
    """Start queued runs, oldest first, while there is room; runs of chains join the queue when their turn has come.

    apart: by a process that nobody types a key into. A run that needs one waits for the page or the next command.
    """
    with index() as rows:
        for run_id in links.due(rows):
            folder = home.runs() / run_id
            try:
                _let_in(rows, run_id, folder)
            except OSError:
                continue  # no room on the disk, or removed by hand; whoever looks next tries again
        for run_id, folder in _with_folder(rows, "SELECT id FROM runs WHERE state = 'queued' ORDER BY queued, id"):
            if access.is_visitors_process() and _owner(folder) == access.LOCAL:
                return  # we were not given what this run may need; the page or the next command starts it
            if apart and keys.lacking(folder):
                return
            device = room.device_for(folder, _at_work(rows))
            if device is None:
                return
            try:
                _launch(folder, device)
                state = "running"
            except OSError as error:
                failure = Failed(f"The run can't be started: {error.strerror}.", "Mend this, then resume.")
                if error.errno in _PASSING:
                    raise MachineError(failure.problem, "It is tried again; make room.") from None
                _try_to_tell(folder, failure)  # its own trouble, which must not hold up the others
                state = "failed"
            rows.execute("UPDATE runs SET state = ?, device = ? WHERE id = ?", (state, device, run_id))


def ended(run_id: str, state: str) -> None:
    """A supervisor's last word: its run is finished, stopped or failed. To be said while it holds its lock."""
    with index() as rows:
        _set(rows, run_id, state)


def is_wanted(run_id: str) -> bool:
    """Whether a run that a supervisor was started for is still to be done."""
    with index() as rows:
        found = rows.execute("SELECT state FROM runs WHERE id = ?", (run_id,)).fetchone()
        return found is not None and found[0] in ("running", "stopping")


def reconcile() -> None:
    """Bring the index to what is so: runs whose processes died are taken up again, unless the person stopped them."""
    with index() as rows:
        tidy(rows)
        links.tidy(rows)
        for run_id in keys.held():
            if rows.execute("SELECT 1 FROM runs WHERE id = ? AND state = 'finished'", (run_id,)).fetchone():
                keys.forget(run_id)
        for run_id, folder in _with_folder(rows, _AT_WORK):
            if process.supervised(folder):
                continue
            if process.worked_on(folder):
                _adopt(rows, run_id, folder)
            else:
                _settle(rows, run_id, folder)
    advance()


def _let_in(rows: sqlite3.Connection, run_id: str, folder: Path) -> None:
    """Put a run in the queue. Raises OSError."""
    (folder / "stop").unlink(missing_ok=True)
    (folder / "queued").touch()  # says so should the index be lost
    rows.execute("UPDATE runs SET state = 'queued', queued = ?, deaths = 0 WHERE id = ?", (time.time(), run_id))


def _adopt(rows: sqlite3.Connection, run_id: str, folder: Path) -> None:
    """Give a worker whose supervisor was killed a new one, which waits for its end."""
    device = rows.execute("SELECT device FROM runs WHERE id = ?", (run_id,)).fetchone()[0]
    try:
        _launch(folder, device)
    except OSError:
        pass  # the worker needs none until it ends, and whoever looks next tries again


def _settle(rows: sqlite3.Connection, run_id: str, folder: Path) -> None:
    """Decide on a run that is listed as running while none of its processes lives."""
    found = verdict(folder)
    if found is not None:
        return _set(rows, run_id, found)
    step = checkpoints.newest_step(folder / "checkpoints")
    deaths, death_step = rows.execute("SELECT deaths, death_step FROM runs WHERE id = ?", (run_id,)).fetchone()
    deaths = 1 if step > death_step else deaths + 1
    failed = deaths > MOST_DEATHS
    rows.execute(
        "UPDATE runs SET state = ?, deaths = ?, death_step = ? WHERE id = ?",
        ("failed" if failed else "queued", deaths, step, run_id),
    )
    _try_to_tell(folder, _given_up(deaths) if failed else _taken_up(folder, step))
    return messages.send_apart(folder) if failed else None


def _taken_up(folder: Path, step: int) -> Notice:
    boot = (read_json(folder / "supervisor.json") or {}).get("boot", process.boot())
    cause = "The run's processes had ended unexpectedly" if boot == process.boot() else "The machine was restarted"
    place = f"from its checkpoint of step {step}" if step else "from the start"
    return Notice(f"{cause}; the run is taken up again, {place}.", "warning")


def _given_up(deaths: int) -> Failed:
    return Failed(
        f"The run's processes ended {deaths} times without reaching a new checkpoint.",
        "Look into worker.log and supervisor.log, then resume.",
    )


def _with_folder(rows: sqlite3.Connection, query: str) -> Iterator[tuple[str, Path]]:
    """Ids and folders that a query finds. Runs without one were removed by hand; they are forgotten."""
    for (run_id,) in rows.execute(query).fetchall():
        folder = home.runs() / run_id
        if folder.is_dir():
            yield run_id, folder
        else:
            rows.execute("DELETE FROM runs WHERE id = ?", (run_id,))


def _at_work(rows: sqlite3.Connection) -> list[tuple[str, Path]]:
    devices = dict(rows.execute("SELECT id, device FROM runs WHERE state IN ('running', 'stopping')").fetchall())
    return [(devices[run_id], folder) for run_id, folder in _with_folder(rows, _AT_WORK)]


def _set(rows: sqlite3.Connection, run_id: str, state: str) -> None:
    rows.execute("UPDATE runs SET state = ? WHERE id = ?", (state, run_id))


@contextmanager
def _written(run: Run) -> Iterator[None]:
    """Files of a run are written inside; what the system refuses is told as a person can mend it."""
    try:
        yield
    except FileNotFoundError:
        raise RunError(f"The folder of run {run.id} is gone.", "Start a new run.") from None
    except OSError as error:
        raise MachineError(
            f"The folder of run {run.id} can't be written: {error.strerror}.", "Make room on the disk, then try again."
        ) from None


def _launch(folder: Path, device: str) -> None:
    """Start a supervisor that outlives us. Raises OSError where the system doesn't let us."""
    (folder / "exit.json").unlink(missing_ok=True)
    with open(folder / "supervisor.log", "ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "engine.runs.supervisor", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home.CHECKOUT,
            env={**_environment(device, _owner(folder)), **keys.environment(folder)},
            start_new_session=True,
        )
    _children[:] = [known for known in _children if known.poll() is None]
    _children.append(child)
    try:
        (folder / "queued").unlink(missing_ok=True)
        write_json(folder / "supervisor.json", process.identity(child.pid))
    except ProcessLookupError:
        pass  # it has ended already
    except OSError:
        child.kill()  # nobody would know of it
        raise


def _environment(device: str, owner: str) -> dict[str, str]:
    # In full: the child's working directory is another one.
    places = {"TUNESMITH_HOME": str(home.home()), "TUNESMITH_CACHE": str(home.cache())}
    return {**access.for_owner(owner), **places, **room.environment(device)}


def _owner(folder: Path) -> str:
    """Where it isn't known, nobody's: such a run gets no secrets."""
    return str((read_json(folder / "run.json") or {}).get("owner", ""))


def _tell(folder: Path, event: Event) -> None:
    with Writer(folder / "events.jsonl") as writer:
        writer.write(event)


def _try_to_tell(folder: Path, event: Event) -> None:
    try:
        _tell(folder, event)
    except OSError:
        pass  # a full disk; the state is what counts


_children: list[subprocess.Popen[bytes]] = []
"""Supervisors that this process started, so that they are collected when they end."""
