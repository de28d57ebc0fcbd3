"""What a frozen model makes of each text, as a vector: computed once, and kept.

Where and how long they are kept: `engine.methods.vectors`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import transformers

from engine import home
from engine.compute.classifier import on_device, read_rows
from engine.compute.precision import autocast
from engine.files import read_json
from engine.methods import vectors
from engine.methods.job import Features, Job
from engine.methods.pooling import Reading
from engine.texts.tokens import Encoded


@dataclass(frozen=True)
class Progress:
    """How far the features are: rows done, of all; how many of them were kept from before."""

    done: int
    total: int
    kept: int


def compute(
    job: Job, features: Features, rows: Sequence[Encoded], reading: Reading, device: torch.device
) -> Iterator[Progress | np.ndarray]:
    """Progress batch by batch, at last the features: (rows, width), float32.

    What was computed before it is left off is kept.
    """
    keys = [_key(row) for row in rows]
    vectors.note(job.folder, store_path(job, reading), keys)
    with vectors.Store(store_path(job, reading)) as store:
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
            read = _read(job, features, [missing[key] for key in chosen], device)
            new = dict(zip(chosen, read, strict=True))
            store.put(new)
            found |= new
            done += sum(count[key] for key in chosen)
            yield Progress(done, len(rows), kept)
        vectors.trim(store.path)
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
    return home.cache() / vectors.FOLDER / f"{name}.sqlite"


def _read(job: Job, features: Features, rows: Sequence[Encoded], device: torch.device) -> np.ndarray:
    with torch.no_grad(), autocast(job.plan):
        found = features(*on_device(read_rows(job, rows), device))
    return found.float().cpu().numpy()


def _key(row: Encoded) -> bytes:
    return hashlib.sha256(np.asarray([*row.ids, *row.kinds], dtype="<i4").tobytes()).digest()[:16]


def _identity(folder: Path) -> list[list[object]]:
    """What tells a model from another: its config, and place, size and time of its weights.

    In the Hub's cache a weight file's real place is named by its content.
    """
    config = hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    files = [file.resolve() for file in sorted(folder.glob("*.safetensors"))]
    return [[config], *([str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files)]
