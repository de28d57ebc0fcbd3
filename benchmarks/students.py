"""What a smaller student learns of its teacher: `python -m benchmarks.students`.

The teacher is SmolLM2-135M after the sample run. Its student has every second layer of the untouched model (15 of 30)
and learns the same 480 rows, from their answers alone (chat) or from what the teacher thinks of every word, too
(distill); all weights learn. The seed decides on the order of rows. A finished run is a line of
`benchmarks/results/students.jsonl`; what stands there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.methods import finished
from benchmarks.record import keep, kept
from engine import demo
from engine.events import Failed
from engine.judging import evidence, gap
from engine.judging.scores import ScoredRow
from engine.specs.spec import RunSpec

NAME = "students"
SEEDS = (1, 2, 3)
LAYERS = 15
EPOCHS = 6
WAYS: dict[str, dict[str, Any]] = {
    "chat": {"name": "chat"},
    "distill": {"name": "distill"},
    "distill, reverse KL": {"name": "distill", "divergence": "reverse-kl"},
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Students with half their teacher's layers; finished rows are kept.")
    parser.add_argument("--way", choices=WAYS, action="append", help="only this one")
    parser.add_argument("--seed", type=int, action="append", help="only this one")
    options = parser.parse_args()
    there = {(row["way"], row["seed"]) for row in kept(NAME)}
    ways, seeds = options.way or list(WAYS), options.seed or list(SEEDS)
    left = [(way, seed) for seed in seeds for way in ways if (way, seed) not in there]
    if not left:
        return 0
    with tempfile.TemporaryDirectory(prefix="tunesmith-benchmark-") as home:
        teacher: list[Path] = []
        taught = finished(demo.spec(), teacher.append, Path(home))
        if isinstance(taught, Failed):
            raise SystemExit(taught.problem)
        for way, seed in left:
            row = {"way": way, "seed": seed, **measured(way, seed, teacher[0])}
            keep(NAME, row)
            print(json.dumps(row), flush=True)
    return 0


def spec(way: str, seed: int, teacher: str) -> RunSpec:
    """teacher: the run that made it."""
    whole = demo.spec().as_dict()
    objective = WAYS[way]
    return RunSpec.parse(
        {
            **whole,
            "model": {**whole["model"], "keep_layers": LAYERS},
            "objective": {**objective, "teacher": f"run:{teacher}"} if objective["name"] == "distill" else objective,
            "tuner": "full",
            "training": {**whole["training"], "epochs": EPOCHS, "seed": seed},
        }
    )


def measured(way: str, seed: int, teacher: Path) -> dict[str, Any]:
    """One student: its score before and after, the teacher's, and the share of the gap that is closed.

    teacher: the folder of its run, which lies among others of the same home.
    """
    folders: list[Path] = []
    done = finished(spec(way, seed, teacher.name), folders.append, teacher.parents[1])
    if isinstance(done, Failed):
        return {"failed": done.problem}
    found = evidence.gather(folders[0], "finished")
    before, after, best = map(scores, (found.before, found.after, evidence.gather(teacher, "finished").after))
    rows = sorted(before.keys() & after.keys() & best.keys())
    share = gap.closed([before[row] for row in rows], [best[row] for row in rows], [after[row] for row in rows], False)
    return {
        "measure": found.main,
        **{name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(share).items()},
        "seconds": done.seconds,
        "peak_memory_bytes": done.peak_memory_bytes,
        "artifact_bytes": done.artifact_bytes,
        "total": done.total_parameters,
    }


def scores(rows: list[ScoredRow]) -> dict[int, float]:
    return {row.row: row.score for row in rows}


if __name__ == "__main__":
    sys.exit(main())
