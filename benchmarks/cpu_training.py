"""Training speed of our worker against a loop written by hand: `python -m benchmarks.cpu_training`.

Same model (embedded:smollm2-135m), rows, batches in the same order, number formats, learning rate, LoRA rank 16 on
all linear layers, AdamW and gradient clipping. Each measurement is a process of its own, and they take turns, so that
a busy neighbour hurts all alike. The figure is non-padding tokens a second over the training steps: loading, scoring
and the last checkpoint are left out on both sides, the first step is counted on both sides.

    worker      `python -m engine.runs.worker`, as a person's run is done; its own figure, from its events
    plain       what a person writes: `model(input_ids, attention_mask, labels=labels).loss`, logits of all positions
    tuned       the same with the vocabulary product for learned positions only and without PEFT's casts of
                activations, which is what the worker does too: what is lost to it is the trainer's own cost

The loops written by hand pad each batch to its longest row; the worker does what its plan says.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.record import keep
from engine import demo
from engine.data import example as examples_file
from engine.data.prepare import prepare
from engine.events import Failed, Progress, read
from engine.home import CHECKOUT
from engine.specs.spec import RunSpec

IGNORED = -100
KINDS = ("worker", "plain", "tuned")
BAR = 0.9


def main() -> int:
    parser = argparse.ArgumentParser(description="Training speed of the worker against a loop written by hand.")
    parser.add_argument("--steps", type=int, default=24, help="updates in each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--loop", choices=("plain", "tuned"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        print(json.dumps(written_by_hand(options.folder, tuned=options.loop == "tuned")))
        return 0
    with tempfile.TemporaryDirectory(prefix="tunesmith-benchmark-") as place:
        speeds = measured(Path(place), options.steps, options.rounds)
    medians = {kind: round(statistics.median(found), 1) for kind, found in speeds.items()}
    ratios = {f"worker/{kind}": round(medians["worker"] / medians[kind], 3) for kind in KINDS[1:]}
    for kind in KINDS:
        each = ", ".join(f"{speed:.0f}" for speed in speeds[kind])
        print(f"{kind:<8} {medians[kind]:>8.1f} tokens/s   ({each})")
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f}")
    keep("cpu_training", {"steps": options.steps, "tokens_per_second": speeds, "medians": medians, **ratios})
    return 0 if ratios["worker/plain"] >= BAR else 1


def measured(place: Path, steps: int, rounds: int) -> dict[str, list[float]]:
    """Tokens a second of each kind in each round."""
    speeds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(rounds):
        # The order changes from round to round: nobody always runs on a warm or a tired machine.
        for kind in KINDS[number % 3 :] + KINDS[: number % 3]:
            folder = run_folder(place / f"{number}-{kind}", steps)
            speed = worker(folder) if kind == "worker" else by_hand(folder, kind)
            speeds[kind].append(round(speed, 1))
            print(f"round {number + 1}: {kind} {speed:.0f} tokens/s", file=sys.stderr, flush=True)
    return speeds


def run_folder(folder: Path, steps: int) -> Path:
    """The sample run with nothing but training in it."""
    values = demo.spec().as_dict()
    values["data"][0]["split"] = {"test": 0.0, "validation": 0.0}
    values["training"] |= {"max_steps": steps, "save_minutes": 60}
    values["evaluation"] |= {"before": False, "options_in_prompt": "off"}
    spec = RunSpec.parse(values)
    folder.mkdir(parents=True)
    spec.save(folder / "spec.yaml")
    rows = prepare(spec.data, spec.objective.wants, spec.training.seed).examples
    examples_file.save(rows, folder / "examples.jsonl")
    return folder


def worker(folder: Path) -> float:
    command = [sys.executable, "-m", "engine.runs.worker", str(folder)]
    with open(folder / "worker.log", "wb") as log:
        subprocess.run(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    events, _ = read(folder / "events.jsonl")
    failure = next((event for event in events if isinstance(event, Failed)), None)
    if failure is not None:
        raise SystemExit(f"The worker failed: {failure.problem} {failure.fix}")
    steps = [event for event in events if isinstance(event, Progress) and event.phase == "train"]
    if not steps or not steps[-1].tokens_per_second or steps[-1].step != steps[-1].total_steps:
        raise SystemExit(f"The worker did not reach its last step; see {folder / 'worker.log'}")
    return steps[-1].tokens_per_second


def by_hand(folder: Path, kind: str) -> float:
    command = [sys.executable, "-m", "benchmarks.cpu_training", "--loop", kind, "--folder", str(folder)]
    with open(folder / "loop.log", "wb") as log:  # libraries talk a lot
        answer = subprocess.run(
            command,
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            check=False,
        )
    if answer.returncode:
        raise SystemExit(f"The loop failed:\n{(folder / 'loop.log').read_text(encoding='utf-8')[-2000:]}")
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found["tokens"] / found["seconds"]


def written_by_hand(folder: Path, tuned: bool) -> dict[str, float]:
    """Train as the run's plan says; tokens and seconds of the steps."""
    import contextlib

    import torch
    from peft import LoraConfig, get_peft_model
    from peft.helpers import disable_input_dtype_casting
    from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup

    from engine.planning.jobs import open_job

    job = open_job(folder, lambda text: None)
    plan, settings = job.plan, job.tuner_settings
    torch.set_num_threads(plan.threads)
    torch.manual_seed(job.training.seed)
    model = AutoModelForCausalLM.from_pretrained(job.model_folder, dtype=getattr(torch, plan.weights))
    alpha = settings.alpha or 2 * settings.rank
    config = LoraConfig(r=settings.rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, config).train()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learned:
        parameter.data = parameter.data.float()
    optimizer = torch.optim.AdamW(learned, lr=plan.learning_rate, weight_decay=job.training.weight_decay, fused=True)
    schedule = get_cosine_schedule_with_warmup(optimizer, plan.warmup_steps, plan.total_steps)
    compute = getattr(torch, plan.compute)
    autocast = torch.autocast("cpu", dtype=compute, enabled=compute != torch.float32)
    casts = disable_input_dtype_casting(model) if tuned else contextlib.nullcontext()
    work = list(batches(job))
    tokens = 0
    with casts:
        began = time.monotonic()
        for batch in work:
            ids, mask, labels = padded([job.encoded["train"][row] for row in batch], job.tokens.pad_id or 0)
            with autocast:
                loss = (
                    learned_loss(model, ids, labels) if tuned else model(ids, attention_mask=mask, labels=labels).loss
                )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learned, job.training.clip_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            loss.item()  # a person logs it
            tokens += int(mask.sum())
        return {"tokens": tokens, "seconds": time.monotonic() - began}


def batches(job: Any) -> Iterator[list[int]]:
    """Row numbers of each update, in the worker's order."""
    from engine.compute.batches import ByLength

    size = job.training.batch_size
    order = ByLength([len(item.ids) for item in job.encoded["train"]], size, job.training.seed)
    made = 0
    while made < job.plan.total_steps:
        rows = list(order)
        for start in range(0, len(rows), size):
            if made < job.plan.total_steps:
                yield rows[start : start + size]
            made += 1
        order.epoch += 1


def padded(rows: list[Any], pad_id: int) -> tuple[Any, Any, Any]:
    """ids, mask and labels, each (rows, tokens), padded on the right."""
    import torch

    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), pad_id)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    labels = torch.full((len(rows), longest), IGNORED)
    for index, row in enumerate(rows):
        count = len(row.ids)
        ids[index, :count] = torch.tensor(row.ids)
        mask[index, :count] = 1
        labels[index, :count] = torch.tensor(
            [i if used else IGNORED for i, used in zip(row.ids, row.learned, strict=True)]
        )
    return ids, mask, labels


def learned_loss(model: Any, ids: Any, labels: Any) -> Any:
    """Mean loss of the learned positions, the vocabulary product made for these alone."""
    import torch

    causal = model.get_base_model()
    hidden = causal.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    used = targets != IGNORED
    return torch.nn.functional.cross_entropy(causal.lm_head(hidden[used]).float(), targets[used])


if __name__ == "__main__":
    sys.exit(main())
