"""Several data sets in one run: one is open in step 1, the others stand ready beside it.

They are kept as text by an input of the page, so that they outlive a restart of the server. What it holds comes from
anybody: entries are checked where they are used (`RunSpec.parse`, `ui.sources.require`), words are escaped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any
from urllib.parse import quote, unquote

from engine.errors import DataError

MOST = 16
Entry = dict[str, Any]


@dataclass(frozen=True)
class Ready:
    """A data set that stands ready. told: how much of what it holds ("480 rows: texts with labels")."""

    entry: Entry
    title: str
    told: str


@dataclass(frozen=True)
class Sets:
    """Those that stand ready, in the order in which they are learned, without the open one.

    place: how many of them come before the open one.
    """

    ready: list[Ready] = field(default_factory=list)
    place: int = 0

    @classmethod
    def read(cls, text: str) -> Sets:
        """What `text()` gave. Raises DataError for anything else."""
        if not text:
            return cls()
        try:
            found = json.loads(text)
            ready = [Ready(dict(one["entry"]), str(one["title"]), str(one["told"])) for one in found["ready"]]
            place = int(found["place"])
            if len(ready) > MOST:
                raise ValueError(len(ready))
        except (ValueError, TypeError, KeyError):
            raise DataError("The list of data sets can't be read.", "Reload the page and give them again.") from None
        return cls(ready, max(0, min(place, len(ready))))

    def text(self) -> str:
        """For an input to keep; empty where none stands ready."""
        if not self.ready:
            return ""
        ready = [{"entry": one.entry, "title": one.title, "told": one.told} for one in self.ready]
        return json.dumps({"ready": ready, "place": self.place})

    def entries(self, opened: Entry | None) -> list[Entry]:
        """All of a run's data sets in order, the open one in its place."""
        entries = [one.entry for one in self.ready]
        return entries if opened is None else [*entries[: self.place], opened, *entries[self.place :]]

    def closed(self, opened: Ready) -> Sets:
        """The open one stands ready, too; the next one to be given comes last. Raises DataError where it is full."""
        if len(self.ready) + 1 >= MOST:
            raise DataError(f"A run learns from at most {MOST} data sets.", "Join some of them to one file.")
        ready = [*self.ready[: self.place], opened, *self.ready[self.place :]]
        return Sets(ready, len(ready))

    def without(self, index: int) -> Sets:
        """Raises DataError where there is none of this number, counted from 0."""
        self.at(index)
        place = self.place - 1 if index < self.place else self.place
        return Sets([*self.ready[:index], *self.ready[index + 1 :]], place)

    def opened(self, index: int) -> tuple[Entry, Sets]:
        """One of them to be open, and the others; what was open before is gone (see `closed`)."""
        return self.at(index).entry, replace(self.without(index), place=index)

    def at(self, index: int) -> Ready:
        if not 0 <= index < len(self.ready):
            raise DataError("This data set is not in the list any more.", "Look at the list again.")
        return self.ready[index]


@dataclass(frozen=True)
class About:
    """What is known of a run's data: rows to learn from, whether they are texts with labels, in how many sets."""

    rows: int = 0
    labelled: bool = False
    sets: int = 1
    plain: bool = False
    """Whether they are texts by themselves, without labels or answers."""
    marked: bool = False
    """Whether words are marked in them."""
    parts: tuple[tuple[str, int], ...] = ()
    """Title of each set, with its rows to learn from, where there are several."""
    good_for: tuple[str, ...] = ()
    """Names of the objectives that can learn from all of it; empty where that is not known."""

    @classmethod
    def read(cls, text: str) -> About:
        """What `text()` gave ("480 labelled:chat,classify 2"); what can't be read is as if nothing were known."""
        rows, kind, sets, parts = [*str(text or "").split(), *[""] * 4][:4]
        kind, _, good_for = kind.partition(":")
        several = min(MOST, max(1, _count(sets, 1)))
        kinds = (kind == "labelled", several, kind == "plain", kind == "marked")
        return cls(_count(rows, 0), *kinds, _parts(parts, several), _names(good_for))

    def text(self) -> str:
        kinds = {"labelled": self.labelled, "plain": self.plain, "marked": self.marked}
        kind = next((name for name, holds in kinds.items() if holds), "other")
        parts = f" {quote(json.dumps(self.parts))}" if self.parts else ""
        good_for = f":{','.join(self.good_for)}" if self.good_for else ""
        return f"{self.rows} {kind}{good_for} {self.sets}{parts}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _parts(text: str, sets: int) -> tuple[tuple[str, int], ...]:
    try:
        found = tuple((str(title), max(0, int(rows))) for title, rows in json.loads(unquote(text) or "[]"))
    except (ValueError, TypeError):
        return ()
    return found if len(found) == sets else ()


def _count(text: str, default: int) -> int:
    return int(text) if text.isdecimal() and len(text) < 12 else default


def listed(sets: Sets, opened: str) -> str:
    """The data sets of the run as markup, with buttons that open and remove them; nothing where there is only one.

    opened: title of the open one; empty where the next one is still to be given.
    """
    if not sets.ready:
        return ""
    lines = [_line(number, one) for number, one in enumerate(sets.ready)]
    here = f"<li class='ts-set' aria-current='true'><p><b>{escape(opened)}</b> <span>open below</span></p></li>"
    if opened:
        lines.insert(sets.place, here)
    next_one = "" if opened else "<p class='ts-quiet'>Give the next one below, or go on without.</p>"
    return (
        "<section class='ts-stack ts-sets' aria-label='Data sets of this run'>"
        f"<h2 tabindex='-1'>Data sets of this run</h2><ol>{''.join(lines)}</ol>{next_one}</section>"
    )


def _line(number: int, one: Ready) -> str:
    title = escape(one.title, quote=True)
    buttons = "".join(
        f"<button type='button' class='ts-button' data-set='{number}' data-act='{act}' aria-label='{name}: {title}'>"
        f"{name}</button>"
        for act, name in (("open", "Open"), ("remove", "Remove"))
    )
    return (
        f"<li class='ts-set'><p><b>{title}</b> <span>{escape(one.told)}</span></p>"
        f"<div class='ts-finding-acts'>{buttons}</div></li>"
    )
