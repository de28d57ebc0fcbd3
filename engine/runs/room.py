"""Whether there is room for one more run: a device, its memory, and the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from engine import machine
from engine.errors import MachineError, SettingError, UserError
from engine.events import Progress, tail
from engine.files import read_json
from engine.runs import checkpoints
from engine.specs.spec import RunSpec

BYTES_PER_TRAINED_WEIGHT = 12
"""In a checkpoint: the weight and Adam's two moments, in float32."""
LEAST_FREE_BYTES = 200_000_000


def device_for(run: Path, running: Sequence[tuple[str, Path]]) -> str | None:
    """The device that a waiting run may have now, or None. `running`: device and folder of each run at work.

    A device is "" (all that there is) or a GPU as CUDA_VISIBLE_DEVICES names it. Each takes one run, or as many
    as TUNESMITH_PARALLEL says where their predicted memory fits together. A run of several processes has several GPUs,
    with commas between them, to itself.
    """
    devices = _devices(os.environ.get("CUDA_VISIBLE_DEVICES"))
    taken = [(name.split(","), folder) for name, folder in running]
    beside = {device: [folder for names, folder in taken if device in names] for device in devices}
    # Taken up from an index that was lost: where they run isn't known any more.
    beside[devices[0]] += [folder for names, folder in taken if not set(names) & beside.keys()]
    wanted = _processes(run)
    if devices != ("",) and wanted > 1:
        free = [name for name in devices if not beside[name]]
        return ",".join(free[:wanted]) if len(free) >= wanted else None
    device = min(devices, key=lambda name: len(beside[name]))
    if len(beside[device]) >= _at_once():
        return None
    if beside[device] and not _fits(run, beside[device], _free_memory(devices.index(device))):
        return None
    return device


def environment(device: str) -> dict[str, str]:
    """What a run's processes need to know to use this device alone."""
    # nvidia-smi, which the plan is made from, counts by bus.
    return {"CUDA_VISIBLE_DEVICES": device, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if device else {}


def require_disk(run: Path, trained_weights: int, keep: int) -> None:
    """Raises MachineError where the disk can't hold the run's checkpoints (`keep`, the best, one in the making)."""
    place = run / "checkpoints"
    each = trained_weights * BYTES_PER_TRAINED_WEIGHT
    more = max(1, keep + 2 - checkpoints.count(place))
    needed = more * each + trained_weights * 4 + LEAST_FREE_BYTES
    free = shutil.disk_usage(run).free
    if free < needed:
        raise MachineError(
            f"The disk has {free / 1e9:,.1f} GB free; this run's checkpoints and result need {needed / 1e9:,.1f} GB.",
            "Make room, keep fewer checkpoints (output.keep_checkpoints), or train fewer weights (tuner lora).",
        )


def _fits(run: Path, beside: Sequence[Path], free: int) -> bool:
    """Whether a run fits beside others, which may be yet to take all that they will."""
    plans = [_planned(other) for other in beside]
    known = [plan for plan in plans if plan is not None]
    if len(known) < len(plans):
        return False  # one has just started; what it takes is known in a moment
    promised = sum(max(0, plan - _used(other)) for plan, other in zip(known, beside, strict=True))
    # A run that was never planned is taken for one like those beside it. Its own plan has the last word.
    return promised + (_planned(run) or max(known)) <= free


def _processes(run: Path) -> int:
    """How many processes a run is to be; no more than there are GPUs, or it would wait forever to be refused."""
    file = run / "spec.yaml"
    try:
        wanted = RunSpec.load(file).launch.processes if file.exists() else 1
    except UserError:
        wanted = 1  # its worker says what is wrong; the runs that wait behind it are not to be held up
    return min(wanted, len(_devices(os.environ.get("CUDA_VISIBLE_DEVICES"))))


def _planned(run: Path) -> int | None:
    plan = read_json(run / "plan.json") or {}
    parts = plan.get("memory")
    # Each process holds so much; on GPUs each on its own.
    count = 1 if plan.get("device") == "cuda" else int(plan.get("processes", 1))
    return count * sum(int(part["bytes"]) for part in parts) if parts else None


def _used(run: Path) -> int:
    found = [event for event in tail(run / "events.jsonl") if isinstance(event, Progress)]
    return max((event.memory_bytes or 0 for event in found[-1:]), default=0)


def _free_memory(place: int) -> int:
    found = machine.inspect()
    return found.gpus[place].memory_available if found.device == "cuda" else found.memory_available


@lru_cache(maxsize=4)
def _devices(visible: str | None) -> tuple[str, ...]:
    found = machine.inspect()
    if found.device != "cuda":
        return ("",)
    names = visible.split(",") if visible else [str(number) for number in range(len(found.gpus))]
    return tuple(name.strip() for name in names[: len(found.gpus)])


def _at_once() -> int:
    given = os.environ.get("TUNESMITH_PARALLEL", "1")
    if not given.isdigit() or int(given) < 1:
        raise SettingError([f"TUNESMITH_PARALLEL is {given!r}; it should be a whole number of at least 1."])
    return int(given)
