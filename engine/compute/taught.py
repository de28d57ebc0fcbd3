"""What a teacher finds likeliest, written down once: its k largest log-probabilities at each learned position.

Beside them stands that of all other words together, so that a divergence goes over k + 1 buckets: of what the teacher
says of the others, only how likely they are in all is kept. A file holds some rows and takes its name when it is whole,
so that a run that was ended goes on with the next one.
"""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.compute import allocator, distillation
from engine.compute.divergence import largest
from engine.compute.language import LearnedLogits, padded
from engine.compute.precision import autocast
from engine.errors import MachineError
from engine.files import read_json, sync_folder, write_json
from engine.methods.job import Job, Report

FOLDER = "teacher"
ABOUT = "about.json"
ROWS_A_FILE = 256
ROWS_AT_A_TIME = 16
SPARE = 50_000_000
"""Bytes of disk that stay free."""


def key(ids: Sequence[int], labels: Sequence[int]) -> int:
    """A row by its content, as a number: equal rows are taught alike."""
    written = np.asarray([*ids, -1, *labels], dtype=np.int64).tobytes()
    return int.from_bytes(hashlib.sha256(written).digest()[:8], "big") >> 1


def write(job: Job, settings: Any, report: Report) -> None:
    """Let the teacher read all rows that are learned from or watched; it is gone again afterwards.

    Raises MachineError where the disk has no room.
    """
    place = job.folder / FOLDER
    rows = _rows(job)
    about = {
        "teacher": settings.found.facts.id,
        "words": settings.found.words,
        "k": settings.top_k,
        "temperature": settings.temperature,
        "rows": f"{key([row['taught'] for row in rows], []):x}",
    }
    if read_json(place / ABOUT) != about:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        write_json(place / ABOUT, about)
    parts = [rows[start : start + ROWS_A_FILE] for start in range(0, len(rows), ROWS_A_FILE)]
    missing = [number for number in range(len(parts)) if not (place / _name(number)).exists()]
    if not missing:
        return
    _require_disk(place, [row for number in missing for row in parts[number]], settings.top_k)
    done = len(rows) - sum(len(parts[number]) for number in missing)
    report(done, len(rows))
    teacher, scores = distillation.load(job, settings.found), LearnedLogits()
    for number in missing:
        _keep(place / _name(number), _read(job, settings, teacher, scores, parts[number]))
        done += len(parts[number])
        report(done, len(rows))
    del teacher, scores
    gc.collect()
    allocator.trim()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Taught:
    """What was written, by row. Files stay on the disk and are looked into."""

    def __init__(self, folder: Path, k: int) -> None:
        self._k = k
        self._found: dict[int, tuple[Any, Any]] = {}
        for file in sorted((folder / FOLDER).glob("[0-9]*.npy")):
            table = np.load(file, mmap_mode="r")
            ends = np.flatnonzero(np.diff(table["row"], append=-1)) + 1
            for begin, end in zip([0, *ends], ends, strict=False):
                self._found[int(table["row"][begin])] = (table["words"][begin:end], table["logs"][begin:end])

    def of(self, keys: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Of some rows, one after another: words (positions, k), and logarithms of these and the others (…, k + 1)."""
        found = [self._found[one] for one in keys if one in self._found]  # of some, nothing is learned
        words = np.concatenate([np.empty((0, self._k), np.int64), *(words for words, _ in found)])
        logs = np.concatenate([np.empty((0, self._k + 1), np.float32), *(logs for _, logs in found)])
        return torch.from_numpy(words), torch.from_numpy(logs)


def _rows(job: Job) -> list[dict[str, Any]]:
    """All rows that training meets, each once."""
    found: dict[int, dict[str, Any]] = {}
    for split in ("train", "validation"):
        for example, encoded in zip(job.examples[split], job.encoded[split], strict=True):
            row = job.objective.row(job, example, encoded)
            found.setdefault(row["taught"], row)
    return list(found.values())


def _read(job: Job, settings: Any, teacher: Any, scores: LearnedLogits, rows: list[dict[str, Any]]) -> Any:
    """The table of some rows: which row, words and log-probabilities of each learned position."""
    k = settings.top_k
    kind = np.dtype([("row", np.int64), ("words", np.int32, (k,)), ("logs", np.float32, (k + 1,))])
    parts = []
    order = sorted(rows, key=lambda row: len(row["input_ids"]))
    for start in range(0, len(order), ROWS_AT_A_TIME):
        some = order[start : start + ROWS_AT_A_TIME]
        inputs = {name: value.to(job.plan.device) for name, value in padded(some, job.tokens.pad_id or 0).items()}
        with torch.no_grad(), autocast(job.plan):
            logits = scores(teacher, inputs)
            words, logs = largest(logits, settings.found.words, settings.temperature, k)
        table = np.empty(len(words), dtype=kind)
        counts = [sum(label != -100 for label in row["labels"][1:]) for row in some]
        table["row"] = np.repeat([row["taught"] for row in some], counts)
        table["words"], table["logs"] = words.cpu().numpy(), logs.cpu().numpy()
        parts.append(table)
    return np.concatenate(parts)


def _keep(file: Path, table: Any) -> None:
    partial = file.with_name(f".{file.name}")
    with open(partial, "wb") as stream:
        np.save(stream, table)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)
    sync_folder(file.parent)


def _name(number: int) -> str:
    return f"{number:06d}.npy"


def _require_disk(place: Path, rows: list[dict[str, Any]], k: int) -> None:
    positions = sum(label != -100 for row in rows for label in row["labels"][1:])
    needed, free = positions * (8 * k + 12) + SPARE, shutil.disk_usage(place).free
    if free < needed:
        raise MachineError(
            f"What the teacher says takes {needed / 1e6:,.0f} MB of disk; {free / 1e6:,.0f} MB are free.",
            "Make room, or keep fewer words (objective.top_k).",
        )
