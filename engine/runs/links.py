"""Chains on the disk: runs of which each starts when those before it have finished.

A chain is one small file, `runs/chains/ID.json`. It says which runs there are, in which order, and nothing of how far
they are: that follows from their states alone. So a chain can't contradict its runs, and no crash can lose its place.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine import home
from engine.errors import RunError
from engine.files import read_json, write_json

ID = re.compile(r"chain-\d{8}-\d{6}-[a-z2-9]{8}")


@dataclass(frozen=True)
class Link:
    """A run in its chain."""

    run: str
    """Its id."""
    title: str
    """Such as "Stage 1"."""
    number: int
    """Of the stage, from 1."""
    needs: tuple[int, ...] = ()
    """Places in the chain, from 0, of the runs whose results it uses."""
    without: tuple[int, ...] = ()
    """Of a stage that is learned a second time, without these: their numbers."""


@dataclass(frozen=True)
class Chain:
    id: str
    owner: str
    name: str
    created: float
    """Seconds since 1970."""
    links: tuple[Link, ...]
    """In the order in which they run."""
    beside: str = ""
    """Id of a run on several data sets, each of which a run of this chain learns alone. It is no part of the chain."""


def is_chain(id: str) -> bool:
    return bool(ID.fullmatch(id))


def write(chain: Chain) -> None:
    """Keep a chain: whole or not at all. Raises OSError."""
    place = _place(chain.id)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    write_json(place, asdict(chain))


def forget(chain: Chain) -> None:
    """Remove a chain; its runs stay."""
    _place(chain.id).unlink(missing_ok=True)


def get(id: str, owner: str | None = None) -> Chain:
    """A chain by its id. Raises RunError where there is none, or where it is somebody else's (which looks the same)."""
    found = _read(_place(id)) if is_chain(id) else None
    if found is None or owner not in (None, found.owner):
        raise RunError(f"There is no chain {id[:64]!r}.", "List them with: python -m engine chains")
    return found


def listed(owner: str | None = None) -> list[Chain]:
    """Chains, newest first, of one owner or of all."""
    parent = home.runs() / "chains"
    names = sorted(parent.glob("chain-*.json"), reverse=True) if parent.is_dir() else []
    found = [_read(name) for name in names if is_chain(name.stem)]
    return [chain for chain in found if chain is not None and owner in (None, chain.owner)]


def of(run_id: str) -> Chain | None:
    """The chain that a run is in, if any."""
    return next((chain for chain in listed() if any(link.run == run_id for link in chain.links)), None)


def beside(run_id: str) -> Chain | None:
    """The chain whose runs each learn one data set of a run alone, if any."""
    return next((chain for chain in listed() if chain.beside == run_id), None)


def places(owner: str) -> dict[str, tuple[Chain, int]]:
    """Of each run that is in a chain of this owner: the chain, and its place in it from 0."""
    return {link.run: (chain, place) for chain in listed(owner) for place, link in enumerate(chain.links)}


def states(rows: sqlite3.Connection, chain: Chain) -> dict[str, str]:
    """States of a chain's runs by their ids; those that were deleted are left out."""
    ids = [link.run for link in chain.links]
    marks = ", ".join("?" * len(ids))
    return dict(rows.execute(f"SELECT id, state FROM runs WHERE id IN ({marks})", ids).fetchall())


def at(chain: Chain, known: Mapping[str, str]) -> Link | None:
    """The first link whose run has not finished; None at the end. One whose run was deleted ends nothing."""
    return next((link for link in chain.links if known.get(link.run) != "finished"), None)


def due(rows: sqlite3.Connection) -> list[str]:
    """Runs whose turn has come: they are yet to start, and all before them in their chain have finished."""
    created = {run_id for (run_id,) in rows.execute("SELECT id FROM runs WHERE state = 'created'")}
    found = []
    for chain in listed() if created else []:
        if any(link.run in created for link in chain.links):
            link = at(chain, states(rows, chain))
            if link is not None and link.run in created:
                found.append(link.run)
    return found


def held(rows: sqlite3.Connection, run_id: str) -> tuple[str, str] | None:
    """Title of a run in its chain, and of the one whose result it still waits for; None where it may start."""
    chain = of(run_id)
    if chain is None:
        return None
    known = states(rows, chain)
    link = next(link for link in chain.links if link.run == run_id)
    missing = (chain.links[place] for place in link.needs if known.get(chain.links[place].run) != "finished")
    return next(((link.title, other.title) for other in missing), None)


def waiting(rows: sqlite3.Connection) -> set[str]:
    """Ids of the runs that will start by themselves, and of those whose results they need."""
    found: set[str] = set()
    for chain in listed():
        known = states(rows, chain)
        link = at(chain, known)
        if link is not None and known.get(link.run) in ("created", "queued", "running", "stopping"):
            found |= known.keys()
    return found


def tidy(rows: sqlite3.Connection) -> None:
    """Forget chains none of whose runs is left."""
    for chain in listed():
        if not states(rows, chain):
            forget(chain)


def _place(id: str) -> Path:
    return home.runs() / "chains" / f"{id}.json"


def _read(path: Path) -> Chain | None:
    """None where it is gone or damaged."""
    try:
        return _read_at(path, path.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=1000)
def _read_at(path: Path, changed: int) -> Chain | None:
    record = read_json(path) or {}
    try:
        links = tuple(_link(item) for item in record["links"])
        named = str(record["owner"]), str(record["name"])
        return Chain(path.stem, *named, float(record["created"]), links, str(record.get("beside") or ""))
    except (KeyError, TypeError, ValueError):
        return None


def _link(item: Mapping[str, Any]) -> Link:
    def numbers(values: Iterable[Any]) -> tuple[int, ...]:
        return tuple(int(value) for value in values)

    run, title, number = str(item["run"]), str(item["title"]), int(item["number"])
    return Link(run, title, number, numbers(item["needs"]), numbers(item["without"]))
