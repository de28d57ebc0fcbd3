"""Checkpoints that are whole or don't count. No torch here.

A checkpoint is a folder `step-N`. Its manifest, written last, holds size and sha256 of every other file;
without it, or where a file differs from it, the folder is passed over.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

from engine.files import read_json, sync_folder, write_json

MANIFEST = "manifest.json"
_NAME = re.compile(r"step-(\d+)")


def commit(folder: Path, facts: dict[str, Any]) -> None:
    """Declare a folder whole: all its files are brought to the disk, then the manifest is written.

    Checkpoints of later steps don't count from then on: the run was taken up before them, since they were damaged.
    """
    files = {}
    for file in _files(folder):
        with open(file, "rb+") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
            os.fsync(opened.fileno())
        files[file.name] = {"bytes": file.stat().st_size, "sha256": digest}
    sync_folder(folder)
    write_json(folder / MANIFEST, {"facts": facts, "files": files})
    sync_folder(folder.parent)
    for other in _checkpoints(folder.parent):
        if _step(other) > _step(folder):
            (other / MANIFEST).unlink(missing_ok=True)


def facts(folder: Path) -> dict[str, Any]:
    """What was committed with a checkpoint (step, seconds, …)."""
    manifest = read_json(folder / MANIFEST) or {}
    return dict(manifest.get("facts", {}))


def verify(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None where it is whole."""
    if not (folder / MANIFEST).exists():
        return f"{folder.name} was not finished (no manifest)."
    manifest = read_json(folder / MANIFEST) or {}
    try:
        known = {str(name): (int(file["bytes"]), str(file["sha256"])) for name, file in manifest["files"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return f"{MANIFEST} in {folder.name} is damaged."
    for name, (size, digest) in known.items():
        file = folder / name
        try:
            if file.stat().st_size != size:
                return f"{name} in {folder.name} has {file.stat().st_size:,} bytes, not {size:,}."
            with open(file, "rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != digest:
                    return f"{name} in {folder.name} was changed or damaged."
        except FileNotFoundError:
            return f"{folder.name} lacks {name}."
        except OSError as error:
            return f"{name} in {folder.name} can't be read: {error.strerror}."
    return None


def newest_whole(parent: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole, and what is wrong with the newer ones."""
    skipped: list[str] = []
    for folder in reversed(_checkpoints(parent)):
        problem = verify(folder)
        if problem is None:
            return folder, skipped
        skipped.append(problem)
    return None, skipped


def newest_step(parent: Path) -> int:
    """The step of the newest committed checkpoint, unverified; 0 where there is none."""
    return max((_step(folder) for folder in _committed(parent)), default=0)


def count(parent: Path) -> int:
    """How many committed checkpoints there are."""
    return len(_committed(parent))


def rotate(parent: Path, keep: int, best: str | None) -> None:
    """Remove all but the newest `keep` committed checkpoints and the one named `best`, and what was never finished."""
    wanted = {folder.name for folder in _committed(parent)[-keep:]} | {best}
    for folder in _checkpoints(parent):
        if folder.name not in wanted:
            (folder / MANIFEST).unlink(missing_ok=True)  # first, so that a half-removed folder is no checkpoint
            shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Remove what was never finished, to make room. Not while a worker may be saving."""
    for folder in set(_checkpoints(parent)) - set(_committed(parent)):
        shutil.rmtree(folder, ignore_errors=True)


def _committed(parent: Path) -> list[Path]:
    return [folder for folder in _checkpoints(parent) if (folder / MANIFEST).exists()]


def _checkpoints(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted((folder for folder in parent.iterdir() if _NAME.fullmatch(folder.name)), key=_step)


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and file.name != MANIFEST)
