"""What reading a field's documents does to a model: `python -m benchmarks.domain`.

SmolLM2-135M reads four legal documents (the objective text): bits per byte of held-out blocks of them and of general
text, before and after, for several tuners, with and without general text mixed in. A finished run is a line of
`benchmarks/results/domain.jsonl`; what stands there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.methods import finished
from benchmarks.record import keep, kept
from engine.events import Failed
from engine.specs.spec import RunSpec

NAME = "domain"
DOCUMENTS = Path(__file__).parent / "data" / "site-policy.md"
SEEDS = (1, 2, 3)
WAYS: dict[str, dict[str, Any]] = {
    "lora": {"tuner": "lora"},
    "lora, general text mixed in": {"tuner": "lora", "objective": {"name": "text", "replay": 0.2}},
    "full": {"tuner": "full"},
    "full, general text mixed in": {"tuner": "full", "objective": {"name": "text", "replay": 0.2}},
    "adapter": {"tuner": "adapter"},
}


def spec(way: str, seed: int) -> RunSpec:
    return RunSpec.parse(
        {
            "model": {"id": "embedded:smollm2-135m"},
            "data": [{"source": str(DOCUMENTS)}],
            "objective": "text",
            **WAYS[way],
            "training": {"epochs": 2, "batch_size": 4, "max_tokens": 256, "seed": seed},
        }
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="What reading a field's documents does; finished rows are kept.")
    parser.add_argument("--way", choices=WAYS, action="append", help="only this one")
    parser.add_argument("--seed", type=int, action="append", help="only this one")
    options = parser.parse_args()
    for way, seed in wanted(options.way or list(WAYS), options.seed or list(SEEDS)):
        done = finished(spec(way, seed))
        row: dict[str, Any] = {"way": way, "seed": seed}
        if isinstance(done, Failed):
            row["failed"] = done.problem
        else:
            row |= {when: done.metrics[when] for when in ("before", "after")}
            row |= {"seconds": done.seconds, "peak_memory_bytes": done.peak_memory_bytes}
        keep(NAME, row)
        print(json.dumps(row), flush=True)
    return 0


def wanted(ways: list[str], seeds: list[int]) -> Iterator[tuple[str, int]]:
    """What is not there yet: each way once before any a second time."""
    there = {(row["way"], row["seed"]) for row in rows()}
    for seed in seeds:
        for way in ways:
            if (way, seed) not in there:
                yield way, seed


def rows() -> list[dict[str, Any]]:
    """What was measured so far."""
    return kept(NAME)


if __name__ == "__main__":
    sys.exit(main())
