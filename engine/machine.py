"""What this machine offers: processors, memory, GPUs, disk. Needs no torch."""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import util
from pathlib import Path
from typing import Literal

from engine import home

Device = Literal["cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Gpu:
    name: str
    memory_total: int
    memory_available: int
    capability: float | None
    """Compute capability, such as 8.0; None where the driver doesn't tell."""


@dataclass(frozen=True)
class Machine:
    """Memory and disk in bytes. Limits of a container count as the machine's."""

    device: Device
    """Where training runs."""
    cores: int
    memory_total: int
    memory_available: int
    disk_free: int
    """Where runs are kept."""
    cpu_bfloat16: bool
    """Whether the processor computes in bfloat16 by itself (else it is slower than float32)."""
    gpus: tuple[Gpu, ...] = ()
    notices: tuple[str, ...] = ()
    """Sentences on what is there and can't be used."""

    @property
    def available(self) -> int:
        """Free memory of the device that trains."""
        return self.gpus[0].memory_available if self.device == "cuda" else self.memory_available

    @property
    def total(self) -> int:
        return self.gpus[0].memory_total if self.device == "cuda" else self.memory_total


def inspect() -> Machine:
    """The machine as it is now."""
    import psutil

    memory = psutil.virtual_memory()
    limit, used = memory_limit(Path("/"))
    total = min(memory.total, limit) if limit else memory.total
    available = min(memory.available, max(limit - used, 0)) if limit else memory.available
    gpus = _gpus()
    device, notices = _device(gpus)
    return Machine(
        device=device,
        cores=_cores(),
        memory_total=total,
        memory_available=available,
        disk_free=shutil.disk_usage(home.home()).free,
        cpu_bfloat16=_cpu_bfloat16(),
        gpus=gpus,
        notices=notices,
    )


def memory_limit(root: Path) -> tuple[int | None, int]:
    """The container's memory limit and what is used of it, in bytes; None where there is no limit. `root` is "/"."""
    tightest: int | None = None
    used = 0
    for folder in _control_groups(root, "memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        # Version 1 writes a number near 2^63 for "no limit".
        if limit is None or limit >= 1 << 60 or (tightest is not None and limit >= tightest):
            continue
        usage = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
        tightest, used = limit, max(usage - _reclaimable(folder), 0)
    return tightest, used


def cpu_quota(root: Path) -> float | None:
    """How many processors the container may keep busy, or None where there is no limit. `root` is "/"."""
    quotas = []
    for folder in _control_groups(root, "cpu"):
        words = _words(folder / "cpu.max") or _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = cpu_quota(Path("/"))
    return max(1, min(cores, math.ceil(quota))) if quota else cores


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of the groups that this process is in, from its own up to the outermost; versions 1 and 2."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names and controller not in names.split(","):
            continue
        mount = mounts / controller if names else mounts
        # Within a container the path is the host's, and only the mount's own folder is seen.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            folder = mount.joinpath(*parts[:depth])
            if folder.is_dir():
                yield folder


def _reclaimable(folder: Path) -> int:
    """Bytes of cached files, which the kernel gives up when memory is wanted."""
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    found = dict(line.split(" ", 1) for line in lines if " " in line)
    return int(found.get("total_inactive_file") or found.get("inactive_file") or 0)


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _number(file: Path) -> int | None:
    words = _words(file)
    return int(words[0]) if words and words[0].isdigit() else None


def _device(gpus: tuple[Gpu, ...]) -> tuple[Device, tuple[str, ...]]:
    built_for = _torch_cuda()
    if gpus and built_for:
        return "cuda", ()
    if gpus:
        return "cpu", (
            f"There is a {gpus[0].name}, but the installed torch is built without CUDA; the processor is used.",
        )
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return "mps", ()
    return "cpu", ()


@lru_cache(maxsize=1)
def _torch_cuda() -> bool:
    """Whether the installed torch is built for CUDA, read from its version file: importing it takes seconds."""
    spec = util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return False
    return bool(re.search(r"^cuda\b[^=]*=\s*['\"]", text, flags=re.MULTILINE))


def _gpus() -> tuple[Gpu, ...]:
    """GPUs that programs may use here, in the order in which torch numbers them."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = "--query-gpu=index,uuid,name,memory.total,memory.free,compute_cap"
    try:
        done = subprocess.run(
            [program, query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    if done.returncode:
        return ()
    return parsed_gpus(done.stdout, os.environ.get("CUDA_VISIBLE_DEVICES"))


def parsed_gpus(text: str, visible: str | None) -> tuple[Gpu, ...]:
    """GPUs from nvidia-smi's table (index, uuid, name, total and free MiB, capability) and CUDA_VISIBLE_DEVICES."""
    found: dict[str, Gpu] = {}
    names: dict[str, str] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != 6 or not cells[3].isdigit():
            continue
        index, uuid, name, total, free, capability = cells
        found[index] = Gpu(
            name, int(total) << 20, int(free) << 20 if free.isdigit() else int(total) << 20, _decimal(capability)
        )
        names[uuid] = index
    if visible is None:
        return tuple(found.values())
    chosen = []
    for word in (part.strip() for part in visible.split(",")):
        index = word if word in found else next((names[uuid] for uuid in names if word and uuid.startswith(word)), "")
        if index not in found:
            break  # CUDA ignores everything after the first that it doesn't know
        chosen.append(found[index])
    return tuple(chosen)


def _decimal(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@lru_cache(maxsize=1)
def _cpu_bfloat16() -> bool:
    if sys.platform == "darwin":
        try:
            done = subprocess.run(
                ["sysctl", "-n", "hw.optional.arm.FEAT_BF16"], capture_output=True, text=True, timeout=5
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.stdout.strip() == "1"
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = [line for line in file if line.startswith(("flags", "Features"))]
    except OSError:
        return False
    return bool(lines) and bool({"avx512_bf16", "amx_bf16", "bf16"} & set(lines[0].split()))
