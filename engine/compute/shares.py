"""Several processes that learn together: each computes a share of every update, and all make the same update.

The first one, the worker, leads: it scores, watches, saves and tells. Its helpers (`python -m engine.compute.shares`)
hold the same model, read the same rows in the same order and take the part of each batch that is theirs; gradients are
added up before each update. So the weights are the same everywhere, and a checkpoint says nothing of how many there
were.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed

from engine.errors import RunError
from engine.events import Event, Writer
from engine.files import read_json
from engine.home import CHECKOUT
from engine.methods.job import Job
from engine.planning.plan import MemoryPart, Plan, TimePart
from engine.runs import worker

T = TypeVar("T")
MEETING = ".together"
"""The file in the run's folder by which the processes find each other."""
PATIENCE = timedelta(days=1)
"""How long one waits for another, which may be scoring: the end of a process is noticed in another way."""
AT_ONCE = 16_000_000
"""Numbers that are added up in one go."""
SECONDS_BETWEEN_LOOKS, SECONDS_TO_END = 0.2, 30.0


class Share:
    """What one of `count` processes does of the whole; alone it does all, and nothing is sent anywhere."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def of(self, rows: list[T]) -> list[T]:
        """Those of a batch's rows that are computed here; none where there are fewer rows than processes."""
        return rows[self.rank :: self.count]

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over all processes."""
        if self.count > 1:
            value = value.detach().clone()
            distributed.all_reduce(value)
        return value

    def told(self, *values: float) -> list[float]:
        """What the leading process says, to all."""
        if self.count == 1:
            return list(values)
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        said = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.broadcast(said, 0)
        return [float(value) for value in said.tolist()]

    def add_up(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give each the sum of its gradients in all processes; what has none anywhere stays without."""
        if self.count == 1:
            return
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        if not learning:
            return
        there = torch.tensor([p.grad is not None for p in learning], dtype=torch.uint8, device=learning[0].device)
        distributed.all_reduce(there, distributed.ReduceOp.MAX)
        gradients = []
        for parameter, has in zip(learning, there.tolist(), strict=True):
            if has and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad is not None:
                gradients.append(parameter.grad)
        for some in _parcels(gradients):
            flat = torch.cat([one.flatten() for one in some])
            distributed.all_reduce(flat)
            for one, added in zip(some, flat.split([one.numel() for one in some]), strict=True):
                one.copy_(added.view_as(one))


ALONE = Share()


def _parcels(gradients: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Of one format and at most AT_ONCE numbers each, or a single one."""
    parcel: list[torch.Tensor] = []
    for one in gradients:
        size = sum(other.numel() for other in parcel) + one.numel()
        if parcel and (size > AT_ONCE or one.dtype != parcel[0].dtype):
            yield parcel
            parcel = []
        parcel.append(one)
    if parcel:
        yield parcel


class Helpers:
    """The other processes of a run, as its worker sees them."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._children: list[subprocess.Popen[bytes]] = []
        self._over = threading.Event()
        self._code: int | None = None

    def start(self) -> None:
        folder, count = self._job.folder, self._job.plan.processes
        (folder / MEETING).unlink(missing_ok=True)
        devices = [one for one in os.environ.get(worker.DEVICES, "").split(",") if one]
        for rank in range(1, count):
            own = {"CUDA_VISIBLE_DEVICES": devices[rank]} if len(devices) >= count else {}
            with open(folder / f"helper-{rank}.log", "ab") as log:
                self._children.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "engine.compute.shares", str(folder), str(rank), str(os.getpid())],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        cwd=CHECKOUT,
                        env={**os.environ, **own},
                    )
                )
        threading.Thread(target=self._watch, daemon=True).start()

    def joined(self) -> Share:
        """Waits until all are there."""
        return join(self._job, 0)

    def end(self) -> None:
        self._over.set()
        for child in self._children:
            if child.poll() is None:
                child.terminate()
        for child in self._children:
            child.wait()
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def explained(self, error: BaseException) -> BaseException:
        """The reason why this process broke off, where that is another's end."""
        time.sleep(2 * SECONDS_BETWEEN_LOOKS)  # what is noticed first is that the other doesn't answer
        if self._code is None:
            return error
        return MemoryError() if self._code == worker.OUT_OF_MEMORY else RunError(*_ended(self._code))

    def _watch(self) -> None:
        """Once a helper has broken off, end this process, too, if it doesn't notice by itself."""
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            codes = [child.poll() for child in self._children]
            self._code = next((code for code in codes if code), None)
            if self._code is not None and not self._over.wait(SECONDS_TO_END):
                print(_ended(self._code)[0], flush=True)
                os._exit(worker.OUT_OF_MEMORY if self._code == worker.OUT_OF_MEMORY else 1)


def _ended(code: int) -> tuple[str, str]:
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return (
        f"One of the processes that learn together ended ({how}).",
        "Its story is in helper-1.log and the like, in the run's folder. Resume goes on from the last checkpoint.",
    )


@contextmanager
def helped(job: Job) -> Iterator[Helpers | None]:
    """The helpers of a run, where its plan wants some. What breaks off because one of them did says so."""
    if job.plan.processes == 1:
        yield None
        return
    helpers = Helpers(job)
    helpers.start()
    try:
        yield helpers
    except RuntimeError as error:
        reason = helpers.explained(error)
        if reason is error:
            raise
        raise reason from error
    finally:
        helpers.end()


def join(job: Job, rank: int) -> Share:
    count = job.plan.processes
    distributed.init_process_group(
        "nccl" if job.plan.device == "cuda" else "gloo",
        store=distributed.FileStore(str(job.folder / MEETING), count),
        rank=rank,
        world_size=count,
        timeout=PATIENCE,
    )
    return Share(rank, count)


def planned(folder: Path) -> Plan:
    """The plan that the worker made, from its file."""
    found: dict[str, Any] = dict(read_json(folder / "plan.json") or {})
    found.pop("estimate_seconds", None)
    found["memory"] = [MemoryPart(**part) for part in found["memory"]]
    found["seconds"] = [TimePart(**part) for part in found["seconds"]]
    return Plan(**found)


def help_out(folder: Path, rank: int) -> None:
    """Do a share of a run's training."""
    from engine.compute import train
    from engine.compute.report import Reporter
    from engine.planning.jobs import open_job

    class Mute(Reporter):
        """Says nothing: all do the same, and the leading process tells."""

        def __init__(self) -> None:
            super().__init__(folder, Writer(Path(os.devnull)))

        def write(self, event: Event) -> None:
            pass

        def notice(self, text: str, level: str = "info") -> None:
            pass

        def stop_wanted(self) -> bool:
            return False

    job = replace(open_job(folder, lambda text: None), plan=planned(folder))
    torch.set_num_threads(job.plan.threads)
    train.helped_out(job, Mute(), lambda: join(job, rank))


def main(folder: Path, rank: int, leader: int) -> int:
    threading.Thread(target=_end_with, args=(leader,), daemon=True).start()
    try:
        help_out(folder, rank)
    except Exception as error:
        import traceback

        traceback.print_exc()
        return worker.code_of(error)
    return 0


def _end_with(leader: int) -> None:
    while os.getppid() == leader:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
