"""What was found in data, kept for a while: opening a finding or changing a column shouldn't read the file again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from engine.data import examples, report, table
from engine.data.example import Example
from engine.data.report import Inspection
from engine.data.rows import Table
from engine.method import Wants
from engine.specs.sections import Data
from engine.texts import label_words
from ui import owner

T = TypeVar("T")
MOST_KEPT = 4
MOST_ROWS = 200_000
"""Larger tables are read again each time, since all of their rows stand in memory."""
HUB_LASTS_S = 600.0
_FIRST = 20

_lock = threading.Lock()
_tables: OrderedDict[object, Table] = OrderedDict()
_inspections: OrderedDict[object, Inspection] = OrderedDict()
_labelled: OrderedDict[object, Labelled] = OrderedDict()


def inspect(entry: Data, wants: Wants | None = None) -> Inspection:
    """What `engine.data.report.inspect` finds for the owner who is being answered. Raises DataError as it does."""

    def make() -> Inspection:
        return report.inspect(entry, wants, read=_read(entry))

    return _kept(_inspections, (_source(entry), entry.model_dump_json(), wants), make)


def first(entry: Data, most: int = 1) -> list[tuple[Example, dict[str, object]]]:
    """The first rows that can be used, as they are learned and as they stand; quick, whatever the size of the file.

    Nothing where none of them can be used. Raises DataError as `inspect` does.
    """
    whole = _read(entry)
    few = whole.first(_FIRST)
    wants = report.natural(whole, entry)
    kind = examples.answers(whole, entry).kind if wants == "labelled" else "one label"
    made = examples.build(few, entry, wants, kind=kind).examples
    return [(one, few.rows[few.numbers.index(one.row)]) for one in made[:most]]


@dataclass(frozen=True)
class Labelled:
    labels: frozenset[str]
    first: str
    """The text of the first row that can be used."""


def labelled(entry: Data) -> Labelled:
    """The labels of texts of which each has one. Raises DataError where the data holds none."""

    def make() -> Labelled:
        made = examples.build(_read(entry), entry, "labelled").examples
        label_words.require_one_text(made)
        return Labelled(frozenset(one.label for one in made), made[0].text)

    return _kept(_labelled, (_source(entry), entry.model_dump_json()), make)


def _read(entry: Data) -> Table:
    return _kept(_tables, _source(entry), lambda: table.load(entry))


def _source(entry: Data) -> tuple[object, ...]:
    """What the rows come from, in its present state."""
    try:
        status = Path(entry.source).stat()
        state: tuple[object, ...] = (status.st_mtime_ns, status.st_size)
    except OSError:
        state = (int(time.monotonic() / HUB_LASTS_S),)
    return (owner.current(), entry.source, entry.config, entry.hub_split, entry.revision, *state)


def _kept(store: OrderedDict[object, T], key: object, make: Callable[[], T]) -> T:
    with _lock:
        if key in store:
            store.move_to_end(key)
            return store[key]
    made = make()
    rows = made.table.rows if isinstance(made, Inspection) else made.rows if isinstance(made, Table) else []
    if len(rows) <= MOST_ROWS:
        with _lock:
            store[key] = made
            while len(store) > MOST_KEPT:
                store.popitem(last=False)
    return made
