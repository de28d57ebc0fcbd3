"""New versions of a person's data: what a remedy makes of it, in a file of its own, with the way back."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine.data import columns, history, remedies, report
from engine.data.history import History, Step
from engine.data.remedies import Remedy
from engine.data.report import Inspection
from engine.data.rows import MAX_BYTES, Table, check_bytes, counted
from engine.errors import DataError
from engine.specs.sections import Data


def mend(entry: Data, names: list[str], folder: Path, inspect: Callable[[Data], Inspection] = report.inspect) -> Path:
    """Apply remedies, one after another, and write what comes out to `folder`; the path of the newest version.

    inspect: how the data is looked at, which may be known already.
    Raises DataError for an unknown remedy, one that finds nothing to mend, and one that leaves no rows.
    """
    source = entry.source
    for remedy in [remedies.get(name) for name in names]:
        source = str(_version(entry.model_copy(update={"source": source}), remedy, folder, inspect))
    return Path(source)


def undo(source: str) -> str:
    """The source that a version was made from. Raises DataError for what is no version."""
    made = history.read(source)
    if made is None:
        raise DataError("This is the data as you gave it; there is nothing to undo.", "Go on with it.")
    return made.parent


def _version(entry: Data, remedy: Remedy, folder: Path, inspect: Callable[[Data], Inspection]) -> Path:
    seen = inspect(entry)
    if "marks" in seen.guess.columns and not remedy.keeps_places:
        raise DataError(
            f"{remedy.title}: that would change texts in which marks count characters.",
            "Mend the file by hand, or give words with a tag each.",
        )
    mended = remedy.act(seen.case)
    if not mended.changed and not mended.removed:
        raise DataError(
            f"{remedy.title}: there is nothing here that this mends.",
            "Choose another remedy, or mend the file by hand.",
        )
    if not mended.table.rows:
        raise DataError("No row would be left.", "Choose another remedy, or mend the file by hand.")
    unread = [problem.row for problem in mended.table.problems]
    removed = sorted({*mended.removed, *unread})
    told = mended.told
    if unread:
        told += f", {counted(len(unread), 'row that could not be read', 'rows that could not be read')} left out"
    before = history.read(entry.source)
    step = Step(remedy.name, told, seen.report["rows"], len(mended.table.rows), mended.changed, removed)
    steps = [*(before.steps if before else []), step]
    name = history.title(entry.source)
    path = folder / f"{uuid.uuid4().hex[:12]}-{_plain(name)}.jsonl"
    _write(_with_split_column(mended.table), path)
    if mended.table.continuous:
        history.write_places(path, mended.table.places, mended.table.continuous)
    history.write(path, History(entry.source, name, steps))
    return path


def _write(table: Table, path: Path) -> None:
    written = 0
    try:
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            for row in table.rows:
                written += file.write(history.one_line(row))
                if written > MAX_BYTES:
                    check_bytes(written, "The new version")
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _with_split_column(table: Table) -> Table:
    """A file of one's own can't hold parts, so they become a column, before all others."""
    if not table.splits:
        return table
    name = next((name for name in columns.SPLITS if name not in table.columns), columns.SPLITS[0])
    rows = [{name: side, **row} for row, side in zip(table.rows, table.splits, strict=True)]
    return replace(table, columns=[name, *table.columns], rows=rows, splits=[])


def _plain(name: str) -> str:
    """A name that a file can have, without its ending."""
    stem = Path(name.replace(":", "-").replace("/", "-")).stem
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in stem)[-60:] or "rows"
