"""Every tuner with its recommended settings, on two real models: `python -m benchmarks.methods`.

MiniLM learns 77 intents of a bank's customers from 8 messages each (classify, three seeds); SmolLM2-135M learns the
demo (chat, one seed). Each run is a worker of its own. A finished run is a line of `benchmarks/results/methods.jsonl`,
and what stands there already is not run again, so that a broken run of this script goes on where it stopped. The table
of `docs/methods.md` is made from these lines by `docs/generate.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, keep
from engine import demo, models, tuners
from engine.data.prepare import prepare
from engine.errors import UserError
from engine.events import Failed, Finished
from engine.home import CHECKOUT
from engine.jobs import require_pair
from engine.runs import store
from engine.spec import RunSpec

NAME = "methods"
SLICE = Path(__file__).parent / "data" / "banking77-slice.csv"
SEEDS = (1, 2, 3)
NEEDED = {"trainable-tokens": {"tokens": "card money account transfer cash"}}
"""Settings without which a tuner does nothing."""
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "passive"}


@dataclass(frozen=True)
class Task:
    name: str
    seeds: tuple[int, ...]

    def spec(self, tuner: str, seed: int) -> RunSpec:
        """What is run; the seed decides on the split, too."""
        chosen = {"name": tuner, **NEEDED.get(tuner, {})}
        if self.name == "smollm2-135m":
            return RunSpec.parse({**demo.spec().as_dict(), "tuner": chosen})
        return RunSpec.parse(
            {
                "model": {"id": "embedded:minilm"},
                "data": [{"source": str(SLICE), "split": {"test_rows": 385, "validation_rows": 154}}],
                "objective": "classify",
                "tuner": chosen,
                "training": {"epochs": 5, "batch_size": 8, "max_tokens": 64, "seed": seed},
                "evaluation": {"before": False, "max_rows": 385},
            }
        )


TASKS = {task.name: task for task in (Task("minilm", SEEDS), Task("smollm2-135m", (42,)))}


def main() -> int:
    parser = argparse.ArgumentParser(description="Every tuner on two real models; finished rows are kept.")
    parser.add_argument("--task", choices=TASKS, action="append", help="only this one")
    parser.add_argument("--tuner", action="append", help="only this one")
    parser.add_argument("--minutes", type=float, default=180, help="begin no run after so long")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    for task, tuner, seed in wanted(options.task or list(TASKS), options.tuner):
        if time.monotonic() > end:
            print("Time is up; the next start goes on here.")
            break
        found = measured(TASKS[task], tuner, seed)
        keep(NAME, {"task": task, "tuner": tuner, "seed": seed, **found})
        print(json.dumps({"task": task, "tuner": tuner, "seed": seed, **found}), flush=True)
    return 0


def wanted(tasks: list[str], only: list[str] | None) -> Iterator[tuple[str, str, int]]:
    """Task, tuner and seed of what is not there yet: each tuner once before any a second time."""
    there = {(row["task"], row["tuner"], row["seed"]) for row in rows()}
    names = [tuner.name for tuner in tuners.all() if not only or tuner.name in only]
    for turn in range(max(len(TASKS[task].seeds) for task in tasks)):
        for task in tasks:
            for tuner in names if turn < len(TASKS[task].seeds) else ():
                one = (task, tuner, TASKS[task].seeds[turn])
                if one not in there:
                    yield one


def rows() -> list[dict[str, Any]]:
    """What was measured so far."""
    file = RESULTS / f"{NAME}.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def measured(task: Task, tuner: str, seed: int) -> dict[str, Any]:
    """One run: its main score with the interval, share of weights, seconds, bytes; or why there is none."""
    spec = task.spec(tuner, seed)
    try:
        require_pair(spec, models.facts(spec.model))
    except UserError as error:
        return {"refused": error.problem}
    with tempfile.TemporaryDirectory(prefix="tunesmith-benchmark-") as home:
        os.environ["TUNESMITH_HOME"] = home
        run = store.create(spec, prepare(spec.data, spec.objective.wants, spec.training.seed))
        command = [sys.executable, "-m", "engine.runs.worker", str(run.folder)]
        environment = {**ENVIRONMENT, "TUNESMITH_HOME": home}
        subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, check=False)
        for event in reversed(run.last_events()):
            if isinstance(event, Finished):
                return _figures(event)
            if isinstance(event, Failed):
                return {"failed": event.problem}
    return {"failed": "The worker said nothing."}


def _figures(done: Finished) -> dict[str, Any]:
    main, after = done.metrics["main"], done.metrics["after"]
    return {
        "measure": main,
        "score": round(after[main], 4),
        "low": round(after[f"{main}_low"], 4),
        "high": round(after[f"{main}_high"], 4),
        "rows": done.metrics["rows"],
        "trainable": done.trainable_parameters,
        "total": done.total_parameters,
        "seconds": done.seconds,
        "peak_memory_bytes": done.peak_memory_bytes,
        "artifact_bytes": done.artifact_bytes,
    }


if __name__ == "__main__":
    sys.exit(main())
