"""A model that is another run's result ("run:ID"): what that run left, what it stands on, and both as one. No torch."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from engine import export, home
from engine.bases import parts
from engine.data.scale import Scale
from engine.errors import ModelError, UserError
from engine.files import read_json
from engine.settings import parse
from engine.specs.sections import Model

PREFIX = "run:"
WHOLE = ("model.safetensors", "model.safetensors.index.json")
MERGED = "merged"
MOST_ANCESTORS = 8
"""Runs that went on from another's result, one after another; more is a circle."""


@dataclass(frozen=True)
class Parent:
    """A finished run from whose result another goes on."""

    id: str
    folder: Path
    """Of the run."""
    model: Model
    """What it started from itself."""
    objective: str
    tuner: str
    tuner_settings: dict[str, Any]

    @property
    def called(self) -> str:
        """What it is called inside a sentence."""
        return f"run {self.id}"

    @property
    def result(self) -> Path:
        return self.folder / "model"

    @property
    def is_whole(self) -> bool:
        """Whether its result is a model by itself, and not something beside a base."""
        return any((self.result / name).exists() for name in WHOLE)


def is_run(id: str) -> bool:
    return id.strip().startswith(PREFIX)


def parent(id: str) -> Parent:
    """The run that "run:ID" names. Raises ModelError where there is none that finished."""
    run_id = id.strip().removeprefix(PREFIX)
    folder = home.runs() / run_id
    if not re.fullmatch(r"[\w-]+", run_id) or not (folder / "model").is_dir():
        raise ModelError(f"There is no finished run {run_id!r} on this machine.", "Take an id from the list of runs.")
    try:
        spec = yaml.safe_load((folder / "spec.yaml").read_text(encoding="utf-8"))
        tuner = dict(spec["tuner"])
        return Parent(
            run_id, folder, parse(Model, spec["model"], "model"), spec["objective"]["name"], tuner.pop("name"), tuner
        )
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError, UserError) as error:
        raise ModelError(f"The settings of run {run_id} can't be read: {error}.", "Start from another run.") from None


def line(model: Model) -> Iterator[Parent]:
    """The runs that a model comes from, the newest first. Raises ModelError where one is gone, or for a circle."""
    for _ in range(MOST_ANCESTORS):
        if not is_run(model.id):
            return
        found = parent(model.id)
        yield found
        model = found.model
    raise ModelError(
        f"{model.id} comes from more than {MOST_ANCESTORS} runs, one after another.", "Start from one before."
    )


def base(model: Model) -> Model:
    """What stands below all additions that went on learning: the model that the newest of them are added to."""
    for found in line(model):
        if not model.continued:
            break
        model = found.model
    return model


def labels(result: Path, kind: str = "one label") -> list[str] | None:
    """The classes that a result's head tells apart, where it has one that can go on learning and answers so."""
    try:
        found = json.loads((result / "classifier.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if "form" in found or found.get("kind", "one label") != kind:
        return None
    return [str(label) for label in found.get("labels", [])]


def heads(result: Path) -> list[int]:
    """How many labels each data set of a result has for itself; empty where all share them."""
    tasks = (read_json(result / "classifier.json") or {}).get("tasks") or []
    found = [int(task["labels"]) for task in tasks]
    return found if any(task["first"] for task in tasks) else []


def scale(result: Path) -> Scale | None:
    """Mean and deviation of the numbers that a result was trained on; None where it gives no numbers."""
    found = read_json(result / "classifier.json") or {}
    try:
        return Scale(float(found["mean"]), float(found["deviation"]))
    except (KeyError, TypeError, ValueError):
        return None


def head_learned(result: Path | None) -> bool:
    """Whether a result holds a head of its own that guesses hidden words, and learned with the rest."""
    return bool(result and (read_json(result / parts.MASKED_FILE) or {}).get("head_learned"))


def merged(found: Parent, report: Callable[[str], None]) -> Path:
    """A folder with the run's base and what it added as one model, made at the first call and kept with the run.

    Raises UserError where the tuner's result can't become part of its base.
    """
    folder, partial = found.folder / MERGED, found.folder / f".{MERGED}"
    with FileLock(found.folder / f".{MERGED}.lock"):
        if not folder.is_dir():
            report(f"Making one model of run {found.id} and the base that it stands on.")
            shutil.rmtree(partial, ignore_errors=True)
            export.as_base(found.folder, partial)
            partial.replace(folder)
    return folder
