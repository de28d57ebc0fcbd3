"""Which process is meant, across restarts: a pid alone may be somebody else's by now."""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path
from typing import Any

import psutil


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
    return bool(start == known.get("start")) and state != "Z"


def end(known: dict[str, Any] | None, force: bool = False) -> None:
    """Ask a process to end, or make it."""
    if known and alive(known):
        try:
            os.kill(int(known["pid"]), signal.SIGKILL if force and os.name == "posix" else signal.SIGTERM)
        except ProcessLookupError:
            pass


@functools.cache
def boot() -> str:
    """Names the time since the machine was last started."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(round(psutil.boot_time()))


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
