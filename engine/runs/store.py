"""Runs as folders, with an index in SQLite for states, owners and the queue.

The folder is the truth about what a run is and did; the index about what it is to do. An index that was lost
or is damaged is made again from the folders.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from engine import home
from engine.data import example as examples_file
from engine.data.prepare import Prepared
from engine.errors import MachineError, RunError
from engine.events import Event, Failed, Finished, read
from engine.files import read_json, write_json
from engine.spec import RunSpec

STATES = ("created", "queued", "running", "stopping", "stopped", "finished", "failed")
ACTIVE = ("queued", "running", "stopping")
ID = re.compile(r"\d{8}-\d{6}-[a-z2-9]{8}")
LEAST_FREE_BYTES = 200_000_000
TAIL_BYTES = 65_536
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, created REAL NOT NULL, state TEXT NOT NULL,
    queued REAL, deaths INTEGER NOT NULL DEFAULT 0, death_step INTEGER NOT NULL DEFAULT 0
)"""


@dataclass(frozen=True)
class Run:
    id: str
    folder: Path
    owner: str
    name: str
    created: float
    """Seconds since 1970."""
    state: str
    """One of STATES."""

    def spec(self) -> RunSpec:
        return RunSpec.load(self.folder / "spec.yaml")

    def events(self, offset: int = 0, limit_bytes: int | None = None) -> tuple[list[Event], int]:
        """Events from a byte offset on, and the offset to go on from."""
        return read(self.folder / "events.jsonl", offset, limit_bytes)

    def last_events(self) -> list[Event]:
        """The newest events, cheaply: those in the file's last part."""
        try:
            size = (self.folder / "events.jsonl").stat().st_size
        except OSError:
            return []
        return read(self.folder / "events.jsonl", max(0, size - TAIL_BYTES))[0]


def create(spec: RunSpec, prepared: Prepared, owner: str = "local") -> Run:
    """Write a run's folder and list it; nothing starts yet.

    Raises DataError for rows with problems that are to be refused, MachineError where the disk has no room.
    """
    prepared.require()
    parent = _runs_folder()
    needed = LEAST_FREE_BYTES + 4 * sum(len(str(example.as_dict())) for example in prepared.examples)
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise MachineError(
            f"The disk has {free / 1e6:,.0f} MB free; a run needs at least {needed / 1e6:,.0f} MB.",
            "Make room, or delete runs.",
        )
    now = time.time()
    run_id = time.strftime("%Y%m%d-%H%M%S-", time.gmtime(now)) + "".join(secrets.choice(_ALPHABET) for _ in range(8))
    name = spec.name or f"{spec.objective.name}, {spec.tuner.name}"
    partial = parent / f".{run_id}"
    try:
        partial.mkdir()
        spec.save(partial / "spec.yaml")
        examples_file.save(prepared.examples, partial / "examples.jsonl")
        found = {
            "notices": prepared.notices,
            "findings": [asdict(finding) for finding in prepared.findings],
            "problems": [asdict(problem) for problem in prepared.problems],
        }
        write_json(partial / "data.json", found)
        write_json(partial / "run.json", {"id": run_id, "owner": owner, "name": name, "created": now})
        partial.replace(parent / run_id)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise MachineError(
            f"The run can't be written: {error.strerror or error}.", "Make room, or choose another home."
        ) from None
    with index() as rows:
        rows.execute(
            "INSERT OR REPLACE INTO runs (id, owner, name, created, state) VALUES (?, ?, ?, ?, 'created')",
            (run_id, owner, name, now),
        )
    return Run(run_id, parent / run_id, owner, name, now, "created")


def get(run_id: str, owner: str | None = None) -> Run:
    """A run by its id. Raises RunError where there is none, or where it is somebody else's (which looks the same)."""
    if ID.fullmatch(run_id):
        with index() as rows:
            found = rows.execute("SELECT id, owner, name, created, state FROM runs WHERE id = ?", (run_id,)).fetchone()
        run = _run(found) if found else None
        if run and run.folder.is_dir() and owner in (None, run.owner):
            return run
    raise RunError(f"There is no run {run_id[:64]!r}.", "List them with: python -m engine runs")


def listed(owner: str | None = None, search: str = "") -> list[Run]:
    """Runs, newest first: of one owner or of all, with `search` in their name or id."""
    with index() as rows:
        found = rows.execute(
            "SELECT id, owner, name, created, state FROM runs ORDER BY created DESC, id DESC"
        ).fetchall()
    every = [_run(row) for row in found]
    wanted = search.casefold().strip()
    return [
        run
        for run in every
        if owner in (None, run.owner) and (wanted in run.name.casefold() or wanted in run.id) and run.folder.is_dir()
    ]


def rename(run: Run, name: str) -> None:
    record = read_json(run.folder / "run.json") or {"id": run.id, "owner": run.owner, "created": run.created}
    write_json(run.folder / "run.json", {**record, "name": name})
    with index() as rows:
        rows.execute("UPDATE runs SET name = ? WHERE id = ?", (name, run.id))


def delete(run: Run) -> None:
    """Remove a run and all its files. Raises RunError while it is queued or runs."""
    with index() as rows:
        state = state_of(rows, run.id)
        if state in ACTIVE:
            raise RunError(f"Run {run.id} is {state}.", "Stop it first, then delete it.")
        rows.execute("DELETE FROM runs WHERE id = ?", (run.id,))
    grave = run.folder.with_name(f".{run.id}.deleted")
    run.folder.replace(grave)  # gone at once for everybody, even where removing it takes time
    shutil.rmtree(grave, ignore_errors=True)


def state_of(rows: sqlite3.Connection, run_id: str) -> str | None:
    found = rows.execute("SELECT state FROM runs WHERE id = ?", (run_id,)).fetchone()
    return str(found[0]) if found else None


@contextmanager
def index() -> Iterator[sqlite3.Connection]:
    """The index in one transaction that no other writer can come between."""
    path = _runs_folder() / "index.sqlite"
    try:
        rows = _opened(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # locked, no room: not damaged
            raise MachineError(
                f"The list of runs can't be opened: {error}.", "Try again; look whether the disk is full."
            ) from None
        path.replace(path.with_suffix(f".damaged-{int(time.time())}"))
        for side in ("-wal", "-shm"):
            Path(f"{path}{side}").unlink(missing_ok=True)
        rows = _opened(path)
    try:
        rows.execute("BEGIN IMMEDIATE")
        yield rows
        rows.execute("COMMIT")
    except BaseException:
        if rows.in_transaction:
            rows.execute("ROLLBACK")
        raise
    finally:
        rows.close()


def _opened(path: Path) -> sqlite3.Connection:
    rows = sqlite3.connect(path, timeout=5, isolation_level=None)
    try:
        rows.execute("PRAGMA journal_mode=WAL")
        known = rows.execute("SELECT count(*) FROM sqlite_master WHERE name = 'runs'").fetchone()[0]
        if not known:
            rows.execute("BEGIN IMMEDIATE")
            rows.execute(_SCHEMA)
            for folder in sorted(path.parent.iterdir()):
                _relist(rows, folder)
            rows.execute("COMMIT")
    except BaseException:
        rows.close()
        raise
    return rows


def _relist(rows: sqlite3.Connection, folder: Path) -> None:
    """Take a folder into a new index. What it was about to do is not known, so it waits for the person."""
    record = read_json(folder / "run.json") if ID.fullmatch(folder.name) else None
    if record is None:
        return
    events, _ = read(folder / "events.jsonl")
    last = next((event for event in reversed(events) if isinstance(event, (Finished, Failed))), None)
    state = "finished" if isinstance(last, Finished) else "failed" if last else "running" if events else "created"
    rows.execute(
        "INSERT OR IGNORE INTO runs (id, owner, name, created, state) VALUES (?, ?, ?, ?, ?)",
        (folder.name, record["owner"], record["name"], record["created"], state),
    )


def _run(row: tuple[str, str, str, float, str]) -> Run:
    return Run(row[0], home.runs() / row[0], *row[1:])


def _runs_folder() -> Path:
    folder = home.runs()
    if os.name == "posix" and folder.stat().st_mode & 0o077:
        folder.chmod(0o700)  # rows and results are their owner's affair
    return folder
