"""A worker that obeys the protocol without training: `python -m tests.fakes.worker FOLDER`.

Its orders stand in `orders.json` of the run folder: a list of what each attempt does, the last one for all
further ones. "finish", "wait" (until stopped, or until there is a file `go`), "wait-checkpoints" (with a checkpoint
at each step), "oom", "disk-full" (with half a checkpoint, and no word about it), "user-error", "crash", "mute" (a crash
before the first word), "kill" (itself), "checkpoint-kill", "flood".
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from engine.events import Failed, Finished, Notice, Progress, Writer
from engine.runs import checkpoints, process, worker


def main(folder: Path) -> int:
    try:
        with FileLock(folder / process.WORKER_LOCK, timeout=0):
            return _attempt(folder)
    except Timeout:
        return worker.BUSY


def _attempt(folder: Path) -> int:
    orders = json.loads((folder / "orders.json").read_text(encoding="utf-8"))
    attempts = folder / "attempts"
    attempt = len(attempts.read_text(encoding="utf-8")) if attempts.exists() else 0
    with open(attempts, "a", encoding="utf-8") as file:
        file.write("x")
    order = orders[min(attempt, len(orders) - 1)]
    if order == "mute":
        raise SystemExit(1)
    with Writer(folder / "events.jsonl") as writer:
        return _obey(folder, writer, order)


def _obey(folder: Path, writer: Writer, order: str) -> int:
    known = json.loads((folder / "attempt.json").read_text()) if (folder / "attempt.json").exists() else {}
    plan = {"micro_batch": known.get("micro_batch", 4), "memory": [{"name": "weights", "bytes": 1000}]}
    (folder / "plan.json").write_text(json.dumps(plan))
    first = checkpoints.newest_step(folder / "checkpoints") + 1
    writer.write(Progress(first, 1000, loss=1.0, seconds=float(first)))
    if order in ("wait", "wait-checkpoints"):
        for step in range(first, 2000):
            if (folder / "stop").exists():
                _checkpoint(folder, step)
                writer.write(Notice("Stopped as you asked."))
                return worker.STOPPED
            if (folder / "go").exists():
                order = "finish"
                break
            if order == "wait-checkpoints":
                _checkpoint(folder, step)
            time.sleep(0.02)
    if order == "flood":
        for _ in range(3000):
            print("x" * 100, flush=False)
    if order in ("finish", "flood"):
        metrics = {
            "main": "exact_match",
            "before": {"exact_match": 0.0},
            "after": {"exact_match": 0.9},
            "baselines": {},
        }
        writer.write(Finished(metrics, 1, 2, 3.0, 4, 5))
        return worker.FINISHED
    if order == "user-error":
        writer.write(Failed("Row 17 has no answer.", "Fill it in."))
        return worker.USER_ERROR
    if order == "disk-full":
        half = folder / "checkpoints" / f"step-{first}"
        half.mkdir(parents=True)
        (half / "optimizer.pt").write_bytes(b"half")
        return worker.DISK_FULL
    if order == "oom":
        return worker.OUT_OF_MEMORY
    if order == "crash":
        raise ValueError("something nobody thought of")
    if order == "checkpoint-kill":
        _checkpoint(folder, first)
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


def _checkpoint(folder: Path, step: int) -> None:
    place = folder / "checkpoints" / f"step-{step}"
    place.mkdir(parents=True, exist_ok=True)
    (place / "trainable.safetensors").write_bytes(b"weights")
    checkpoints.commit(place, {"step": step})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
