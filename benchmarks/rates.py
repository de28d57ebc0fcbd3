"""Which learning rate suits a tuner: `python -m benchmarks.rates --task minilm --tuner vera`.

Runs the task of `benchmarks.methods` with rates a factor of three apart and climbs to the one with the lowest held-out
loss: on validation rows alone, the test rows are never read. Each finished run is a line of
`benchmarks/results/rates.jsonl`. The base rates in `engine/tuners` were chosen with it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from typing import Any

from benchmarks import methods
from benchmarks.record import RESULTS, keep
from engine import tuners
from engine.bases import models
from engine.data.prepare import prepare
from engine.errors import UserError
from engine.events import Evaluation
from engine.planning.jobs import require_pair
from engine.runs import store, worker
from engine.specs.spec import RunSpec
from engine.waiting import wait_briefly

NAME = "rates"
SEED = 1
FACTOR = 3.0
VALIDATION_ROWS = 154
CHAT_EPOCHS = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description="Looks for the learning rate with the lowest loss on validation rows.")
    parser.add_argument("--task", choices=methods.TASKS, required=True)
    parser.add_argument("--tuner", action="append", help="only this one")
    parser.add_argument("--most", type=int, default=4, help="runs for each tuner")
    options = parser.parse_args()
    wait_briefly(os.environ)
    import peft  # noqa: F401 - loaded once, here; each run is a fork of this process
    import torch  # noqa: F401
    import transformers  # noqa: F401
    import trl  # noqa: F401

    for tuner in options.tuner or [tuner.name for tuner in tuners.all() if tuner.kind == "gradient"]:
        climb(options.task, tuner, options.most)
    return 0


def climb(task: str, tuner: str, most: int) -> None:
    """Try the base rate and its neighbours, and go on from the better one."""
    spec = spec_of(task, tuner)
    try:
        require_pair(spec, models.facts(spec.model))
    except UserError:
        return
    base = tuners.get(tuner).rate_with(spec.objective)
    losses: dict[int, float] = {}

    def loss(power: int) -> float:
        if power not in losses:
            losses[power] = tried(task, tuner, float(f"{base * FACTOR**power:.1g}"))
        return losses[power]

    place = 0
    for _ in range(most):
        near = [place, place + 1, place - 1]
        for power in near:
            if len(losses) < most or power in losses:
                loss(power)
        best = min(losses, key=lambda power: losses[power])
        if best == place:
            break
        place = best


def spec_of(task: str, tuner: str) -> RunSpec:
    """The task's run, scored on as good as nothing, with rows to watch."""
    spec = methods.TASKS[task].spec(tuner, SEED).as_dict()
    if methods.TASKS[task].chat:
        spec["data"][0]["split"]["validation_rows"] = VALIDATION_ROWS
        spec["training"]["epochs"] = CHAT_EPOCHS
    spec["evaluation"] = {"before": False, "max_rows": 1}
    return RunSpec.parse(spec)


def tried(task: str, tuner: str, rate: float) -> float:
    """The lowest held-out loss of a run with this rate, kept as a line; from the lines where it is there already."""
    for row in rows():
        if (row["task"], row["tuner"], row["rate"]) == (task, tuner, rate):
            return float(row["loss"])
    spec = spec_of(task, tuner).as_dict()
    spec["training"]["learning_rate"] = rate
    began = time.monotonic()
    losses = _losses(RunSpec.parse(spec))
    if not losses:
        raise SystemExit(f"{task} {tuner} {rate:g}: the run came to no held-out loss.")
    lowest = min(losses)
    batch_size = spec["training"]["batch_size"]
    keep(NAME, {"task": task, "tuner": tuner, "rate": rate, "batch_size": batch_size, "loss": round(lowest, 4)})
    told = ", ".join(f"{loss:.3f}" for loss in losses)
    print(f"{task} {tuner} {rate:g}: {told} ({time.monotonic() - began:.0f} s)", flush=True)
    return lowest


def rows() -> list[dict[str, Any]]:
    """What was tried so far."""
    file = RESULTS / f"{NAME}.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def _losses(spec: RunSpec) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="tunesmith-rates-") as home:
        os.environ["TUNESMITH_HOME"] = home
        run = store.create(spec, prepare(spec.data, spec.objective.wants, methods.SPLIT_SEED))
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os._exit(worker.main(run.folder))
        os.waitpid(child, 0)
        events, _ = run.events()
    return [event.metrics["loss"] for event in events if isinstance(event, Evaluation) and event.metrics.get("loss")]


if __name__ == "__main__":
    sys.exit(main())
