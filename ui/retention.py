"""How long what visitors leave is kept, and how it is deleted."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from engine.errors import RunError, SettingError
from engine.runs import chains, links, queue, store
from engine.runs.index import reading
from engine.specs import presets
from ui import limits, owner
from ui.sharing import page

VARIABLE = "TUNESMITH_KEEP_DAYS"
DEFAULT_DAYS = 30.0
DAY_S = 86_400
SECONDS_FOR_RUNS_TO_STOP = 20.0


def days() -> float | None:
    """Days that finished runs and files of visitors are kept after their last change; None for ever."""
    if page().is_own:
        return None
    given = os.environ.get(VARIABLE, "").strip()
    try:
        number = float(given or DEFAULT_DAYS)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise SettingError([f"{VARIABLE} is {given!r}, not a number of days above 0."], f"Give {DEFAULT_DAYS:g}.")
    return number


def sweep(now: Callable[[], float] = time.time) -> None:
    """Delete visitors' runs that have ended, and files, that nothing has changed for longer than they are kept.

    Stages of a chain that is at work stay until it has ended.
    """
    kept_days = days()
    if kept_days is None:
        return
    oldest = now() - kept_days * DAY_S
    with reading() as rows:
        waiting = links.waiting(rows)
    for run in store.listed():
        is_at_rest = run.state not in store.ACTIVE and run.id not in waiting
        if run.owner != owner.LOCAL and is_at_rest and changed(run) < oldest:
            _delete(run)
    for name in limits.owners():
        if name != owner.LOCAL:
            _sweep_files(limits.folder_of(name), oldest)
    presets.sweep(owner.LOCAL, oldest)


def delete_all(name: str) -> int:
    """Delete an owner's runs and files; how many runs are still ending and stay until then."""
    for chain in chains.listed(name):  # else the next stage would begin when one is stopped
        try:
            chains.stop(chain)
        except RunError:
            continue  # nothing of it is on its way
    active = [run for run in store.listed(owner=name) if run.state in store.ACTIVE]
    for run in active:
        try:
            queue.stop(run, force=True)
        except RunError:
            continue  # it has just ended
    end = time.monotonic() + SECONDS_FOR_RUNS_TO_STOP
    while active and time.monotonic() < end:
        time.sleep(0.2)
        queue.reconcile()
        active = [run for run in store.listed(owner=name) if run.state in store.ACTIVE]
    for run in store.listed(owner=name):
        if run.state not in store.ACTIVE:
            _delete(run)
    shutil.rmtree(limits.folder_of(name), ignore_errors=True)
    presets.forget(name)
    limits.usage.forget(name)
    return len(active)


def _delete(run: store.Run) -> None:
    """But for a run that another one, which stays, went on from. Newer runs come first, so that both go at once."""
    try:
        store.delete(run)
    except RunError:
        return
    limits.usage.forget(run.owner)


def changed(run: store.Run) -> float:
    """When a run last changed, in seconds since 1970."""
    times = [run.created]
    for name in ("events.jsonl", "exit.json", "run.json"):
        try:
            times.append((run.folder / name).stat().st_mtime)
        except OSError:
            continue
    return max(times)


def _sweep_files(folder: Path, oldest: float) -> None:
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*"), reverse=True):
        try:
            if not path.is_dir() and path.lstat().st_mtime < oldest:
                path.unlink()
        except OSError:
            continue
    try:
        folder.rmdir()  # does nothing while something is in it
    except OSError:
        pass
