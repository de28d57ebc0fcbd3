"""Watches over one run: `python -m engine.runs.supervisor FOLDER`. Starts its worker, and again where that helps.

It is small on purpose: it loads no torch, so the system has no reason to end it when memory runs out.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from engine.events import Event, Failed, Notice, Writer, read
from engine.files import read_json, write_json
from engine.home import CHECKOUT
from engine.runs import checkpoints, process, queue, worker

MOST_KILLS = 3
SECONDS_BETWEEN_LOOKS = 0.5


def main(folder: Path) -> int:
    os.umask(0o077)
    lock = FileLock(folder / process.SUPERVISOR_LOCK)
    try:
        lock.acquire(timeout=SECONDS_FOR_ANOTHER_TO_LEAVE)
    except Timeout:
        return 0  # another one is at work
    with lock:
        if not queue.is_wanted(folder.name):
            return 0  # another one has done it
        write_json(folder / "supervisor.json", process.identity(os.getpid()))
        code, state = _supervised(folder)
        end = {"code": code, "signal": -code if code < 0 else None, "outcome": state, "time": time.time()}
        try:
            write_json(folder / "exit.json", end)
        except OSError as error:
            print(f"exit.json can't be written: {error}", flush=True)
        queue.ended(folder.name, state)
    lock.release(force=True)
    queue.advance()
    return 0


def _supervised(folder: Path) -> tuple[int, str]:
    """Run workers until the run has an end; the last one's exit code and the run's state."""
    kills, killed_at = 0, checkpoints.newest_step(folder / "checkpoints")
    if _outlasted_worker(folder):
        end = verdict(folder)
        if end is not None:
            return 0 if end == "finished" else 1, end
    while True:
        told, memory_kills = _size(folder / "events.jsonl"), process.memory_kills()
        code = _worked(folder)
        if code == -signal.SIGKILL and process.memory_kills() > memory_kills:
            code = worker.OUT_OF_MEMORY
        if code not in (worker.FINISHED, worker.BUSY):
            checkpoints.sweep(folder / "checkpoints")  # half of one may be what filled the disk
        if code == worker.FINISHED:
            return code, "finished"
        if code == worker.STOPPED or ((folder / "stop").exists() and _goes_on(code)):
            return code, "stopped"
        if code == worker.BUSY:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        elif code == worker.OUT_OF_MEMORY:
            if not _halved(folder):
                return code, "failed"
        elif _was_killed(code):
            step = checkpoints.newest_step(folder / "checkpoints")
            kills, killed_at = (1 if step > killed_at else kills + 1), step
            if kills > MOST_KILLS:
                _tell(folder, _killed_too_often(code, kills))
                return code, "failed"
            place = f"from the checkpoint of step {step}" if step else "from the start"
            _tell(folder, Notice(f"The worker was ended by {_named(code)}; it goes on {place}.", "warning"))
        else:
            _explain_failure(folder, code, told)
            return code, "failed"


def _worked(folder: Path) -> int:
    """Start a worker, wait for its end; its exit code, negative for a signal."""
    command = json.loads(os.environ.get("TUNESMITH_WORKER", "null")) or [sys.executable, "-m", "engine.runs.worker"]
    with open(folder / "worker.log", "ab") as log:
        child = subprocess.Popen(
            [*command, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=CHECKOUT,
            start_new_session=True,
        )
    try:
        write_json(folder / "worker.json", process.identity(child.pid))
    except ProcessLookupError:
        pass  # it has ended already
    return child.wait()


def _outlast_worker(folder: Path) -> None:
    """A worker whose supervisor was killed works on: let it end before there is another."""
    while process.alive(read_json(folder / "worker.json")):
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _halved(folder: Path) -> bool:
    """Set the next attempt to half the rows at a time; False where it can't be less."""
    micro = int((read_json(folder / "plan.json") or {}).get("micro_batch", 1))
    if micro <= 1:
        _tell(
            folder,
            Failed(
                "Memory ran out with a single row at a time.",
                "Lower 'Longest row', load the base weights in fewer bits, or choose a smaller model.",
            ),
        )
        return False
    write_json(folder / "attempt.json", {"micro_batch": micro // 2})
    _tell(
        folder,
        Notice(
            f"Memory ran out with {micro} rows at a time. The run goes on in a new process with {micro // 2}, from the "
            "last checkpoint. The batch size stays; the curve is not bit-equal to one without this.",
            "warning",
        ),
    )
    return True


def _killed_too_often(code: int, kills: int) -> Failed:
    cause = "most likely because the machine ran out of memory" if _named(code) == "SIGKILL" else "see worker.log"
    return Failed(
        f"The worker was ended by {_named(code)} {kills} times without getting to a new checkpoint, {cause}.",
        "Lower 'Rows at a time' or 'Longest row', or free some memory, then resume.",
    )


def _explain_failure(folder: Path, code: int) -> None:
    """A failed run says why: the worker did, or we do."""
    events, _ = read(folder / "events.jsonl")
    if not events or not isinstance(events[-1], Failed):
        last = _last_line(folder / "worker.log")
        _tell(
            folder,
            Failed(
                f"The run broke (exit code {code}): {last}", "The whole story is in worker.log. Resume tries again."
            ),
        )


def _was_killed(code: int) -> bool:
    return code < 0 or code in (128 + signal.SIGKILL, 128 + signal.SIGTERM)


def _named(code: int) -> str:
    try:
        return signal.Signals(-code if code < 0 else code - 128).name
    except ValueError:
        return f"signal {abs(code)}"


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace")[-4000:].strip().splitlines()
    except OSError:
        lines = []
    return lines[-1][:300] if lines else "it left no message"


def _tell(folder: Path, event: Event) -> None:
    writer = Writer(folder / "events.jsonl")
    writer.write(event)
    writer.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
