"""A prompt with label words beside classification heads on few rows: `python -m benchmarks.cloze`.

SmolLM2-135M learns labels from 8, 32 and 128 rows of each, in three ways on the same rows: `cloze` with LoRA,
`classify` with LoRA, and `classify` with the head on fixed features. By default the sample's 12 intents (which have 40
rows each to learn from, so that 128 means all of these); `--data FILE` takes texts and labels of one's own, such as SMS
and spam. The seed draws the rows; which ones are held out is the same for all. A finished run is a line of
`benchmarks/results/cloze.jsonl`, and what stands there already is not run again, so that a broken run of this script
goes on where it stopped. One run at a time, since times are kept, too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.record import keep, kept
from engine import objectives
from engine.data.prepare import prepare
from engine.events import Failed, Finished
from engine.home import CHECKOUT
from engine.runs import store
from engine.specs.spec import RunSpec

NAME = "cloze"
WAYS = (("cloze", "lora"), ("classify", "lora"), ("classify", "head"))
EPOCHS = {8: 10, 32: 4, 128: 2}
"""Rows of each label → passes: few rows need many."""
SEEDS = (1, 2, 3)
SPLIT_SEED = 1
SAMPLE = "sample:banking-intents"
HELD_OUT = 120
Case = tuple[str, int, int, str, str]
"""Data, rows of each label, seed, objective, tuner."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Label words beside heads on few rows; finished runs are kept.")
    parser.add_argument("--data", default=SAMPLE, help="texts with labels")
    parser.add_argument("--model", default="embedded:smollm2-135m")
    parser.add_argument("--rows", type=int, choices=EPOCHS, action="append", help="only so many of each label")
    parser.add_argument("--way", choices=[" ".join(way) for way in WAYS], action="append", help="only this one")
    parser.add_argument("--seed", type=int, action="append", help="only this one")
    parser.add_argument("--minutes", type=float, default=180, help="begin no run after so long")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    ways = [(goal, tuner) for goal, tuner in WAYS if not options.way or f"{goal} {tuner}" in options.way]
    for case in wanted(Path(options.data).name, options.model, options.rows, options.seed or list(SEEDS), ways):
        if time.monotonic() > end:
            print("Time is up; the next start goes on here.")
            break
        name, rows, seed, objective, tuner = case
        told = {"data": name, "model": options.model, "rows": rows, "seed": seed}
        row = {**told, "objective": objective, "tuner": tuner, **measured(options.data, options.model, case)}
        keep(NAME, row)
        print(json.dumps(row), flush=True)
    return 0


def wanted(
    data: str, model: str, rows: list[int] | None, seeds: list[int], ways: list[tuple[str, str]]
) -> Iterator[Case]:
    """What is not there yet: each way once before any a second time."""
    keys = ("data", "model", "rows", "seed", "objective", "tuner")
    there = {tuple(row[key] for key in keys) for row in kept(NAME)}
    for seed in seeds:
        for count in rows or EPOCHS:
            for objective, tuner in ways:
                if (data, model, count, seed, objective, tuner) not in there:
                    yield data, count, seed, objective, tuner


def spec(data: str, model: str, case: Case) -> RunSpec:
    _, rows, seed, objective, tuner = case
    return RunSpec.parse(
        {
            "model": {"id": model},
            "data": [{"source": data, "split": {"test_rows": HELD_OUT, "validation_rows": 0, "validation": 0.0}}],
            "objective": objective,
            "tuner": tuner,
            "training": {"epochs": EPOCHS[rows], "batch_size": 8, "max_tokens": 128, "seed": seed},
        }
    )


def measured(data: str, model: str, case: Case) -> dict[str, Any]:
    """One run: accuracy before and after with its interval, and seconds of training; or why there is none."""
    made = spec(data, model, case)
    cloze = objectives.get("cloze")
    # All ways learn from the rows that cloze would draw.
    few = cloze.Settings.model_validate({"few_shot_rows": case[1]})
    prepared = prepare(made.data, made.objective.wants, SPLIT_SEED)
    prepared = dataclasses.replace(prepared, examples=cloze.chosen(prepared.examples, few, case[2]))
    with tempfile.TemporaryDirectory(prefix="tunesmith-benchmark-") as home:
        os.environ["TUNESMITH_HOME"] = home
        run = store.create(made, prepared)
        command = [sys.executable, "-m", "engine.runs.worker", str(run.folder)]
        environment = {**os.environ, "TUNESMITH_HOME": home}
        subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, check=False)
        for event in reversed(run.last_events()):
            if isinstance(event, Finished):
                return {"learned": prepared.counts()["train"], **_figures(event)}
            if isinstance(event, Failed):
                return {"failed": event.problem}
    return {"failed": "The worker said nothing."}


def _figures(done: Finished) -> dict[str, Any]:
    after, before = done.metrics["after"], done.metrics["before"] or {}
    names = ("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "loss")
    return {
        "before": {name: round(before[name], 4) for name in names if name in before},
        "after": {name: round(after[name], 4) for name in names if name in after},
        "held_out": done.metrics["rows"],
        "trainable": done.trainable_parameters,
        "seconds": done.seconds,
        "peak_memory_bytes": done.peak_memory_bytes,
    }


if __name__ == "__main__":
    sys.exit(main())
