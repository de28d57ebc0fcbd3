"""A finished run's result in other forms: a zip, the standalone script with its data, merged weights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from engine.bases import access
from engine.bases.parts import BASE, READ, START
from engine.errors import MachineError, RunError, UserError
from engine.home import CHECKOUT

FORMATS = ("zip", "script", "merged")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def export(run_folder: Path, kind: str, to: Path) -> Path:
    """Write the result of a run to `to`: a .zip file, or a folder that is empty or not there yet.

    zip: the result folder. script: train.py with the rows and the tokenizer. merged: full weights that load
    without PEFT. Raises RunError where there is no result, UserError where `to` can't take it.
    """
    result = run_folder / "model"
    if not result.is_dir():
        raise RunError(f"Run {run_folder.name} has no result yet.", "Wait until it has finished, or resume it.")
    to = to.expanduser().resolve()
    if kind == "zip":
        return _zip(result, to if to.suffix == ".zip" else to.with_name(to.name + ".zip"))
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"{to} is there already and holds something.", "Name a new or an empty folder.")
    try:
        to.mkdir(parents=True, exist_ok=True)
        return _script(run_folder, result, to) if kind == "script" else _merged(run_folder, to)
    except OSError as error:
        raise MachineError(f"{to} can't be written: {error.strerror or error}.", "Choose another place.") from None


def as_base(run_folder: Path, to: Path) -> None:
    """Write the model that a run left as one that others can learn on: in the format of its base's weights.

    to: a folder that is not there yet. Raises UserError where the tuner's result can't become part of its base.
    """
    to.mkdir(parents=True)
    _merged(run_folder, to, "base")


def _zip(result: Path, to: Path) -> Path:
    if to.exists():
        raise UserError(f"{to} is there already.", "Name another file.")
    partial = to.with_name(f".{to.name}.partial")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        # Weights don't compress; storing them is ten times faster.
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(result.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(result))
        partial.replace(to)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise MachineError(
            f"{to} can't be written: {error.strerror or error}.", "Make room or choose another place."
        ) from None
    return to


def _script(run_folder: Path, result: Path, to: Path) -> Path:
    for name in ("train.py", *TOKENIZER_FILES):
        if (result / name).exists():
            shutil.copyfile(result / name, to / name)
    made = next((place / BASE for place in (result, run_folder) if (place / BASE).is_dir()), None)
    if made is not None:
        shutil.copytree(made, to / BASE)
    if (result / START).is_dir():
        shutil.copytree(result / START, to / START)
    read = run_folder / READ
    shutil.copyfile(read if read.exists() else run_folder / "examples.jsonl", to / "examples.jsonl")
    return to


def _merged(run_folder: Path, to: Path, form: str = "export") -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "engine.compute.merge"],
        input=json.dumps({"run": str(run_folder), "to": str(to), "form": form}),
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env=access.environment(),
        check=False,
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or [""]
        raise RunError(
            f"Merging broke (exit code {done.returncode}): {last[0]}", "Look whether memory and disk have room."
        ) from None
    if "problem" in answer:
        raise UserError(answer["problem"], answer["fix"])
    return to
