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

from engine.errors import UserError
from engine.events import Event, Failed, Notice, Writer, read
from engine.files import read_json, write_json
from engine.home import CHECKOUT
from engine.runs import checkpoints, messages, process, queue, worker
from engine.runs.index import verdict
from engine.teachers import keys

MOST_KILLS = 3
"""Times that a worker is started again after it was killed without having got to a newer checkpoint."""
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_FOR_ANOTHER_TO_LEAVE = 10.0
KILL, TERMINATE = 9, 15


def main(folder: Path) -> int:
    os.umask(0o077)
    keys.take(os.environ)  # it is this run's, and no other's that is started from here
    try:
        with FileLock(folder / process.SUPERVISOR_LOCK, timeout=SECONDS_FOR_ANOTHER_TO_LEAVE):
            if not queue.is_wanted(folder.name):
                return 0  # another one has done it
            write_json(folder / "supervisor.json", process.identity(os.getpid()))
            code, state = _supervised(folder)
            _write(
                folder / "exit.json",
                {"code": code, "signal": -code if code and code < 0 else None, "outcome": state, "time": time.time()},
            )
            queue.ended(folder.name, state)
    except Timeout:
        return 0  # another one is at work
    try:
        queue.advance(apart=True)
    finally:  # last: whoever is told may take their time, and no run waits for them
        _send(folder)
    return 0


def _send(folder: Path) -> None:
    try:
        messages.send(folder)
    except (UserError, OSError) as error:
        print(f"The message about the run's end was not sent: {error}", flush=True)


def _supervised(folder: Path) -> tuple[int | None, str]:
    """Run workers until the run has an end; the last one's exit code, where it is known, and the run's state."""
    while process.worked_on(folder):  # its supervisor was killed; let it end before there is another
        time.sleep(SECONDS_BETWEEN_LOOKS)
    end = verdict(folder)
    if end is not None:
        return None, end
    checkpoints.sweep(folder / "checkpoints")
    kills, killed_at = 0, checkpoints.newest_step(folder / "checkpoints")
    while True:
        told = _size(folder / "events.jsonl")
        code = _worked(folder)
        if code == worker.FINISHED:
            return code, "finished"
        if code == worker.STOPPED or (_tries_again(code) and (folder / "stop").exists()):
            return code, "stopped"
        if code == worker.BUSY:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            continue
        checkpoints.sweep(folder / "checkpoints")  # half of one may be what filled the disk
        if code == worker.OUT_OF_MEMORY:
            if not _halved(folder):
                return code, "failed"
        elif _was_killed(code):
            step = checkpoints.newest_step(folder / "checkpoints")
            kills, killed_at = (1 if step > killed_at else kills + 1), step
            if kills > MOST_KILLS:
                _tell(folder, _killed_too_often(code, kills))
                return code, "failed"
            place = f"from step {step}" if step else "from the start"
            _tell(folder, Notice(f"The worker was ended by {_named(code)}; it goes on {place}.", "warning"))
        else:
            _explain_failure(folder, code, told)
            return code, "failed"


def _worked(folder: Path) -> int:
    """Start a worker, wait for its end; its exit code, negative for a signal."""
    command = json.loads(os.environ.get("TUNESMITH_WORKER", "null")) or [sys.executable, "-m", "engine.runs.worker"]
    memory_kills = process.memory_kills()
    with open(folder / "worker.log", "ab") as log:
        child = subprocess.Popen(
            [*command, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=CHECKOUT,
            env={**os.environ, **keys.given()},
            start_new_session=True,
        )
    try:
        known = process.identity(child.pid)
    except ProcessLookupError:
        known = {}  # it has ended already
    _write(folder / "worker.json", known)
    code = child.wait()
    if code in (-KILL, 128 + KILL) and process.memory_kills() > memory_kills:
        return worker.OUT_OF_MEMORY
    return code


def _halved(folder: Path) -> bool:
    """Set the next attempt to half the rows at a time; False where it can't be less."""
    # The plan may be an earlier attempt's, where this one did not get as far as planning.
    micro = min(
        int((read_json(folder / name) or {}).get("micro_batch", default))
        for name, default in (("plan.json", 1), ("attempt.json", sys.maxsize))
    )
    if micro <= 1:
        _tell(
            folder,
            Failed(
                "Memory ran out with a single row at a time.",
                "Lower 'Longest row', load the base weights in fewer bits, or choose a smaller model.",
            ),
        )
        return False
    _write(folder / "attempt.json", {"micro_batch": micro // 2})
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


def _explain_failure(folder: Path, code: int, told: int) -> None:
    """A failed run says why: the worker did, in events after byte `told`, or we do."""
    events, _ = read(folder / "events.jsonl", told)
    if any(isinstance(event, Failed) for event in events):
        return
    if code == worker.DISK_FULL:
        _tell(folder, Failed("The disk is full.", "Make room, then resume: the last whole checkpoint is kept."))
        return
    last = _last_line(folder / "worker.log")
    _tell(
        folder,
        Failed(f"The run broke (exit code {code}): {last}", "The whole story is in worker.log. Resume tries again."),
    )


def _tries_again(code: int) -> bool:
    return code in (worker.BUSY, worker.OUT_OF_MEMORY) or _was_killed(code)


def _was_killed(code: int) -> bool:
    return code < 0 or code in (128 + KILL, 128 + TERMINATE)


def _named(code: int) -> str:
    try:
        return signal.Signals(-code if code < 0 else code - 128).name
    except ValueError:
        return f"signal {abs(code)}"


def _last_line(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 4000))
            lines = file.read().decode("utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1][:300] if lines else "it left no message"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _tell(folder: Path, event: Event) -> None:
    try:
        with Writer(folder / "events.jsonl") as writer:
            writer.write(event)
    except OSError as error:
        print(f"events.jsonl can't be written ({error}): {event}", flush=True)


def _write(path: Path, record: dict[str, object]) -> None:
    """On a full disk the run's course matters more than its notes."""
    try:
        write_json(path, record)
    except OSError as error:
        print(f"{path.name} can't be written ({error}): {record}", flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
