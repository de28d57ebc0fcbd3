"""Documents of strangers are taken apart in a process of their own: a few kilobytes can keep a parser busy for hours.

`engine.data.parser` is the process; it ends by itself when nobody asks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from engine.children import Child, Died, OutOfMemory, Settings, TooSlow
from engine.data import documents
from engine.data.rows import Table
from engine.errors import DataError

PDF_SECONDS = 300.0
"""Most have 20 to 300 pages a second."""
SECONDS = 120.0
"""Of any other document: 1,000,000 tags take half a minute."""
_MEMORY_BYTES = 3 * 1024**3
"""Of address space, which the libraries take a part of."""
_IDLE_SECONDS = 10.0


def reader(kind: str) -> Callable[[bytes, str], Table]:
    """Reads documents of a kind of `engine.data.parser.KINDS`; raises DataError for broken and for slow ones."""

    def read(data: bytes, name: str) -> Table:
        pieces: list[tuple[str, str]] = []
        notices: list[str] = []
        try:
            for item in items({"kind": kind}, data, name, SECONDS):
                pieces += zip(item["places"], item["texts"], strict=True)
                notices += item["notices"]
        except TooSlow:
            raise DataError(
                f"{name} can't be read: it takes longer than {SECONDS / 60:.0f} minutes.",
                "Split it into several files, or export its text.",
            ) from None
        return documents.table(pieces, name, notices)

    return read


def items(request: dict[str, Any], data: bytes, name: str, seconds: float) -> Iterator[dict[str, Any]]:
    """What the process says of a file, item by item. Raises DataError, and TooSlow for one that takes `seconds`."""
    # A name with a dot is never served from the folder of temporary files.
    with tempfile.NamedTemporaryFile(prefix=".document-", delete=False) as file:
        path = file.name
    try:
        Path(path).write_bytes(data)
        yield from _child().stream({**request, "path": path, "name": name}, seconds)
    except (Died, OutOfMemory):
        raise DataError(
            f"{name} can't be read: it needs too much memory or time.", "Save it again, or split it into parts."
        ) from None
    finally:
        Path(path).unlink()


@cache
def _child() -> Child:
    return Child(Settings("engine.data.parser", _IDLE_SECONDS, _MEMORY_BYTES, int(PDF_SECONDS) + 30, 1))
