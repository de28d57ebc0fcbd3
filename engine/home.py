"""Where things lie on disk.

Home (TUNESMITH_HOME, by default the checkout) holds what belongs to people: `runs/` and `files/`.
The cache (TUNESMITH_CACHE, by default the user's cache folder) holds what can be made again: converted models.
"""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def home() -> Path:
    return _made(Path(os.environ.get("TUNESMITH_HOME") or CHECKOUT).expanduser().resolve())


def runs() -> Path:
    return _made(home() / "runs")


def files(owner: str) -> Path:
    """The folder of one owner's uploads."""
    return _made(home() / "files" / owner)


def cache() -> Path:
    base = os.environ.get("TUNESMITH_CACHE")
    if base:
        return _made(Path(base).expanduser().resolve())
    return _made(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "tunesmith")


def samples() -> Path:
    """Data sets that ship with the project."""
    return CHECKOUT / "samples"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
