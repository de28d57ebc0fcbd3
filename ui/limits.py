"""What one visitor may use of a machine that is shared. Each limit is declared once, with its environment variable.

The host is bound by none of them, and neither is the owner of a page that is not shared.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine import home
from engine.bases import models
from engine.errors import MachineError, ModelError, RunError, SettingError
from engine.events import Notice, Writer
from engine.runs import chains, queue, stages, store
from engine.specs.sections import Model
from engine.specs.spec import RunSpec
from engine.teachers import keys
from ui import owner
from ui.sharing import page

GB, MB = 1_000_000_000, 1_000_000
USAGE_LASTS_S = 10.0
_MOST_OWNERS = 2000
log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class Limit:
    variable: str
    default: float
    unit: str
    title: str
    help: str

    @property
    def value(self) -> float:
        """What the environment says, else the default. Raises SettingError for what is no number above 0."""
        given = os.environ.get(self.variable, "").strip()
        try:
            number = float(given or self.default)
        except ValueError:
            number = -1.0
        if not 0 < number < float("inf"):
            raise SettingError(
                [f"{self.variable} is {given!r}, not a number above 0."], f"Give {self.unit}, for example {self.text}."
            )
        return number

    @property
    def text(self) -> str:
        return f"{self.default:g}"

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"


DISK = Limit("TUNESMITH_VISITOR_DISK_GB", 10, "GB", "Disk", "Files and runs of one visitor together.")
ALL_DISK = Limit("TUNESMITH_VISITORS_DISK_GB", 100, "GB", "Disk of all visitors", "Files and runs of all of them.")
RUNS = Limit("TUNESMITH_VISITOR_RUNS", 2, "runs", "Runs at a time", "Runs of one visitor that wait or work.")
HOURS = Limit(
    "TUNESMITH_VISITOR_RUN_HOURS", 4, "hours", "Time of a run", "After it a run is stopped, with a checkpoint."
)
MODEL = Limit(
    "TUNESMITH_VISITOR_MODEL_GB", 10, "GB", "Size of a model", "The most that is fetched from the Hub for a run."
)
FILE = Limit("TUNESMITH_VISITOR_FILE_MB", 200, "MB", "Size of a file", "The largest file that is taken.")
UPLOADS = Limit("TUNESMITH_VISITOR_HOURLY_MB", 1000, "MB", "Uploads", "All that one visitor uploads in an hour.")
REQUESTS = Limit("TUNESMITH_VISITOR_REQUESTS", 1200, "requests", "Requests a minute", "An open page asks 75.")
LIMITS = (DISK, ALL_DISK, RUNS, HOURS, MODEL, FILE, UPLOADS, REQUESTS)


def check() -> None:
    """Raises SettingError where the environment holds what can't be a limit."""
    for limit in LIMITS:
        float(limit.value)


def table() -> str:
    """All limits as a table for the docs."""
    lines = [f"| `{one.variable}` | {one.text} {one.unit} | **{one.title}.** {one.help} |" for one in LIMITS]
    return "\n".join(["| variable | default | limit |", "| --- | --- | --- |", *lines])


def apply() -> bool:
    """Whether whoever is being answered is bound by limits."""
    return not page().is_own and not owner.visitor().is_host


def require_turn() -> None:
    """Raises RunError where the visitor has as many runs waiting or working as they may."""
    if not apply():
        return
    active = [run for run in store.listed(owner=owner.current()) if run.state in store.ACTIVE]
    if len(active) >= RUNS.value:
        raise RunError(
            f"You have {len(active)} runs that wait or work; on this shared page each visitor may have "
            f"{RUNS.value:g} at a time.",
            "Wait until one has ended, or stop one.",
        )


def resume(run: store.Run, key: str = "") -> None:
    """Go on with a run where the visitor may have one more at work. Raises RunError, MachineError.

    key: of the service that the run turns to, where somebody typed one.
    """
    require_turn()
    require_disk()
    keys.keep(run.folder, key)
    queue.resume(run)


def resume_chain(chain: chains.Chain) -> None:
    """As `resume`, for all stages of a plan."""
    require_turn()
    require_disk()
    chains.resume(chain)


def require_disk(more_bytes: int = 0) -> None:
    """Raises MachineError where the visitor's files and runs, or those of all, would take more than they may."""
    if not apply():
        return
    used = usage.of(owner.current())
    if used + more_bytes > DISK.value * GB:
        raise MachineError(
            f"Your files and runs take {used / GB:.2f} GB; each visitor of this page may have {DISK.value:g} GB.",
            "Delete runs or files that you don't need: the settings show what there is.",
        )
    if usage.of_visitors() + more_bytes > ALL_DISK.value * GB:
        raise MachineError(
            "The disk that this shared page has for its visitors is full.",
            "Delete what you don't need, or ask the host to make room.",
        )


def require_file(path: Path) -> None:
    """Raises where a file is larger than a visitor's may be, or doesn't fit beside what they have."""
    if not apply():
        return
    size = path.stat().st_size
    if size > FILE.value * MB:
        raise MachineError(too_large(), "Give fewer rows, or a part of the file.")
    require_disk(size)


def require_model(section: Model) -> None:
    """Raises where a model is not the visitor's to use, or more would be fetched for it than they may."""
    if stages.is_stage(section.id):
        return  # what an earlier stage leaves; it was asked for that one's model
    owner.require_model(section.id)
    if not apply():
        return
    size = models.facts(section).download_bytes or 0
    if size > MODEL.value * GB:
        raise ModelError(
            f"{section.id} has {size / GB:.1f} GB; on this shared page at most {MODEL.value:g} GB are fetched.",
            "Choose a smaller model.",
        )


def require_models(wanted: RunSpec) -> None:
    """Raises where a run would use a model, or another run's result, that is not the visitor's to use."""
    require_model(wanted.model)
    for name in wanted.objective.models(wanted.objective_settings):
        require_model(Model(id=name))
    for run_id in wanted.tuner.runs(wanted.tuner_settings):
        owner.own(run_id)


def too_large() -> str:
    return f"On this shared page a file may have {FILE.value:g} MB."


def look_after_runs(now: Callable[[], float] = time.time) -> None:
    """Stop visitors' runs that work for longer, or take more disk, than they may; their log says so."""
    if page().is_own:
        return
    for run in store.listed():
        if run.owner == owner.LOCAL or run.state != "running":
            continue
        since = _began(run)
        if since is not None and now() - since > HOURS.value * 3600:
            _stop(run, f"This run has worked for {HOURS.value:g} hours, which is the most on this shared page.")
        elif usage.of(run.owner) > DISK.value * GB:
            _stop(
                run, f"Your files and runs take more than the {DISK.value:g} GB that a visitor of this page may have."
            )


def _stop(run: store.Run, why: str) -> None:
    try:
        queue.stop(run)
    except RunError:
        log.info("Run %s had ended before it was stopped.", run.id)
        return
    with Writer(run.folder / "events.jsonl") as writer:
        writer.write(Notice(f"{why} It stops at its next step; its last checkpoint can be resumed.", "warning"))


def _began(run: store.Run) -> float | None:
    """When a run's supervisor began, in seconds since 1970; a resumed run begins anew."""
    try:
        return (run.folder / "supervisor.json").stat().st_mtime
    except OSError:
        return None


class Usage:
    """Bytes on the disk by owner, counted at most every few seconds."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> int:
        with self._lock:
            known = self._known.get(name)
        if known and time.monotonic() - known[0] < USAGE_LASTS_S:
            return known[1]
        size = size_of(folder_of(name)) + sum(size_of(run.folder) for run in store.listed(owner=name))
        with self._lock:
            if len(self._known) > _MOST_OWNERS:
                self._known.clear()
            self._known[name] = (time.monotonic(), size)
        return size

    def of_visitors(self) -> int:
        return sum(self.of(name) for name in owners() if name != owner.LOCAL)

    def forget(self, name: str) -> None:
        with self._lock:
            self._known.pop(name, None)


usage = Usage()


def owners() -> list[str]:
    """Everybody who has runs or files here."""
    files = home.home() / "files"
    names = {entry.name for entry in files.iterdir()} if files.is_dir() else set()
    return sorted(names | {run.owner for run in store.listed()})


def folder_of(name: str) -> Path:
    """Where an owner's files lie, whether there are some or not."""
    return home.home() / "files" / name


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total


def free_bytes() -> int:
    return shutil.disk_usage(home.home()).free
