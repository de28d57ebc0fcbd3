"""How fast this machine computes: `python -m engine.compute.speed DEVICE FORMAT THREADS` prints one JSON object.

Small models of one and of several layers learn, read and answer; what a further layer costs is the difference between
them. Two numbers of tokens tell what a layer costs once from what each token costs. See `engine.planning.timing`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import psutil
import torch
from peft import LoraConfig, get_peft_model
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from trl import SFTTrainer  # noqa: F401 - a run loads it, which is measured

from engine.compute import allocator, short_rows
from engine.compute.fast import body
from engine.machine import Machine
from engine.planning import speed
from engine.planning.plan import Plan
from engine.planning.speed import Course, Speed

HIDDEN, INNER, WORDS = 512, 1536, 512
LAYERS = (1, 4)
TOKENS = (64, 512)
ROWS = 32
NEW_TOKENS = 12
NUMBERS = 4 * 2 * HIDDEN + 3 * (HIDDEN + INNER)
"""Inputs and outputs of a layer's linear modules."""
WEIGHTS = 4 * HIDDEN * HIDDEN + 3 * HIDDEN * INNER
"""Of a layer."""
REPEATS, MOST_REPEATS, LEAST_S = 4, 20, 0.1


def of_machine(machine: Machine, plan: Plan, loaded_s: float) -> Speed | None:
    """Measure in this process, for a plan, and keep it. None where something that can't be helped is in the way."""
    torch.set_num_threads(plan.threads)
    try:
        found = measure(plan.device, plan.compute, loaded_s)
    except RuntimeError:
        return None
    speed.keep(machine, plan.compute, plan.threads, found)
    allocator.trim()
    return found


def measure(device: str, compute: str, loaded_s: float) -> Speed:
    width = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[compute]
    short_rows.use(device, compute)
    timed = _Clock(device)
    products = _products(timed, device, width, 512)
    few = _products(timed, device, width, ROWS)
    memory = _memory(timed, device)
    additions = _course(timed, partial(_learner, device, width, "additions"), 4, products)
    fast = _course(timed, partial(_learner, device, width, "fast"), 4, products)
    base = _course(timed, partial(_learner, device, width, "base"), 6, products)
    read = _course(timed, partial(_reader, device, width), 2, products)
    answers = [timed(_answerer(device, width, layers)) / NEW_TOKENS for layers in LAYERS]
    layer = (answers[1] - answers[0]) / (LAYERS[1] - LAYERS[0])
    return Speed(
        products=products,
        few_rows=few,
        memory=memory,
        additions=additions,
        fast=fast,
        base=base,
        read=read,
        word_s=max(0.0, answers[0] - layer),
        word_layer_s=max(0.0, layer - 2 * WEIGHTS * ROWS / few),
        start_s=loaded_s,
    )


class _Clock:
    """Seconds of a call, the best of a few: what disturbs a machine only ever makes it slower."""

    def __init__(self, device: str) -> None:
        self.device = device

    def __call__(self, call: Callable[[], object]) -> float:
        call()
        taken: list[float] = []
        while len(taken) < REPEATS or (sum(taken) < LEAST_S and len(taken) < MOST_REPEATS):
            self._wait()
            began = time.perf_counter()
            call()
            self._wait()
            taken.append(time.perf_counter() - began)
        return min(taken)

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
        elif self.device == "mps":
            torch.mps.synchronize()


def _products(timed: _Clock, device: str, width: torch.dtype, rows: int) -> float:
    """Operations a second in matrix products of this many rows."""
    given = torch.randn(rows, 1024, device=device).to(width)
    weight = torch.randn(1024, 1024, device=device).to(width)
    return 2 * rows * 1024 * 1024 * 10 / timed(lambda: [torch.nn.functional.linear(given, weight) for _ in range(10)])


def _memory(timed: _Clock, device: str) -> float:
    """Bytes a second that are read or written."""
    numbers = torch.randn(16_000_000, device=device)
    into = torch.empty_like(numbers)
    return 2 * 4 * numbers.numel() / timed(lambda: torch.mul(numbers, 2.0, out=into))


def _course(
    timed: _Clock, make: Callable[[int], Callable[[int], Callable[[], object]]], factor: int, products: float
) -> Course:
    """What a layer costs, from the small models' times. factor: operations for each weight and token."""
    made = [make(layers) for layers in LAYERS]
    taken = [[timed(one(tokens)) for tokens in TOKENS] for one in made]
    layers = [(more - less) / (LAYERS[1] - LAYERS[0]) for less, more in zip(*taken, strict=True)]
    rest = [seconds - factor * WEIGHTS * tokens / products for seconds, tokens in zip(layers, TOKENS, strict=True)]
    number_s = max(0.0, (rest[1] - rest[0]) / (TOKENS[1] - TOKENS[0])) / NUMBERS
    layer_s = max(0.0, rest[0] - TOKENS[0] * NUMBERS * number_s)
    return Course(layer_s=layer_s, number_s=number_s, once_s=max(0.0, taken[0][0] - layers[0]))


def _model(device: str, layers: int) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config).to(device)


def _learner(device: str, width: torch.dtype, learns: str, layers: int) -> Callable[[int], Callable[[], object]]:
    """Makes one step of a model whose additions or whose whole base learns, for a number of tokens."""
    model = _model(device, layers)
    if learns != "base":
        model = get_peft_model(model.to(width), LoraConfig(r=16, target_modules="all-linear"))
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    if learns == "fast":
        body.use(model, width)
    model.train()
    narrow = None if width == torch.float32 else width

    def step(tokens: int) -> Callable[[], object]:
        ids = torch.randint(0, WORDS, (max(1, tokens // 64), 64), device=device)

        def once() -> None:
            with torch.autocast(device, dtype=narrow, enabled=narrow is not None):
                loss = model(input_ids=ids, labels=ids, use_cache=False).loss
            loss.backward()
            model.zero_grad(set_to_none=True)

        return once

    return step


def _reader(device: str, width: torch.dtype, layers: int) -> Callable[[int], Callable[[], object]]:
    model = _model(device, layers).to(width).eval()

    def step(tokens: int) -> Callable[[], object]:
        ids = torch.randint(0, WORDS, (max(1, tokens // 64), 64), device=device)

        def once() -> None:
            with torch.no_grad():
                model(input_ids=ids, use_cache=False, logits_to_keep=1)

        return once

    return step


def _answerer(device: str, width: torch.dtype, layers: int) -> Callable[[], object]:
    model = _model(device, layers).to(width).eval()
    ids = torch.randint(1, WORDS, (ROWS, 32), device=device)
    config = GenerationConfig(max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0)

    def once() -> None:
        with torch.no_grad():
            model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)

    return once


def main() -> int:
    device, compute, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(threads)
    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print belongs to the log
    with os.fdopen(out, "w") as answer:
        loaded_s = time.time() - psutil.Process().create_time()
        json.dump(asdict(measure(device, compute, loaded_s)), answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
