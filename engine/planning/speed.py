"""How fast this machine computes, measured once for a number format and kept in the cache. Needs no torch.

The measuring is done by `engine.compute.speed`, in a process of its own or in that of a run.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine import children, home
from engine.files import read_json, write_json
from engine.machine import Machine

VERSION = 2
"""Of what is measured; another one makes kept measurements worthless."""
MEASURE_S = 180.0
BUSY_PERCENT = 40.0
BUSY_LASTS_S = 600.0
"""A measurement that was made while other programs were at work is made again after this."""


@dataclass(frozen=True)
class Course:
    """Passing through a model once: for each layer, for each number that a layer's linear modules take in or give out,
    and once. The matrix products themselves are counted apart."""

    layer_s: float
    number_s: float
    once_s: float


@dataclass(frozen=True)
class Speed:
    """What a machine does, in one number format."""

    products: float
    """Operations a second in matrix products of many rows."""
    few_rows: float
    """The same for the few rows that answer at once."""
    memory: float
    """Bytes a second, read or written."""
    additions: Course
    """Forward and backward where only additions learn."""
    fast: Course
    """The same on the fast path."""
    base: Course
    """Forward and backward where the whole base learns."""
    read: Course
    """Forward alone."""
    word_s: float
    """For each further word of an answer, besides the layers."""
    word_layer_s: float
    start_s: float
    """Until a worker's libraries are loaded."""


def of(machine: Machine, compute: str, threads: int, measure: bool = True) -> Speed | None:
    """This machine's speed in a number format: kept from before, else measured in a child process, which takes some ten
    seconds. None where it can't be measured, or isn't to be."""
    path = _file(machine, compute, threads)
    kept = _kept(path)
    if kept is not None or not measure:
        return kept
    from filelock import FileLock

    with FileLock(f"{path}.lock"):
        kept = _kept(path)
        if kept is None:
            kept = _measured(machine.device, compute, threads)
            if kept is not None:
                keep(machine, compute, threads, kept)
    return kept


def keep(machine: Machine, compute: str, threads: int, found: Speed) -> None:
    """Keep a measurement that was just made."""
    import psutil

    busy = psutil.cpu_percent(interval=0.3) > BUSY_PERCENT
    write_json(_file(machine, compute, threads), {"speed": asdict(found), "busy": busy, "time": time.time()})


def _kept(path: Path) -> Speed | None:
    record = read_json(path)
    try:
        if record is None or (record["busy"] and time.time() - record["time"] > BUSY_LASTS_S):
            return None
        return _parsed(record["speed"])
    except (LookupError, TypeError):
        return None


def _parsed(record: Mapping[str, Any]) -> Speed:
    """Raises LookupError or TypeError for a record of something else."""
    courses: dict[str, Any] = {name: Course(**record[name]) for name in ("additions", "fast", "base", "read")}
    return Speed(**{**record, **courses})


def _file(machine: Machine, compute: str, threads: int) -> Path:
    folder = home.cache() / "speed"
    folder.mkdir(parents=True, exist_ok=True)
    key = [VERSION, machine_key(machine), compute, threads]
    return folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]}.json"


def machine_key(machine: Machine) -> str:
    """What makes a machine as fast as it is."""
    gpus = [gpu.name for gpu in machine.gpus] if machine.device == "cuda" else []
    return " | ".join([machine.device, _processor(), str(machine.cores), *gpus])


@lru_cache(maxsize=1)
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{platform.machine()} {name or platform.processor()}"


def _measured(device: str, compute: str, threads: int) -> Speed | None:
    folder = home.cache() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "engine.compute.speed", device, compute, str(threads)]
    with open(folder / "engine.compute.speed.log", "wb") as log:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                timeout=MEASURE_S,
                cwd=home.CHECKOUT,
                env=children.environment(threads),
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
    try:
        return _parsed(json.loads(done.stdout))
    except (ValueError, TypeError, LookupError):
        return None
