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
    """Declare a folder whole: all its files are brought to the disk, then the manifest is written."""
    files = {}
    for file in _files(folder):
        with open(file, "rb+") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
            os.fsync(opened.fileno())
        files[file.name] = {"bytes": file.stat().st_size, "sha256": digest}
    sync_folder(folder)
    write_json(folder / MANIFEST, {"facts": facts, "files": files})
    sync_folder(folder.parent)


def facts(folder: Path) -> dict[str, Any]:
    """What was committed with a checkpoint (step, seconds, …)."""
    manifest = read_json(folder / MANIFEST) or {}
    return dict(manifest.get("facts", {}))


def verify(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None where it is whole."""
    manifest = read_json(folder / MANIFEST)
    if manifest is None or not isinstance(manifest.get("files"), dict):
        return f"{folder.name} was not finished (no manifest)."
    for name, known in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            return f"{folder.name} lacks {name}."
        if file.stat().st_size != known["bytes"]:
            return f"{name} in {folder.name} has {file.stat().st_size:,} bytes, not {known['bytes']:,}."
        with open(file, "rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != known["sha256"]:
                return f"{name} in {folder.name} was changed or damaged."
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
    steps = [_step(folder) for folder in _checkpoints(parent) if (folder / MANIFEST).exists()]
    return max(steps, default=0)


def rotate(parent: Path, keep: int, best: str | None) -> None:
    """Remove all but the newest `keep` committed checkpoints and the one named `best`, and what was never finished."""
    committed = [folder for folder in _checkpoints(parent) if (folder / MANIFEST).exists()]
    wanted = {folder.name for folder in committed[-keep:]} | {best}
    for folder in _checkpoints(parent):
        if folder.name not in wanted:
            (folder / MANIFEST).unlink(missing_ok=True)  # first, so that a half-removed folder is no checkpoint
            shutil.rmtree(folder, ignore_errors=True)


def _checkpoints(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted((folder for folder in parent.iterdir() if _NAME.fullmatch(folder.name)), key=_step)


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and file.name != MANIFEST)
