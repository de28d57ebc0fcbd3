"""Where rows may come from: files of the owner, samples, data sets of the Hub."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from engine import home
from engine.data import hub, table, versions
from engine.errors import DataError
from engine.specs.sections import Data
from ui import inspections, limits, owner


def require(source: str) -> None:
    """Refuse files that are not the owner's: a page must not read whatever lies on its machine."""
    if source in table.samples() or (hub.is_id(source) and not Path(source).exists()):
        return
    folder = home.files(owner.current()).resolve()
    path = Path(source).resolve()
    if not (path.is_relative_to(folder) and path.is_file()):
        raise DataError("This data is not there any more.", "Drop the file again.")


def uploaded(path: str | None) -> str:
    """Move an upload to the owner's folder; its path there."""
    if not path:
        raise DataError("No file arrived.", "Drop it again.")
    given = Path(path)
    limits.require_file(given)
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in given.name)[-80:]
    place = home.files(owner.current()) / f"{uuid.uuid4().hex[:12]}-{name}"
    shutil.move(given, place)  # an upload can be read by whoever has its address; the owner's folder can't
    return str(place)


def kept(text: str) -> str:
    """Write pasted rows to a file of the owner; its path. Raises DataError for what holds no rows."""
    table.paste(text or "")  # refused here, before anything is written
    limits.require_disk(len(text.encode("utf-8", "replace")))
    return str(table.keep(text, home.files(owner.current())))


def named(name: str) -> str:
    """The id of a Hub data set, from its name or address."""
    name = hub.bare_id((name or "").strip())
    if not hub.is_id(name) or Path(name).exists():
        raise DataError(f"{name!r} is no name of a data set.", "Write its owner, a slash, and its name.")
    return name


def mended(entry: Data, remedy: str) -> str:
    """A new version of the owner's data, in which a remedy was applied; its path."""
    require(entry.source)
    path = Path(entry.source)
    limits.require_disk(path.stat().st_size if path.is_file() else 0)
    return str(versions.mend(entry, [remedy], home.files(owner.current()), inspections.inspect))


def before(source: str) -> str:
    """The source that a version was made from."""
    require(source)
    earlier = versions.undo(source)
    require(earlier)
    return earlier
