"""The process that takes documents apart; `engine.data.apart` asks it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import children
from engine.data import epub, markup, pdf_pages, word
from engine.data.rows import Table
from engine.errors import DataError

KINDS: dict[str, Callable[[bytes, str], Table]] = {
    "html": lambda data, name: markup.read(data.decode("utf-8", "surrogatepass"), name),
    "docx": word.read,
    "epub": epub.read,
}
_ROWS_AT_ONCE = 10_000


def handle(request: dict[str, Any], send: Callable[[Any], None], cancelled: Callable[[], bool]) -> None:
    """Sends pages of a PDF as `pdf_pages` does; of other kinds places and texts, and notices with the first of them."""
    name, data = request["name"], Path(request["path"]).read_bytes()
    try:
        if request["kind"] == "pdf":
            pdf_pages.read(data, request, send, cancelled)
            return
        table = KINDS[request["kind"]](data, name)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # A broken file can make a parser raise nearly every kind.
        traceback.print_exc()
        raise DataError(f"{name} can't be read: {error}.", "Save or get it again.") from None
    notices = table.notices
    for start in range(0, len(table.rows), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        send({"places": table.places[rows], "texts": [row["text"] for row in table.rows[rows]], "notices": notices})
        notices = []


if __name__ == "__main__":
    children.serve(handle)
