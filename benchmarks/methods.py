"""Every tuner with its recommended settings, on two real models: `python -m benchmarks.methods`.

MiniLM learns 77 intents of a bank's customers from 25 messages each (classify, three seeds); SmolLM2-135M learns the
demo (chat, one seed). What only several data sets can teach (multitask prompts) learns the intents beside those of the
demo, with a few other tuners on the same rows. Each run is a worker of its own on one core, as many at once as there
are cores: small models gain so little from a second core that this takes two thirds of the time. A finished run is a
line of `benchmarks/results/methods.jsonl`, and what stands there already is not run again, so that a broken run of this
script goes on where it stopped; with `--again` it is, and its newer line holds (`engine.methods.measured.again`).
`core_share` is the part of a core that the worker had: less than 1 where other programs ran beside it, whose time
doesn't count. The table of `docs/methods.md` is made from these lines by `docs/generate.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import keep, kept
from engine import demo, tuners
from engine.bases import models
from engine.data.prepare import prepare
from engine.errors import UserError
from engine.events import Failed, Finished
from engine.home import CHECKOUT
from engine.judging import evidence
from engine.judging.scores import ScoredRow
from engine.planning.jobs import require_pair
from engine.runs import store
from engine.specs.spec import RunSpec

NAME = "methods"
SLICE = Path(__file__).parent / "data" / "banking77-slice.csv"
SEEDS = (1, 2, 3)
SPLIT_SEED = 1
"""Which rows are held out is the same for all, and in `benchmarks.rates`: settings never saw the test rows. MiniLM's
stand in the file."""
NEEDED = {"trainable-tokens": {"tokens": "card money account transfer cash"}}
"""Settings without which a tuner does nothing."""
ANSWERED = (
    "<|im_start|> <|im_end|> account activate age apple arrival automatic cancel card change details edit exchange "
    "google limit lost my or pay personal phone pin rate stolen support terminate top transfer up"
)
"""What the demo's answers consist of, as far as it is one token. The words of its questions can't teach a model how to
answer: with those above, SmolLM2 gave the right intent to 5.8 % of the messages."""
LAUNCH = {"threads": 1}
TWO_SETS = "minilm-two-sets"


@dataclass(frozen=True)
class Task:
    name: str
    seeds: tuple[int, ...]
    tuners: tuple[str, ...] = ()
    """Those that are tried; empty for all."""

    @property
    def chat(self) -> bool:
        return self.name == "smollm2-135m"

    def spec(self, tuner: str, seed: int) -> RunSpec:
        """What is run: the seed decides on the order of rows and on what begins at random."""
        chosen = {"name": tuner, **NEEDED.get(tuner, {})}
        if self.chat:
            chosen |= {"tokens": ANSWERED} if "tokens" in chosen else {}
            whole = demo.spec().as_dict() | {"tuner": chosen, "evaluation": {"before": False}, "launch": LAUNCH}
            return RunSpec.parse(whole)
        beside = demo.spec().as_dict()["data"] if self.name == TWO_SETS else []
        return RunSpec.parse(
            {
                "model": {"id": "embedded:minilm"},
                "data": [{"source": str(SLICE)}, *beside],
                "objective": "classify",
                "tuner": chosen,
                "training": {"epochs": 3, "batch_size": 8, "max_tokens": 64, "seed": seed},
                "evaluation": {"before": False, "max_rows": 1540 + 120 * len(beside)},
                "launch": LAUNCH,
            }
        )


TASKS = {
    task.name: task
    for task in (
        Task("minilm", SEEDS),
        Task("smollm2-135m", (42,)),
        Task(TWO_SETS, SEEDS, ("multitask-prompt", "prompt", "prefix", "lora", "head")),
    )
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Every tuner on two real models; finished rows are kept.")
    parser.add_argument("--task", choices=TASKS, action="append", help="only this one")
    parser.add_argument("--tuner", action="append", help="only this one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once")
    parser.add_argument("--again", action="store_true", help="those that are there, too")
    parser.add_argument("--minutes", type=float, default=180, help="begin no run after so long")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    wanted_runs = list(wanted(options.task or list(TASKS), options.tuner, options.again))
    at_work: dict[Future[dict[str, Any]], tuple[str, str, int]] = {}
    with ProcessPoolExecutor(options.jobs) as processes:
        while wanted_runs or at_work:
            while wanted_runs and len(at_work) < options.jobs and time.monotonic() < end:
                task, tuner, seed = wanted_runs.pop(0)
                at_work[processes.submit(measured, TASKS[task], tuner, seed)] = (task, tuner, seed)
            if not at_work:
                print("Time is up; the next start goes on here.")
                break
            for done in wait(at_work, return_when=FIRST_COMPLETED).done:
                task, tuner, seed = at_work.pop(done)
                row = {"task": task, "tuner": tuner, "seed": seed, **done.result()}
                keep(NAME, row)
                print(json.dumps(row), flush=True)
    return 0


def wanted(tasks: list[str], only: list[str] | None, again: bool = False) -> Iterator[tuple[str, str, int]]:
    """Task, tuner and seed of what is not there yet: each tuner once before any a second time."""
    there = set() if again else {(row["task"], row["tuner"], row["seed"]) for row in rows()}
    learning = [tuner.name for tuner in tuners.all() if tuner.kind != "merge"]  # which makes its result of others'
    names = [name for name in learning if not only or name in only]
    for turn in range(max(len(TASKS[task].seeds) for task in tasks)):
        for task in tasks:
            for tuner in names if turn < len(TASKS[task].seeds) else ():
                one = (task, tuner, TASKS[task].seeds[turn])
                if one not in there and tuner in (TASKS[task].tuners or names):
                    yield one


def rows() -> list[dict[str, Any]]:
    """What was measured so far."""
    return kept(NAME)


def measured(task: Task, tuner: str, seed: int) -> dict[str, Any]:
    """One run: its main score with the interval, share of weights, seconds, bytes; or why there is none."""
    spec = task.spec(tuner, seed)
    try:
        require_pair(spec, models.facts(spec.model))
    except UserError as error:
        return {"refused": error.problem}
    gathered: dict[str, str] = {}
    began, before = time.monotonic(), _processor_seconds()
    done = finished(spec, lambda folder: gathered.update(right=_right(evidence.gather(folder, "finished").after)))
    if isinstance(done, Failed):
        return {"failed": done.problem}
    share = min(1.0, (_processor_seconds() - before) / (time.monotonic() - began))
    return _figures(done) | {"core_share": round(share, 3)} | gathered


def finished(
    spec: RunSpec, look: Callable[[Path], None] = lambda folder: None, home: Path | None = None
) -> Finished | Failed:
    """Run it as a worker of its own. look: is given the folder of a finished run. home: where its folder stays, so that
    other runs can name it; without, all of it is gone afterwards."""
    with nullcontext(str(home)) if home else tempfile.TemporaryDirectory(prefix="tunesmith-benchmark-") as place:
        os.environ["TUNESMITH_HOME"] = place
        run = store.create(spec, prepare(spec.data, spec.objective.wants, SPLIT_SEED))
        command = [sys.executable, "-m", "engine.runs.worker", str(run.folder)]
        environment = {**os.environ, "TUNESMITH_HOME": place}
        subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, check=False)
        for event in reversed(run.last_events()):
            if isinstance(event, Finished):
                look(run.folder)
                return event
            if isinstance(event, Failed):
                return event
    return Failed("The worker said nothing.", "Look into its log.")


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


def _processor_seconds() -> float:
    """Of this process's children that have ended: one worker after another."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _right(scored: list[ScoredRow]) -> str:
    """One bit for each held-out row, in the order of the data, as a hexadecimal number: whether it was all right."""
    bits = "".join(str(int(row.score == 1)) for row in sorted(scored, key=lambda row: row.row))
    return f"{int(bits, 2):0{(len(bits) + 3) // 4}x}"


if __name__ == "__main__":
    sys.exit(main())
