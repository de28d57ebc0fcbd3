"""The index of all runs in SQLite: owners, states, the queue. It can be lost: it is made again from the folders."""

from __future__ import annotations

import calendar
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from engine import home
from engine.errors import MachineError
from engine.events import Failed, Finished, tail
from engine.files import read_json
from engine.runs import process

ID = re.compile(r"\d{8}-\d{6}-[a-z2-9]{8}")
ENDS = ("stopped", "finished", "failed")
_SCHEMA = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, created REAL NOT NULL, state TEXT NOT NULL,
    queued REAL, deaths INTEGER NOT NULL DEFAULT 0, death_step INTEGER NOT NULL DEFAULT 0,
    device TEXT NOT NULL DEFAULT '', note TEXT NOT NULL DEFAULT '', tags TEXT NOT NULL DEFAULT '[]',
    about TEXT NOT NULL DEFAULT ''
)"""
_ADDED = {"note": "TEXT NOT NULL DEFAULT ''", "tags": "TEXT NOT NULL DEFAULT '[]'", "about": "TEXT NOT NULL DEFAULT ''"}
"""Columns that the layout before this one lacks: what a person says of a run, and what it is about (JSON)."""


@contextmanager
def index() -> Iterator[sqlite3.Connection]:
    """The index in one transaction that no other writer can come between. Raises MachineError where it can't be."""
    try:
        rows = _opened(folder() / "index.sqlite")
    except (sqlite3.OperationalError, OSError) as error:
        raise _unusable(error) from None
    try:
        rows.execute("BEGIN IMMEDIATE")
        yield rows
        rows.execute("COMMIT")
    except BaseException as error:
        if rows.in_transaction:
            rows.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError):
            raise _unusable(error) from None
        raise
    finally:
        rows.close()


@contextmanager
def reading() -> Iterator[sqlite3.Connection]:
    """The index to look things up in, beside any writer.

    Where it can't be opened (SQLite wants room on the disk even to read), one that is made from the folders.
    """
    try:
        rows = _opened(folder() / "index.sqlite")
    except (sqlite3.OperationalError, OSError):
        rows = sqlite3.connect(":memory:", isolation_level=None)
        _fill(rows, folder())
    try:
        yield rows
    finally:
        rows.close()


def folder() -> Path:
    """Where all runs lie; for their owner's eyes alone."""
    try:
        found = home.runs()
    except OSError as error:
        raise MachineError(f"The folder for runs can't be made: {error}.", "Choose another home.") from None
    if os.name == "posix" and found.stat().st_mode & 0o077:
        try:
            found.chmod(0o700)
        except PermissionError:
            pass  # a mount without modes of its own, or somebody else's folder
    return found


def verdict(run: Path) -> str | None:
    """How a run ended (one of ENDS), from what its processes left; None for one that is yet to end, or died."""
    outcome = _outcome(run)
    if outcome is not None:
        return outcome
    events = tail(run / "events.jsonl")
    if any(isinstance(event, Finished) for event in events):
        return "finished"
    if events and isinstance(events[-1], Failed):
        return "failed"
    return "stopped" if (run / "stop").exists() else None


def relist(rows: sqlite3.Connection, run: Path, died: str) -> None:
    """Take a run's folder into the index, in the state that its files tell; `died` is the state of one that died."""
    if not (run / "spec.yaml").is_file():
        return
    record = read_json(run / "run.json") or {}
    queued = _queued(run)
    if queued is not None:
        state = "queued"
    elif _outcome(run) is None and (process.supervised(run) or process.worked_on(run)):
        state = "stopping" if (run / "stop").exists() else "running"
    else:
        state = verdict(run) or (died if (run / "events.jsonl").exists() else "created")
    owner, name = str(record.get("owner", "local")), str(record.get("name", run.name))
    created = record.get("created")
    rows.execute(
        "INSERT OR IGNORE INTO runs (id, owner, name, created, state, queued, note, tags, about) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(run.name, owner, name, created if isinstance(created, float) else _created(run.name), state, queued),
            *_said(record),
        ),
    )


def _opened(path: Path) -> sqlite3.Connection:
    """A connection to a whole index; one that is lost or damaged is made again, one of an older layout widened."""
    if path.exists():
        rows = sqlite3.connect(path, timeout=5, isolation_level=None)
        try:
            if _whole(rows):
                return rows
        except BaseException:
            rows.close()
            raise
        rows.close()
    with FileLock(path.with_name(".index.lock")):  # of two that find it damaged, one mends it
        return _mended(path)


def _mended(path: Path) -> sqlite3.Connection:
    for _ in range(2):
        rows = sqlite3.connect(path, timeout=5, isolation_level=None)
        try:
            if _whole(rows):
                return rows
            if _empty(rows):
                rows.execute("PRAGMA journal_mode=WAL")
                _fill(rows, path.parent)
                return rows
            if _widened(rows, path.parent):
                return rows
        except BaseException:
            rows.close()
            raise
        rows.close()
        path.replace(path.with_name(f"index.set-aside-{time.time():.0f}.sqlite"))
        for side in ("-wal", "-shm"):
            Path(f"{path}{side}").unlink(missing_ok=True)
    raise sqlite3.OperationalError("it is damaged, and a new one can't be made")


def _whole(rows: sqlite3.Connection) -> bool:
    columns = _columns(rows)
    return "device" in columns and columns >= _ADDED.keys()


def _columns(rows: sqlite3.Connection) -> set[str]:
    """Names of the table's columns; none where the index is damaged."""
    try:
        sound = rows.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
        columns = {str(row[1]) for row in rows.execute("PRAGMA table_info(runs)")}
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise  # locked, no room: not damaged
        return set()
    return columns if sound else set()


def _widened(rows: sqlite3.Connection, parent: Path) -> bool:
    """Give an index of the layout before this one its new columns. What only an index knows (devices, deaths) stays."""
    columns = _columns(rows)
    if "device" not in columns:
        return False
    rows.execute("BEGIN IMMEDIATE")
    for name, kind in _ADDED.items():
        if name not in columns:
            rows.execute(f"ALTER TABLE runs ADD COLUMN {name} {kind}")
    for (run_id,) in rows.execute("SELECT id FROM runs").fetchall():
        said = _said(read_json(parent / run_id / "run.json") or {})
        rows.execute("UPDATE runs SET note = ?, tags = ?, about = ? WHERE id = ?", (*said, run_id))
    rows.execute("COMMIT")
    return True


def _said(record: dict[str, Any]) -> tuple[str, str, str]:
    """Note, tags and what it is about, from a run's own record, as the index holds them."""
    tags, about = record.get("tags"), record.get("about")
    return (
        str(record.get("note") or ""),
        json.dumps([str(tag) for tag in tags] if isinstance(tags, list) else [], ensure_ascii=False),
        json.dumps(about, ensure_ascii=False) if isinstance(about, dict) else "",
    )


def _empty(rows: sqlite3.Connection) -> bool:
    try:
        return not rows.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        return False


def _fill(rows: sqlite3.Connection, parent: Path) -> None:
    rows.execute("BEGIN IMMEDIATE")
    rows.execute(_SCHEMA)
    for run in sorted(parent.iterdir()):
        if ID.fullmatch(run.name):
            relist(rows, run, died="running")
    rows.execute("COMMIT")


def _outcome(run: Path) -> str | None:
    """What a supervisor wrote as its last word."""
    outcome = (read_json(run / "exit.json") or {}).get("outcome")
    return str(outcome) if outcome in ENDS else None


def _queued(run: Path) -> float | None:
    try:
        return (run / "queued").stat().st_mtime
    except OSError:
        return None


def _created(run_id: str) -> float:
    """When a run was made, from its id (UTC); the day it is found where the id's date is none."""
    try:
        return float(calendar.timegm(time.strptime(run_id[:15], "%Y%m%d-%H%M%S")))
    except ValueError:
        return time.time()


def _unusable(error: Exception) -> MachineError:
    return MachineError(f"The list of runs can't be written: {error}.", "Try again; look whether the disk is full.")
