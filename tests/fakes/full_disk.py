"""Fills the disk under a run, then makes room: `python -m tests.fakes.full_disk RUN DISK` copies the run there first.

The last line of its output is JSON: exit codes of the worker on the full disk and after it, what the first said, the
step that was kept and the one from which the second went on.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from engine.events import Event, Failed, Notice, read
from engine.home import CHECKOUT
from engine.runs import checkpoints

SECONDS_AT_MOST = 120


def main(given: Path, disk: Path) -> dict[str, Any]:
    run = disk / "run"
    shutil.copytree(given, run)
    first = _started(run)
    deadline = time.monotonic() + SECONDS_AT_MOST
    while not checkpoints.count(run / "checkpoints") and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.01)
    filler = disk / "filler"
    _fill(filler, first)
    code = first.wait(SECONDS_AT_MOST)
    kept, _ = checkpoints.newest_whole(run / "checkpoints")
    failures = [event.problem for event in _events(run) if isinstance(event, Failed)]
    filler.unlink()
    checkpoints.sweep(run / "checkpoints")
    second = _started(run).wait(SECONDS_AT_MOST)
    resumed = [
        re.search(r"checkpoint of step (\d+)", event.text) for event in _events(run) if isinstance(event, Notice)
    ]
    return {
        "first": code,
        "problem": failures[0] if failures else None,
        "kept_step": int(kept.name.removeprefix("step-")) if kept else 0,
        "second": second,
        "resumed_from": next((int(found[1]) for found in resumed if found), None),
    }


def _fill(filler: Path, beside: subprocess.Popen[bytes]) -> None:
    """Write until the disk is full, and again whenever there is room, while the worker lives."""
    with open(filler, "ab", buffering=0) as file:
        while beside.poll() is None:
            try:
                file.write(bytes(1 << 16))
            except OSError:
                time.sleep(0.001)


def _started(run: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "engine.runs.worker", str(run)],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=sys.stderr,
        cwd=CHECKOUT,
    )


def _events(run: Path) -> list[Event]:
    return read(run / "events.jsonl")[0]


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
