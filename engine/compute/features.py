"""What a frozen model makes of each text, as a vector: computed once, and kept.

Kept in the cache's folder `features`, one database for each owner, model, reading and number format, a vector for each
row's tokens. Those that nobody used for a week are deleted, and the longest unused ones where all take more than
`MOST_BYTES`.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import transformers

from engine import home
from engine.compute.classifier import padded
from engine.compute.precision import autocast
from engine.files import read_json
from engine.job import Features, Job
from engine.pooling import Reading
from engine.tokens import Encoded

MOST_BYTES = 2_000_000_000
MOST_AGE_S = 7 * 24 * 3600
FOLDER = "features"


@dataclass(frozen=True)
class Progress:
    """How far the features are: rows done, of all; how many of them were kept from before."""

    done: int
    total: int
    kept: int


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


def compute(
    job: Job, features: Features, rows: Sequence[Encoded], reading: Reading, device: torch.device
) -> Iterator[Progress | np.ndarray]:
    """Progress batch by batch, at last the features: (rows, width), float32.

    What was computed before it is left off is kept.
    """
    keys = [_key(row) for row in rows]
    with Store(store_path(job, reading)) as store:
        found = store.get(keys)
        kept = sum(key in found for key in keys)
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in found}
        order = sorted(missing, key=lambda key: (len(missing[key].ids), key))
        count = dict.fromkeys(keys, 0)
        for key in keys:
            count[key] += 1
        done = kept
        yield Progress(done, len(rows), kept)
        for start in range(0, len(order), job.plan.micro_batch):
            chosen = order[start : start + job.plan.micro_batch]
            vectors = _read(job, features, [missing[key] for key in chosen], device)
            new = dict(zip(chosen, vectors, strict=True))
            store.put(new)
            found |= new
            done += sum(count[key] for key in chosen)
            yield Progress(done, len(rows), kept)
        trim(store.path)
    yield np.stack([found[key] for key in keys])


def store_path(job: Job, reading: Reading) -> Path:
    """Where a run's features are kept: no two owners share a place."""
    owner = (read_json(job.folder / "run.json") or {}).get("owner", "")
    made_by = {
        "owner": owner,
        "model": _identity(job.model_folder),
        "reading": asdict(reading),
        "formats": [job.plan.compute, job.plan.weights, job.plan.device],
        "libraries": [torch.__version__, transformers.__version__],
    }
    name = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:32]
    return home.cache() / FOLDER / f"{name}.sqlite"


def trim(used: Path) -> None:
    """Delete what was not used for long, and the longest unused where all take too much; never `used`."""
    others = [(file.stat(), file) for file in used.parent.glob("*.sqlite") if file != used]
    left = MOST_BYTES - (used.stat().st_size if used.exists() else 0)
    for facts, file in sorted(others, key=lambda item: -item[0].st_mtime):
        left -= facts.st_size
        if left < 0 or time.time() - facts.st_mtime > MOST_AGE_S:
            file.unlink(missing_ok=True)


def _read(job: Job, features: Features, rows: Sequence[Encoded], device: torch.device) -> np.ndarray:
    batch = padded([{"input_ids": row.ids, "labels": 0} for row in rows], job.tokens.pad_id or 0)
    with torch.no_grad(), autocast(job.plan):
        found = features(batch["input_ids"].to(device), batch["attention_mask"].to(device))
    return found.float().cpu().numpy()


def _key(row: Encoded) -> bytes:
    return hashlib.sha256(np.asarray(row.ids, dtype="<i4").tobytes()).digest()[:16]


def _identity(folder: Path) -> list[list[object]]:
    """What tells a model from another: its config, and place, size and time of its weights.

    In the Hub's cache a weight file's real place is named by its content.
    """
    config = hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    files = [file.resolve() for file in sorted(folder.glob("*.safetensors"))]
    return [[config], *([str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files)]
