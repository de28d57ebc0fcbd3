"""Settings under a name, to be used again with other data: `presets/<owner>/NAME.yaml` in the home.

A preset is the plain sections of a spec, all but its data and its name.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from engine import home
from engine.errors import MachineError, SettingError, UserError
from engine.specs.spec import RunSpec

LONGEST_NAME = 60
MOST = 100
"""Presets of one owner."""
_NAME = re.compile(r"\w[\w .+-]*")
_NOT_A_FILE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""
_LEFT_OUT = ("name", "data")


@dataclass(frozen=True)
class Preset:
    name: str
    saved: float
    """Seconds since 1970."""
    settings: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """What a list shows of it."""
        parts = {"model": "id", "objective": "name", "tuner": "name"}
        found = {part: self.settings.get(part) for part in parts}
        short = {part: str(value.get(parts[part], "")) for part, value in found.items() if isinstance(value, dict)}
        return {"name": self.name, "saved": self.saved, **dict.fromkeys(parts, ""), **short}


def save(owner: str, name: str, spec: RunSpec) -> Preset:
    """Keep the settings of a spec; a preset of that name is replaced. Raises SettingError for a name that can't be."""
    path = _path(owner, checked(name))
    settings = {part: value for part, value in spec.as_dict().items() if part not in _LEFT_OUT}
    others = [known for known in _files(owner) if known.name.casefold() != path.name.casefold()]
    if len(others) >= MOST:
        raise SettingError([f"There are {MOST} presets already."], "Delete one that you don't need.")
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
        # Where capitals make no difference to the system they make none here either.
        for known in set(_files(owner)) - set(others):
            known.unlink()
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise MachineError(
            f"The preset can't be written: {error.strerror or error}.", "Make room, then try again."
        ) from None
    return _read(path)


def load(owner: str, name: str) -> dict[str, Any]:
    """The plain sections of a preset. Raises UserError where there is none, or it was damaged."""
    return _read(_known(owner, name)).settings


def listed(owner: str) -> list[Preset]:
    """Presets of one owner, by name; those that were damaged are left out."""
    found = []
    for path in _files(owner):
        try:
            found.append(_read(path))
        except UserError:
            continue
    return sorted(found, key=lambda preset: preset.name.casefold())


def delete(owner: str, name: str) -> None:
    _known(owner, name).unlink(missing_ok=True)


def forget(owner: str) -> None:
    """Remove all presets of an owner."""
    shutil.rmtree(_folder(owner), ignore_errors=True)


def sweep(keeps: str, oldest: float) -> None:
    """Remove presets of everybody but `keeps` that were saved before `oldest` (seconds since 1970)."""
    for path in (home.home() / "presets").glob("*/*.yaml"):
        try:
            if path.parent.name != keeps and path.stat().st_mtime < oldest:
                path.unlink()
                path.parent.rmdir()  # does nothing while something is in it
        except OSError:
            continue


def checked(name: str) -> str:
    """A name that can be a file's, on every system. Raises SettingError."""
    said = " ".join(str(name).split())
    if not said:
        raise SettingError(["The preset has no name."], "Give it one.")
    if len(said) > LONGEST_NAME:
        raise SettingError([f"The name has {len(said)} letters; at most {LONGEST_NAME} fit."], "Choose a shorter one.")
    if not _NAME.fullmatch(said) or said.endswith(".") or _NOT_A_FILE.fullmatch(said):
        raise SettingError(
            [f"A preset can't be called {said}."], "Use letters, digits, spaces and . + - _, beginning with a letter."
        )
    return said


def _folder(owner: str) -> Path:
    return home.home() / "presets" / owner


def _path(owner: str, name: str) -> Path:
    return _folder(owner) / f"{name}.yaml"


def _files(owner: str) -> list[Path]:
    return [path for path in _folder(owner).glob("*.yaml") if not path.name.startswith(".")]


def _known(owner: str, name: str) -> Path:
    try:
        wanted = f"{checked(name)}.yaml".casefold()
    except SettingError:
        wanted = ""
    found = next((path for path in _files(owner) if path.name.casefold() == wanted), None)
    if found is None:
        raise UserError(f"There is no preset {str(name)[:LONGEST_NAME]!r}.", "Choose one from the list of presets.")
    return found


def _read(path: Path) -> Preset:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        saved = path.stat().st_mtime
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        settings, saved = None, 0.0
    if not isinstance(settings, dict):
        raise UserError(f"The preset {path.stem!r} can't be read.", "Delete it, and save it again from a run.")
    return Preset(path.stem, saved, {part: value for part, value in settings.items() if part not in _LEFT_OUT})
