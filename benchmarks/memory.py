"""Peak memory of real workers with every tuner, beside what was predicted: `python -m benchmarks.memory`.

MiniLM learns intents (classify), SmolLM2-135M answers with them (chat), for a few steps. Each run is a worker of its
own, its peak what that worker reports. A finished run is a line of `benchmarks/results/memory.jsonl`, with all that the
prediction follows from, so that `tests/engine/test_memory.py` predicts it again; what stands there is not run again.
Predictions in the table are today's, not those of the day on which the peak was measured.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.methods import NEEDED, SLICE
from benchmarks.record import RESULTS, keep
from engine import tuners
from engine.bases import models
from engine.data.prepare import prepare
from engine.errors import UserError
from engine.events import Failed, Finished
from engine.home import CHECKOUT
from engine.machine import Machine
from engine.planning import planner
from engine.planning.jobs import open_job, require_pair
from engine.planning.plan import MemoryPart
from engine.runs import store
from engine.specs.spec import RunSpec

NAME = "memory"
FILE = RESULTS / f"{NAME}.jsonl"
SCORED = 8
MOST_OFF = 0.15
"""How far a prediction may lie from the peak."""


@dataclass(frozen=True)
class Task:
    """What the rows are like. words: in a text."""

    objective: str
    batch: int
    words: int
    steps: int


TASKS = {"embedded:minilm": Task("classify", 16, 100, 12), "embedded:smollm2-135m": Task("chat", 4, 100, 6)}
FURTHER: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("embedded:minilm", {"name": "lora"}, {"precision": "float32"}),
    ("embedded:minilm", {"name": "full"}, {"precision": "float32"}),
    ("embedded:minilm", {"name": "adapter"}, {"precision": "float32"}),
    ("embedded:minilm", {"name": "oft"}, {"precision": "float32"}),
    ("embedded:minilm", {"name": "lora"}, {"checkpointing": "on"}),
    ("embedded:minilm", {"name": "full"}, {"micro_batch_size": 4}),
    ("embedded:minilm", {"name": "head"}, {"precision": "float32"}),
    ("embedded:smollm2-135m", {"name": "lora"}, {"precision": "float32"}),
    ("embedded:smollm2-135m", {"name": "lora"}, {"path": "generic"}),
    ("embedded:smollm2-135m", {"name": "lora"}, {"path": "generic", "precision": "float32"}),
    ("embedded:smollm2-135m", {"name": "lora"}, {"path": "generic", "checkpointing": "on"}),
    ("embedded:smollm2-135m", {"name": "full"}, {"precision": "float32"}),
    ("embedded:smollm2-135m", {"name": "adapter"}, {"precision": "float32"}),
    ("embedded:smollm2-135m", {"name": "dora"}, {"precision": "float32"}),
    ("embedded:smollm2-135m", {"name": "prefix"}, {"precision": "float32"}),
    ("embedded:smollm2-135m", {"name": "lora"}, {"checkpointing": "on"}),
    ("embedded:smollm2-135m", {"name": "full"}, {"micro_batch_size": 1}),
    ("embedded:smollm2-135m", {"name": "full"}, {"optimizer": "adamw-8bit"}),
)
"""Model, tuner and settings of the training besides each tuner as it is."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Peak memory of every tuner on two real models; finished rows stay.")
    parser.add_argument("--model", choices=TASKS, action="append", help="only this one")
    parser.add_argument("--tuner", action="append", help="only this one")
    parser.add_argument("--minutes", type=float, default=60, help="begin no run after so long")
    parser.add_argument("--table", action="store_true", help="measure nothing, show what is there")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    there = rows()
    for row in there:
        print(_line(row))
    for model, tuner, training in wanted(there, options.model, options.tuner) if not options.table else ():
        if time.monotonic() > end:
            print("Time is up; the next start goes on here.")
            break
        found = measured(model, tuner, training)
        keep(NAME, {"model": model, "tuner": tuner, "training": training, **found})
        print(_line({"model": model, "tuner": tuner, "training": training, **found}), flush=True)
    return 0


def wanted(
    there: list[dict[str, Any]], only_models: list[str] | None, only_tuners: list[str] | None
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Model, tuner and training settings of what is not there yet."""
    usual = [
        (model, {"name": tuner.name, **NEEDED.get(tuner.name, {})}, dict[str, Any]())
        for model in TASKS
        for tuner in tuners.all()
        if tuner.kind != "merge"  # nothing learns
    ]
    done = [(row["model"], row["tuner"], row["training"]) for row in there]
    for case in (*usual, *FURTHER):
        model, tuner, _ = case
        fits = (not only_models or model in only_models) and (not only_tuners or tuner["name"] in only_tuners)
        if fits and case not in done:
            yield case


def rows() -> list[dict[str, Any]]:
    """What was measured so far."""
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()] if FILE.exists() else []


def spec(model: str, tuner: dict[str, Any], training: dict[str, Any], source: str = "rows.csv") -> RunSpec:
    task = TASKS[model]
    return RunSpec.parse(
        {
            "model": {"id": model},
            "data": [{"source": source, "split": {"test_rows": SCORED, "validation_rows": 0, "validation": 0.0}}],
            "objective": task.objective,
            "tuner": tuner,
            "training": {"max_steps": task.steps, "batch_size": task.batch, "max_tokens": 512, "epochs": 100}
            | {"precision": "bfloat16"}
            | training,
            "evaluation": {"before": False, "max_rows": SCORED},
        }
    )


def measured(model: str, tuner: dict[str, Any], training: dict[str, Any]) -> dict[str, Any]:
    """One run: peak in bytes, and lengths of its longest rows, in tokens; or why there is none."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-benchmark-") as home:
        os.environ["TUNESMITH_HOME"] = home
        source = _written(Path(home) / "rows.csv", TASKS[model])
        chosen = spec(model, tuner, training, str(source))
        try:
            require_pair(chosen, models.facts(chosen.model))
        except UserError as error:
            return {"refused": error.problem}
        run = store.create(chosen, prepare(chosen.data, chosen.objective.wants, 1))
        encoded = open_job(run.folder, lambda text: None).encoded["train"]
        began = time.monotonic()
        command = [sys.executable, "-m", "engine.runs.worker", str(run.folder)]
        environment = {**os.environ, "TUNESMITH_HOME": home}
        subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, check=False)
        for event in reversed(run.last_events()):
            if isinstance(event, Finished):
                return {
                    "peak": event.peak_memory_bytes,
                    "lengths": _longest([len(row.ids) for row in encoded], model),
                    "learned": _longest([sum(row.learned) for row in encoded], model),
                    "rows": len(encoded),
                    "steps": TASKS[model].steps,
                    "seconds": round(time.monotonic() - began),
                }
            if isinstance(event, Failed):
                return {"failed": event.problem}
    return {"failed": "The worker said nothing."}


def predicted(row: dict[str, Any]) -> list[MemoryPart]:
    """Today's prediction for a row that was measured, by part."""
    roomy = Machine(
        device="cpu",
        cores=2,
        memory_total=10**12,
        memory_available=10**12,
        disk_free=10**12,
        cpu_bfloat16=True,
    )
    run = spec(row["model"], row["tuner"], row["training"])
    further = row["rows"] - len(row["lengths"])
    lengths, learned = ([*row[key], *[row[key][-1]] * further] for key in ("lengths", "learned"))
    return planner.make(run, models.facts(run.model), lengths, roomy, learned).memory


def error(row: dict[str, Any]) -> float:
    """How far the prediction lies above the peak, as a share of it."""
    return sum(part.bytes for part in predicted(row)) / row["peak"] - 1


def _longest(counts: list[int], model: str) -> list[int]:
    return sorted(counts, reverse=True)[: TASKS[model].batch]


def _written(file: Path, task: Task) -> Path:
    """Rows of so many words: customers' messages one after another, under labels by turns, which say nothing here."""
    with open(SLICE, encoding="utf-8", newline="") as lines:
        messages = iter(list(csv.DictReader(lines)))
    with open(file, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["text", "label"])
        for number, first in enumerate(messages):
            text = first["text"]
            for more in islice(messages, 20):
                if len(text.split()) >= task.words:
                    break
                text += " " + more["text"]
            writer.writerow([" ".join(text.split()[: task.words]), f"intent {number % 8}"])
    return file


def _line(row: dict[str, Any]) -> str:
    further = {key: value for key, value in row["tuner"].items() if key not in ("name", "tokens")} | row["training"]
    name = f"{row['model'].removeprefix('embedded:'):13} {row['tuner']['name']:16} {json.dumps(further):34}"
    if "peak" not in row:
        return f"{name} {row.get('refused') or row['failed']}"
    total = sum(part.bytes for part in predicted(row))
    told = f"predicted {total / 1e6:6.0f} MB  measured {row['peak'] / 1e6:6.0f} MB  {error(row):+6.1%}"
    return f"{name} {told}{'' if abs(error(row)) < MOST_OFF else '  off'}"


if __name__ == "__main__":
    sys.exit(main())
