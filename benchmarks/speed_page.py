"""The page of speed in docs, from what the benchmarks found. Written by `python docs/generate.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks import gpu
from benchmarks.record import kept

ABOUT = """\
How a run is computed is chosen before it starts, by `engine/planning`, and every choice is told in a sentence: on the
page beside the start, by `python -m engine train --explain`, and in the run's log. All of them can be set (see
[settings.md](settings.md)): `training.path`, `training.precision`, `training.packing`, `training.checkpointing`,
`training.micro_batch_size`, `training.optimizer`, `launch.processes`.

- **Fast path** (`engine/compute/fast`): LoRA and its plain kin (LoRA+, LoRA-FA, PiSSA, OLoRA) on models like Llama,
  Mistral, Qwen 2 and Qwen 3, with `chat`, `text` and what else learns next words. Layers are computed forward and
  backward by hand; additions are part of joined products; nothing is kept that is cheap to make again, and less still
  where memory is short (levels 1 to 4). Before the first step three layers are learned both ways: where results or
  gradients differ, the run is computed as the libraries do, and says so. What it saves is an ordinary LoRA.
- **Generic path**: everything else, by transformers and PEFT, without PEFT's casts, with words scored at learned
  positions alone and a part at a time.
- **Attention**: rows that share a sequence are kept apart without a mask (on a GPU by torch's flash attention for
  rows of varying length); short rows in bfloat16 on a processor have a backward pass of their own."""
CPU = """\
SmolLM2-135M, LoRA of rank 16 on all linear layers, the sample's rows, on two cores: tokens a second without padding,
the median of two or three measurements of each, which take turns (`python -m benchmarks.cpu_training`). *Plain* is a
loop as a person writes it, *tuned* the same with the vocabulary's product at learned positions alone and without
PEFT's casts."""
GPU = """`python -m benchmarks.gpu` measures the worker from start to end beside TRL as it is, TRL tuned by hand and
Unsloth, in one call."""
NO_GPU = """\
Nothing was measured yet: no GPU was at hand since the code for one was written, and the benchmark was run dry only,
on a processor. What is written for GPUs alone has never run: torch's flash attention for rows apart, its use on the
fast path, additions as further columns of the weights (tested on a processor), and kernels in Triton for what lies
between the products (run by Triton's interpreter, where they learn what torch's operations do)."""
LAB = (
    "Each thing tried, what was expected of it, what came of it, and whether it stayed. All on a processor with two "
    "cores, mostly beside other programs."
)


def told() -> Iterator[str]:
    yield from (ABOUT, "", "## Measured on a processor", "", CPU, "")
    yield from ("| date | bfloat16 | worker | plain | tuned | worker / plain | worker / tuned |", f"|{' --- |' * 7}")
    yield from map(_cpu, kept("cpu_training"))
    yield from ("", "## Measured on a GPU", "", GPU, "")
    yield from _gpu(kept(gpu.NAME))
    yield from ("", "## Lab log", "", LAB, "")
    yield from ("| date | tried | expected | measured | |", f"|{' --- |' * 5}")
    yield from map(_tried, kept("lab"))


def _cpu(row: dict[str, Any]) -> str:
    speeds = " | ".join(f"{row['medians'][kind]:.0f}" for kind in ("worker", "plain", "tuned"))
    ratios = " | ".join(f"{row[f'worker/{kind}']:.2f}" for kind in ("plain", "tuned"))
    has = {True: "yes", False: "no"}.get(row["machine"].get("bfloat16"), "not noted")
    return f"| {row['date']} | {has} | {speeds} | {ratios} |"


def _gpu(rows: list[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        yield NO_GPU
    for row in rows:
        yield from (
            "```",
            f"{row['date']}, {row['steps']} steps",
            *gpu.table(row["row"], row["sides"], row["device"]),
            "```",
        )


def _tried(row: dict[str, Any]) -> str:
    outcome = "kept" if row["kept"] else f"dropped: {row['instead']}"
    return f"| {row['date']} | {row['tried']} | {row['predicted']} | {row['measured']} | {outcome} |"
