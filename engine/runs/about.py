"""What is said of a run in a few words: by its spec, and by its person (name, note, tags)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import SettingError, UserError

if TYPE_CHECKING:  # a supervisor has no use for what it loads
    from engine.specs.spec import RunSpec

LONGEST_NAME, LONGEST_NOTE, LONGEST_TAG, MOST_TAGS = 80, 4000, 30, 12
"""Letters of what a person says of a run; how many tags it may have."""


@dataclass(frozen=True)
class About:
    """Empty where the spec can't be read."""

    model: str = ""
    objective: str = ""
    tuner: str = ""
    data: str = ""
    """Names of files and data sets, without their places."""


def of(spec: RunSpec) -> About:
    first, *more = [_source(entry.source) for entry in spec.data]
    data = f"{first} and {len(more)} more" if more else first
    return About(_source(spec.model.id), spec.objective.name, spec.tuner.name, data)


def read(spec: Path) -> About:
    """From a spec's file."""
    try:
        return _read_at(spec, spec.stat().st_mtime_ns)
    except (OSError, UserError):
        return About()


def checked(name: str | None, note: str | None, tags: Sequence[str] | None) -> dict[str, Any]:
    """What a person says, in order; parts that are None are left out. Raises SettingError for what does not fit."""
    parts: dict[str, Callable[[], Any]] = {}
    if name is not None:
        parts["name"] = lambda: _name(name)
    if note is not None:
        parts["note"] = lambda: _note(note)
    if tags is not None:
        parts["tags"] = lambda: _tags(tags)
    found, problems = {}, []
    for part, check in parts.items():
        try:
            found[part] = check()
        except SettingError as error:
            problems += error.problems
    if problems:
        raise SettingError(problems, "Change that and try again.")
    return found


@lru_cache(maxsize=4096)
def _read_at(path: Path, changed: int) -> About:
    from engine.specs.spec import RunSpec

    return of(RunSpec.load(path))


def _source(name: str) -> str:
    """A file or folder by its name alone; ids of the Hub and of samples as they are."""
    place = Path(name)
    return place.name if place.is_absolute() or name.startswith("~") else name


def _name(name: str) -> str:
    said = " ".join(name.split())
    if not said:
        raise SettingError(["The name is empty."])
    if len(said) > LONGEST_NAME:
        raise SettingError([f"The name has {len(said)} letters; at most {LONGEST_NAME} fit."])
    return said


def _note(note: str) -> str:
    said = note.strip()
    if len(said) > LONGEST_NOTE:
        raise SettingError([f"The note has {len(said):,} letters; at most {LONGEST_NOTE:,} fit."])
    return said


def _tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Each once, however it is written."""
    written: dict[str, str] = {}
    for tag in (" ".join(given.split()) for given in tags):
        if tag:
            written.setdefault(tag.casefold(), tag)
    found = list(written.values())
    problems = [
        f"The tag {tag[:LONGEST_TAG]}… has {len(tag)} letters; at most {LONGEST_TAG} fit."
        for tag in found
        if len(tag) > LONGEST_TAG
    ]
    problems += [f"The tag {tag} has a comma, which stands between tags." for tag in found if "," in tag]
    if len(found) > MOST_TAGS:
        problems.append(f"{len(found)} tags are too many; a run may have {MOST_TAGS}.")
    if problems:
        raise SettingError(problems)
    return tuple(found)
