"""Vectors that a frozen model made of texts, kept in the cache's folder `features` so that no text is read twice.

One database for each owner, model, reading and number format, with a vector for each row's tokens. A run's folder says
which of them it used; deleting the run deletes those that no other one used (`forget`). Without that they go when
nobody used them for a week, and the longest unused ones where all take more than `MOST_BYTES`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine import home
from engine.files import read_json, write_json

if TYPE_CHECKING:  # whoever deletes a run has no use for it
    import numpy as np

MOST_BYTES = 2_000_000_000
MOST_AGE_S = 7 * 24 * 3600
FOLDER = "features"
USED_FILE = "features.json"
"""In a run's folder: the database that it used, and the keys of its rows there."""


class Store:
    """Vectors by the tokens they were made from. Where the disk does not take them it only remembers nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        """Why nothing is kept, where that is so."""
        self._rows: sqlite3.Connection | None = None
        try:
            self._rows = self._opened()
        except (sqlite3.DatabaseError, OSError):
            try:
                path.unlink(missing_ok=True)  # damaged: what it held is computed again
                self._rows = self._opened()
            except (sqlite3.Error, OSError) as error:
                self.problem = str(error)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        if self._rows is not None:
            self._rows.close()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        import numpy as np

        if self._rows is None:
            return {}
        wanted = set(keys)
        found = self._rows.execute("SELECT key, vector FROM vectors")
        return {key: np.frombuffer(vector, dtype="<f4") for key, vector in found if key in wanted}

    def put(self, vectors: dict[bytes, np.ndarray]) -> None:
        if self._rows is None or self.bytes > MOST_BYTES:
            return
        records = [(key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()]
        try:
            with self._rows:
                self._rows.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", records)
        except sqlite3.Error as error:
            self.problem = str(error)

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _opened(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = sqlite3.connect(self.path, timeout=30)
        rows.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB)")
        self.path.touch()  # its time says when it was last used
        return rows


def trim(used: Path) -> None:
    """Delete what was not used for long, and the longest unused where all take too much; never `used`."""
    others = [(file.stat(), file) for file in used.parent.glob("*.sqlite") if file != used]
    left = MOST_BYTES - (used.stat().st_size if used.exists() else 0)
    for facts, file in sorted(others, key=lambda item: -item[0].st_mtime):
        left -= facts.st_size
        if left < 0 or time.time() - facts.st_mtime > MOST_AGE_S:
            file.unlink(missing_ok=True)


def note(run_folder: Path, store: Path, keys: Iterable[bytes]) -> None:
    """Write down that a run uses these vectors. To be done before they are put into the store."""
    used = {"store": store.name, "keys": sorted({key.hex() for key in keys})}
    write_json(run_folder / USED_FILE, used)


def forget(run_folder: Path, others: Iterable[Path]) -> None:
    """Delete the vectors that a run used and none of the other runs, whose folders are given."""
    used = read_json(run_folder / USED_FILE)
    if used is None:
        return
    store = home.cache() / FOLDER / Path(used["store"]).name
    if not store.is_file():
        return
    mine = set(used["keys"])
    for folder in others:
        theirs = read_json(folder / USED_FILE) or {}
        if theirs.get("store") == store.name:
            mine -= set(theirs["keys"])
    try:
        left = _without(store, [bytes.fromhex(key) for key in mine])
    except sqlite3.Error:
        left = 0  # damaged: nobody can use it
    if not left:
        store.unlink(missing_ok=True)


def _without(store: Path, keys: Sequence[bytes]) -> int:
    """Delete vectors so that no trace of them stays in the file; how many are left."""
    rows = sqlite3.connect(store, timeout=30)
    try:
        rows.execute("PRAGMA secure_delete = ON")
        with rows:
            rows.executemany("DELETE FROM vectors WHERE key = ?", [(key,) for key in keys])
        rows.execute("VACUUM")
        return int(rows.execute("SELECT COUNT(*) FROM vectors").fetchone()[0])
    finally:
        rows.close()
