"""Runs as folders, listed in an index.

The folder is the truth about what a run is and did; the index about what it is to do.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import addresses, home, reporters, webhooks
from engine.bases import access
from engine.data import example as examples_file
from engine.errors import MachineError, RunError
from engine.events import Event, read, tail
from engine.files import sync_folder, write_json
from engine.methods import vectors
from engine.runs import about
from engine.runs.about import About
from engine.runs.index import ID, folder, index, reading, relist
from engine.runs.room import LEAST_FREE_BYTES
from engine.teachers import keys

if TYPE_CHECKING:  # what they load, a supervisor has no use for
    from engine.data.prepare import Prepared
    from engine.specs.spec import RunSpec

STATES = ("created", "queued", "running", "stopping", "stopped", "finished", "failed")
ACTIVE = ("queued", "running", "stopping")
SECONDS_BEFORE_SWEEPING = 3600
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_LEFTOVER = re.compile(rf"\.{ID.pattern}(\.deleted)?")
_COLUMNS = "id, owner, name, created, state, note, tags, about"


@dataclass(frozen=True)
class Run:
    id: str
    folder: Path
    owner: str
    name: str
    created: float
    """Seconds since 1970."""
    state: str
    """One of STATES."""
    note: str = ""
    tags: tuple[str, ...] = ()
    known: About | None = None
    """What the index knows of `about`; runs made by an older Tunesmith have none."""

    @property
    def about(self) -> About:
        return self.known or about.read(self.folder / "spec.yaml")

    def spec(self) -> RunSpec:
        from engine.specs.spec import RunSpec

        return RunSpec.load(self.folder / "spec.yaml")

    def events(self, offset: int = 0, limit_bytes: int | None = None) -> tuple[list[Event], int]:
        """Events from a byte offset on, and the offset to go on from."""
        return read(self.folder / "events.jsonl", offset, limit_bytes)

    def last_events(self, enough: Callable[[Sequence[Event]], object] = bool) -> list[Event]:
        """The newest events, cheaply: those in the file's last part, which is widened until there are `enough`."""
        return tail(self.folder / "events.jsonl", enough)


def create(spec: RunSpec, prepared: Prepared, owner: str = "local") -> Run:
    """Write a run's folder and list it; nothing starts yet.

    Raises DataError for rows with problems that are to be refused, MachineError where the disk has no room,
    SettingError for a reporter that is not installed, or a visitor's address that leads into a private network.
    """
    prepared.require()
    spec = spec.settled(prepared)
    reporters.require(spec.output.reporters)
    if owner != access.LOCAL:
        if spec.output.webhook:
            webhooks.require_public(spec.output.webhook)
        for address, what in spec.objective.addresses(spec.objective_settings):
            addresses.require_public(address, what)
    parent = folder()
    needed = LEAST_FREE_BYTES + 4 * sum(len(str(example.as_dict())) for example in prepared.examples)
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise MachineError(
            f"The disk has {free / 1e6:,.0f} MB free; a run needs at least {needed / 1e6:,.0f} MB.",
            "Make room, or delete runs.",
        )
    now = time.time()
    run_id = time.strftime("%Y%m%d-%H%M%S-", time.gmtime(now)) + "".join(secrets.choice(_ALPHABET) for _ in range(8))
    name = spec.name or f"{spec.objective.name}, {spec.tuner.name}"
    partial = parent / f".{run_id}"
    run = Run(run_id, parent / run_id, owner, name, now, "created", known=about.of(spec))
    try:
        _write(partial, spec, prepared)
        write_json(partial / "run.json", _record(run))
        partial.replace(parent / run_id)
        sync_folder(parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise MachineError(
            f"The run can't be written: {error.strerror or error}.", "Make room, or choose another home."
        ) from None
    with index() as rows:
        known = json.dumps(asdict(run.about), ensure_ascii=False)
        values = (run_id, owner, name, now, run.state, run.note, json.dumps(run.tags), known)
        rows.execute(f"INSERT OR REPLACE INTO runs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    return run


def get(run_id: str, owner: str | None = None) -> Run:
    """A run by its id. Raises RunError where there is none, or where it is somebody else's (which looks the same)."""
    if ID.fullmatch(run_id):
        with reading() as rows:
            found = rows.execute(f"SELECT {_COLUMNS} FROM runs WHERE id = ?", (run_id,)).fetchone()
        run = _run(found, home.runs()) if found else None
        if run and run.folder.is_dir() and owner in (None, run.owner):
            return run
    raise _no_run(run_id)


def listed(owner: str | None = None, search: str = "", most: int | None = None) -> list[Run]:
    """Runs, newest first, of one owner or of all; `search` stands in their name, note, tags, id or model."""
    return list(islice(_found(owner, search.casefold().strip()), most))


def _found(owner: str | None, wanted: str) -> Iterator[Run]:
    with reading() as rows:
        order = "ORDER BY created DESC, id DESC"
        where = "" if owner is None else "WHERE owner = ?"
        given = () if owner is None else (owner,)
        every = rows.execute(f"SELECT {_COLUMNS} FROM runs {where} {order}", given).fetchall()
    parent = home.runs()
    for row in every:
        run = _run(row, parent)
        if (not wanted or wanted in _words(run)) and run.folder.is_dir():
            yield run


def _words(run: Run) -> str:
    """All that a search looks at."""
    return "\n".join((run.name, run.note, *run.tags, run.id, run.about.model)).casefold()


def annotate(run: Run, name: str | None = None, note: str | None = None, tags: Sequence[str] | None = None) -> Run:
    """Change what a person says of a run; what is None stays as it is. Raises SettingError for what is too long."""
    changes = about.checked(name, note, tags)
    with index() as rows:
        state_of(rows, run.id)
        found = rows.execute(f"SELECT {_COLUMNS} FROM runs WHERE id = ?", (run.id,)).fetchone()
        said = dataclasses.replace(_run(found, home.runs()), **changes)
        try:
            write_json(run.folder / "run.json", _record(said))
        except OSError as error:
            raise MachineError(f"The name can't be written: {error.strerror}.", "Make room, then try again.") from None
        values = (said.name, said.note, json.dumps(said.tags, ensure_ascii=False), run.id)
        rows.execute("UPDATE runs SET name = ?, note = ?, tags = ? WHERE id = ?", values)
    return said


def rename(run: Run, name: str) -> None:
    annotate(run, name=name)


def delete(run: Run) -> None:
    """Remove a run and all its files. Raises RunError while it is queued or runs, or another run goes on from it."""
    name = f"run:{run.id}"
    later = [other for other in listed() if other.about.model == name or _reads(other, name)]
    if later:
        also = f" and {len(later) - 1} more" if len(later) > 1 else ""
        raise RunError(
            f"{later[0].name!r} ({later[0].id}){also} went on from this run and needs it.", "Delete that first."
        )
    grave = run.folder.with_name(f".{run.id}.deleted")
    with index() as rows:
        state = state_of(rows, run.id)
        if state in ACTIVE:
            raise RunError(f"Run {run.id} is {state}.", "Stop it first, then delete it.")
        try:
            run.folder.replace(grave)  # gone at once for everybody, even where removing it takes time
        except FileNotFoundError:
            pass  # removed by hand
        except OSError as error:
            raise MachineError(
                f"Run {run.id} can't be deleted: {error.strerror}.", "Look who may write in its folder."
            ) from None
        rows.execute("DELETE FROM runs WHERE id = ?", (run.id,))
    keys.forget(run.id)
    _bury(grave)


def _reads(run: Run, name: str) -> bool:
    """Whether a run that is on its way, or waits for its turn, uses another one's result beside its model."""
    if run.state not in ("created", *ACTIVE):
        return False
    spec = run.spec()
    return name in spec.objective.models(spec.objective_settings)


def state_of(rows: sqlite3.Connection, run_id: str) -> str:
    """Raises RunError where there is no such run."""
    found = rows.execute("SELECT state FROM runs WHERE id = ?", (run_id,)).fetchone()
    if found is None:
        raise _no_run(run_id)
    return str(found[0])


def tidy(rows: sqlite3.Connection) -> None:
    """List folders that were put here by hand (what was at work in them isn't), and sweep up what a crash left."""
    known = {row[0] for row in rows.execute("SELECT id FROM runs")}
    for name in os.listdir(home.runs()):
        if ID.fullmatch(name) and name not in known:
            relist(rows, home.runs() / name, died="stopped")
        elif _LEFTOVER.fullmatch(name) and _age(home.runs() / name) > SECONDS_BEFORE_SWEEPING:
            _bury(home.runs() / name)


def _bury(grave: Path) -> None:
    """Remove a run's folder, and what the cache holds of its texts and of no other run's."""
    vectors.forget(grave, (folder for folder in home.runs().iterdir() if ID.fullmatch(folder.name)))
    shutil.rmtree(grave, ignore_errors=True)


def _write(partial: Path, spec: RunSpec, prepared: Prepared) -> None:
    partial.mkdir(mode=0o700)
    _from_anywhere(spec).save(partial / "spec.yaml")
    chosen = spec.objective.chosen(prepared.examples, spec.objective_settings, spec.training.seed)
    examples_file.save(chosen, partial / "examples.jsonl")
    found = {
        "notices": prepared.notices,
        "findings": [finding.as_dict() for finding in prepared.findings],
        "problems": [asdict(problem) for problem in prepared.problems],
    }
    write_json(partial / "data.json", found)
    for name in ("spec.yaml", "examples.jsonl"):
        with open(partial / name, "rb+") as file:
            os.fsync(file.fileno())


def _from_anywhere(spec: RunSpec) -> RunSpec:
    """The spec with models' folders in full: the worker's working directory is another one."""
    return dataclasses.replace(
        spec,
        model=spec.model.model_copy(update={"id": _in_full(spec.model.id)}),
        objective_settings=spec.objective.renamed(spec.objective_settings, _in_full),
    )


def _in_full(name: str) -> str:
    place = Path(name).expanduser()
    return str(place.resolve()) if place.is_dir() else name


def _age(path: Path) -> float:
    """Seconds since a folder was last changed; 0 for one that is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _record(run: Run) -> dict[str, Any]:
    """What run.json says, from which a lost index is made again."""
    known = {name: getattr(run, name) for name in ("id", "owner", "name", "created", "note")}
    return {**known, "tags": list(run.tags), "about": asdict(run.about)}


def _run(row: Sequence[Any], parent: Path) -> Run:
    run_id, owner, name, created, state, note, tags, written = row
    known = _parsed(written, dict)
    fields = {field.name for field in dataclasses.fields(About)}
    return Run(
        id=run_id,
        folder=parent / run_id,
        owner=owner,
        name=name,
        created=created,
        state=state,
        note=note,
        tags=tuple(map(str, _parsed(tags, list) or ())),
        known=About(**{key: str(value) for key, value in known.items() if key in fields}) if known else None,
    )


def _parsed(text: str, kind: type) -> Any:
    try:
        value = json.loads(text or "null")
    except ValueError:
        return None
    return value if isinstance(value, kind) else None


def _no_run(run_id: str) -> RunError:
    return RunError(f"There is no run {run_id[:64]!r}.", "List them with: python -m engine runs")
