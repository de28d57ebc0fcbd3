"""Where rows may come from: files of the owner, samples, data sets of the Hub."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from engine import home
from engine.data import archive, hub, table, versions
from engine.data.rows import check_bytes
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


def uploaded(paths: str | list[str] | None) -> str:
    """Move an upload to the owner's folder; its path there. Several files become one .zip, which is read as one."""
    given = [Path(path) for path in ([paths] if isinstance(paths, str) else paths or [])]
    if not given:
        raise DataError("No file arrived.", "Drop it again.")
    for file in given:
        limits.require_file(file)
    first, *others = given
    if not others:
        place = _place(first.name)
        shutil.move(first, place)  # an upload can be read by whoever has its address; the owner's folder can't
        return str(place)
    archive.check_count(len(given), "What you dropped")
    check_bytes(sum(file.stat().st_size for file in given), "What you dropped")
    limits.require_disk(sum(file.stat().st_size for file in given))
    place = _place(f"{first.stem[:60]}-and-{len(others)}-more.zip")
    archive.pack(given, place)
    for file in given:
        file.unlink()
    return str(place)


def _place(name: str) -> Path:
    """For a file of this name, which may be anything, in the owner's folder."""
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[-80:]
    return home.files(owner.current()) / f"{uuid.uuid4().hex[:12]}-{plain}"


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
