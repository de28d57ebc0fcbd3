"""Which process is meant, across restarts: a pid alone may be somebody else's by now."""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from engine.files import read_json

WORKER_LOCK = ".worker.lock"
SUPERVISOR_LOCK = ".supervisor.lock"


def identity(pid: int) -> dict[str, Any]:
    """pid, start (ticks since boot on Linux, else seconds since 1970) and boot id of a living process.

    Raises ProcessLookupError where there is none.
    """
    start, _ = _stat(pid)
    return {"pid": pid, "start": start, "boot": boot()}


def alive(known: dict[str, Any] | None) -> bool:
    """Whether just this process still runs. One that has ended and waits to be collected does not."""
    if not known or known.get("boot") != boot():
        return False
    try:
        start, state = _stat(int(known["pid"]))
    except (ProcessLookupError, KeyError, ValueError, TypeError):
        return False
    return bool(start == known.get("start")) and state not in "ZX"


def supervised(folder: Path) -> bool:
    """Whether a supervisor of this run lives."""
    return alive(read_json(folder / "supervisor.json")) or _held(folder / SUPERVISOR_LOCK)


def worked_on(folder: Path) -> bool:
    """Whether a worker of this run lives."""
    return alive(read_json(folder / "worker.json")) or _held(folder / WORKER_LOCK)


def end(known: dict[str, Any] | None, force: bool = False) -> None:
    """Ask a process to end, or make it, with the processes that it started."""
    if not known or not alive(known):
        return
    pid = int(known["pid"])
    try:
        if not force or os.name != "posix":
            os.kill(pid, signal.SIGTERM)
        elif os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


@functools.cache
def boot() -> str:
    """Names the time since the machine was last started, where start times count from there; else "".

    Not the time of the start itself: a clock that is put right would change it.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def memory_kills() -> int:
    """Processes that the system has ended so far for want of memory; 0 where it doesn't tell (Linux does)."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _held(lock: Path) -> bool:
    """Whether a process holds this lock. It sees processes of another container, too, whose pids mean nothing here."""
    if not lock.exists():
        return False
    probe = FileLock(lock)
    try:
        probe.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False
    probe.release()
    return False


def _stat(pid: int) -> tuple[float, str]:
    if Path("/proc/self/stat").exists():
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            raise ProcessLookupError(pid) from None
        # The program's name, in parentheses, may itself hold spaces and parentheses.
        words = text.rpartition(")")[2].split()
        return float(words[19]), words[0]
    try:
        process = psutil.Process(pid)
        return process.create_time(), "Z" if process.status() == psutil.STATUS_ZOMBIE else "R"
    except psutil.Error:
        raise ProcessLookupError(pid) from None
