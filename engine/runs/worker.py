"""Does one run: `python -m engine.runs.worker FOLDER`. Started by the supervisor, tells its story in events.

Exit codes: 0 finished, 2 a problem the person can solve, 3 stopped on request, 4 out of memory, 5 disk full,
6 another worker is at it.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from engine import machine
from engine.errors import UserError
from engine.events import Failed, Notice, Progress, Writer
from engine.files import write_json
from engine.kernel_cache import keep_few_kernels
from engine.methods.job import Job, Stopped
from engine.planning.jobs import open_job, with_time
from engine.specs.sections import Output
from engine.specs.spec import RunSpec
from engine.teachers import keys
from engine.waiting import wait_briefly

if TYPE_CHECKING:
    from engine.compute.report import Reporter

ALONE = __name__ == "__main__"
"""Whether this process is the worker's own; tests run it in theirs."""
FEW_COLLECTIONS = 1_000_000
"""Objects that are made before garbage is looked for while libraries are imported, which make more than a million that
stay: of five seconds of processor time it would take more than one."""
SECONDS_BETWEEN_PROGRESS = 0.5
FINISHED, USER_ERROR, STOPPED, OUT_OF_MEMORY, DISK_FULL, BUSY = 0, 2, 3, 4, 5, 6
DEVICES = "TUNESMITH_DEVICES"
"""The GPUs of a run that several processes do together, with commas between them. Each process sees its own alone."""
DISK_FULL_WORDS = ("No space left on device", "unexpected pos", "PytorchStreamWriter failed")
MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


def main(folder: Path) -> int:
    # Before any library reads them: nothing is reported to anybody, nothing asks on standard input.
    os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1", TOKENIZERS_PARALLELISM="false")
    wait_briefly(os.environ)
    keep_few_kernels(os.environ)
    keys.take(os.environ)
    os.umask(0o077)
    lock = FileLock(folder / ".worker.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return BUSY
    writer = Writer(folder / "events.jsonl")
    usual = gc.get_threshold()
    gc.set_threshold(FEW_COLLECTIONS)
    try:
        return _work(folder, writer, usual)
    except Stopped:
        writer.write(Notice("Stopped as you asked. Resume goes on where it was: what the teacher wrote is kept."))
        return STOPPED
    except UserError as error:
        writer.write(Failed(error.problem, error.fix))
        return USER_ERROR
    except Exception as error:
        traceback.print_exc()
        code = code_of(error)
        if code == DISK_FULL:
            writer.write(Failed("The disk is full.", "Make room, then resume: the last whole checkpoint is kept."))
        elif code == 1:
            name, _, text = f"{type(error).__name__}: {error}".partition("\n")[0].partition(": ")
            writer.write(
                Failed(
                    f"The run broke: {name}: {text[:300]}",
                    "The whole story is in worker.log. Resume goes on from the last checkpoint.",
                )
            )
        return code
    finally:
        gc.set_threshold(*usual)
        writer.close()
        lock.release()


def code_of(error: BaseException) -> int:
    """What kind of end an exception is, by the words that torch and the system use."""
    text = str(error)
    if (isinstance(error, OSError) and error.errno == errno.ENOSPC) or any(words in text for words in DISK_FULL_WORDS):
        return DISK_FULL
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(w in text.lower() for w in MEMORY_WORDS)
    ):
        return OUT_OF_MEMORY
    return 1


def _work(folder: Path, writer: Writer, usual: tuple[int, int, int]) -> int:
    """usual: how often garbage is collected once all libraries are there."""
    writer.write(Progress(0, 1, phase="prepare"))
    job = open_job(folder, lambda text: writer.write(Notice(text)), written=_Written(folder, writer))
    write_json(folder / "plan.json", job.plan.as_dict())
    if job.plan.processes > 1 and job.plan.device == "cuda":
        devices = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(job.plan.processes)))
        os.environ |= {DEVICES: devices, "CUDA_VISIBLE_DEVICES": devices.partition(",")[0]}
    if ALONE and not needs_bitsandbytes(job):
        # PEFT would import it, and with it torch's compiler: a second and a half of processor time, 50 MB.
        sys.modules.setdefault("bitsandbytes", None)  # type: ignore[arg-type]
    writer.write(Progress(0, 1, phase="load"))

    # Here, not above: a spec that can't work is refused in a second, and torch takes ten to load.
    began = time.monotonic()
    from engine.compute.report import Reporter

    spec = RunSpec.load(folder / "spec.yaml")
    if not job.plan.seconds:
        from engine.compute import speed

        here = machine.inspect()
        job = with_time(job, spec, here, speed.of_machine(here, job.plan, loaded_s=time.monotonic() - began))
        write_json(folder / "plan.json", job.plan.as_dict())
    run = _runner(job, Reporter(folder, writer), spec.output)
    # What the libraries made stays until the end: no collection has to look through it again, the first of which would
    # take the trainer half a second.
    gc.freeze()
    gc.set_threshold(*usual)
    try:
        return FINISHED if run() else STOPPED
    finally:
        gc.unfreeze()


class _Written:
    """Tells how far another model is that writes what is learned. Raises Stopped where the person asked to stop."""

    def __init__(self, folder: Path, writer: Writer) -> None:
        self._stop_file, self._writer, self._last = folder / "stop", writer, 0.0

    def __call__(self, done: int, total: int) -> None:
        if self._stop_file.exists():
            raise Stopped
        if done in (0, total) or time.monotonic() - self._last > SECONDS_BETWEEN_PROGRESS:
            self._last = time.monotonic()
            self._writer.write(Progress(done, total, phase="answers"))


def _runner(job: Job, reporter: Reporter, output: Output) -> Callable[[], bool]:
    """What does the run, its libraries loaded."""
    if job.tuner.kind == "fit":
        from engine.compute import fit

        return partial(fit.run, job, reporter)
    if job.tuner.kind == "merge":
        from engine.compute import combine

        return partial(combine.run, job, reporter)
    from engine.compute import train

    return partial(train.run, job, reporter, output)


def needs_bitsandbytes(job: Job) -> bool:
    """Whether the base has few bits, or the optimizer's averages do; or other models are read, which may have."""
    narrow = job.plan.weights in ("4bit", "8bit") or "quantization_config" in job.facts.config
    others = job.tuner.kind == "merge" or bool(job.objective.models(job.objective_settings))
    return narrow or others or job.plan.optimizer != "adamw"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
