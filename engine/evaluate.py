"""Scores a finished run again, or its base model, in a child process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.bases import access
from engine.data import example as examples_file
from engine.data.prepare import prepare
from engine.errors import RunError, UserError
from engine.home import CHECKOUT
from engine.settings import parse
from engine.specs.sections import Data
from engine.specs.spec import RunSpec


def evaluate(
    run_folder: Path, data: str | None, base: bool, say: Callable[[str], None], task: int = 0
) -> dict[str, Any]:
    """Metrics on the run's held-out rows, or on all rows of `data`, which is read as the run's own data was.

    task: as which of the run's data sets the rows of `data` are read and answered, counted from 0.
    Returns {"metrics", "main", "rows"}; of a run that chooses labels also "by_label" (`engine.judging.by_label`), and
    "lines", the same for a terminal. Raises UserError where the run has no result or the data doesn't fit.
    """
    if not base and not (run_folder / "model").is_dir():
        raise RunError(f"Run {run_folder.name} has no result yet.", "Wait until it has finished, or resume it.")
    with tempfile.TemporaryDirectory() as temporary:
        request: dict[str, Any] = {"run": str(run_folder), "base": base, "rows": None}
        if data is not None:
            spec = RunSpec.load(run_folder / "spec.yaml")
            # Every row is scored, so none is held out from anything.
            entry = parse(
                Data, {**spec.data[task].model_dump(), "source": data, "split": {"test": 0, "validation": 0}}, "data"
            )
            kind = spec.objective.kind(spec.objective_settings)
            prepared = prepare([entry], spec.objective.wants, spec.training.seed, learn=False, kind=kind)
            prepared.require()
            for notice in prepared.notices:
                say(notice)
            request["rows"] = str(Path(temporary) / "rows.jsonl")
            before = spec.before()[task]
            rows = [replace(example, source=task, before=before) for example in prepared.examples]
            examples_file.save(rows, Path(request["rows"]))
        done = subprocess.run(
            [sys.executable, "-m", "engine.compute.evaluate"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            cwd=CHECKOUT,
            env=access.environment(),
            check=False,
        )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or [""]
        raise RunError(
            f"The scoring broke (exit code {done.returncode}): {last[0]}",
            "Look whether there is enough free memory, and try again.",
        ) from None
    if "problem" in answer:
        raise UserError(answer["problem"], answer["fix"])
    return answer
