"""Next-token work shared by objectives that generate text: batches, losses, answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import GenerationConfig

from engine.compute import rows_apart, tasks, vocabulary
from engine.compute.generation import beginning, causal, generated
from engine.compute.precision import autocast
from engine.data.example import Example
from engine.methods.job import Job, Losses, Report
from engine.planning.memory import rows_at_once

IGNORED = -100
ROWS_AT_A_TIME = 16


def padded(rows: list[dict[str, Any]], pad_id: int) -> dict[str, torch.Tensor]:
    """Rows of equal length, (rows, tokens), padded on the right.

    There is no attention mask: a causal model's real tokens never look at what follows them.
    """
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.full((len(rows), longest), pad_id)
    labels = torch.full((len(rows), longest), IGNORED)
    for index, row in enumerate(rows):
        ids[index, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
        labels[index, : len(row["labels"])] = torch.tensor(row["labels"])
    labels[:, 0] = IGNORED
    return {"input_ids": ids, "labels": labels, **tasks.of_rows(rows)}


def joined(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """All rows in one sequence, (1, tokens). Positions start anew with each row: so attention keeps them apart."""
    ids = torch.cat([torch.tensor(row["input_ids"]) for row in rows])
    labels = torch.cat([torch.tensor([IGNORED, *row["labels"][1:]]) for row in rows])
    positions = torch.cat([torch.arange(len(row["input_ids"])) for row in rows])
    return {"input_ids": ids[None], "labels": labels[None], "position_ids": positions[None]}


class LearnedLogits:
    """Scores of words at the learned positions of a batch.

    The vocabulary product is made for these alone, where the first batch shows that this gives what the model's own
    forward gives (models that scale or cap their logits are then computed in full).
    """

    def __init__(self) -> None:
        self._direct: bool | None = None

    def __call__(self, model: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits (positions, vocabulary), as the model's arithmetic has them."""
        learned = self._learned(model, inputs)
        return (_direct_logits if self._direct else _full_logits)(model, inputs, learned)

    def losses(self, model: nn.Module, inputs: dict[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy at these positions, (positions,), of which `targets` are the next words."""
        learned = self._learned(model, inputs)
        if not self._direct:
            logits = _full_logits(model, inputs, learned)
            return nn.functional.cross_entropy(logits.float(), targets, reduction="none")
        inner = causal(model)
        words = inner.config.get_text_config().vocab_size
        return vocabulary.losses(inner.get_output_embeddings(), _hidden(model, inputs, learned), targets, words)

    def _learned(self, model: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """At which positions the next word is learned, (rows, tokens - 1)."""
        learned = inputs["labels"][:, 1:] != IGNORED
        if self._direct is None and learned.numel():  # rows of one token show nothing
            self._direct = head_is_plain(model, inputs)
        return learned


class NextTokenLosses:
    """Loss of each learned token."""

    def __init__(self) -> None:
        self._logits = LearnedLogits()

    def __call__(self, model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        targets, rows = learned_targets(inputs)
        return self._logits.losses(model, inputs, targets), rows


def learned_targets(inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The token to be learned at each learned position, and the row of the batch it is in: both (positions,)."""
    learned = inputs["labels"][:, 1:] != IGNORED
    return inputs["labels"][:, 1:][learned], learned.nonzero()[:, 0]


@dataclass(frozen=True)
class RowLosses:
    mean: list[float | None]
    """For each row, over its learned tokens, in nats; None where nothing is learned."""
    overall: float
    """Over all learned tokens."""
    tokens_per_second: float
    """How fast they were read, padding aside."""


def row_losses(
    job: Job,
    model: nn.Module,
    rows: list[Example],
    losses: Losses | None = None,
    batch: Callable[[list[dict[str, Any]], int], dict[str, torch.Tensor]] = padded,
) -> RowLosses:
    """Held-out loss of examples, without gradients. losses: those of the objective where nothing else is given."""
    model.eval()
    losses = losses or job.objective.losses(job)
    limit = job.training.max_tokens
    items = [
        job.objective.row(job, row, job.objective.encode(row, job.tokens, job.objective_settings, limit))
        for row in rows
    ]
    order = sorted(range(len(items)), key=lambda index: len(items[index]["input_ids"]))
    device = next(model.parameters()).device
    mean: list[float | None] = [None] * len(rows)
    total, count, began = 0.0, 0, time.monotonic()
    for start in range(0, len(order), ROWS_AT_A_TIME):
        chosen = order[start : start + ROWS_AT_A_TIME]
        inputs = {
            key: value.to(device) for key, value in batch([items[i] for i in chosen], job.tokens.pad_id or 0).items()
        }
        with torch.no_grad(), autocast(job.plan):
            found, places = losses(model, inputs)
        for place, index in enumerate(chosen):
            own = found[places == place]
            if len(own):
                mean[index] = float(own.mean())
        total, count = total + float(found.sum()), count + len(found)
    took = max(time.monotonic() - began, 1e-9)
    read = sum(len(item["input_ids"]) for item in items)
    return RowLosses(mean, total / count if count else float("nan"), read / took)


def answers(
    job: Job,
    model: nn.Module,
    prompts: list[list[int]],
    most_tokens: int,
    of_tasks: list[int] | None = None,
    report: Report | None = None,
) -> list[str]:
    """The likeliest answer to each prompt (token ids), token by token, at most `most_tokens` long.

    of_tasks: of which task each prompt is, for tuners that tell them apart; without, all are of the one told last.
    """
    if of_tasks is None or not tasks.tells_apart(job):
        return _of_one_task(job, model, prompts, most_tokens, report)
    given = [""] * len(prompts)
    done = 0
    for task in sorted(set(of_tasks)):
        chosen = [index for index, own in enumerate(of_tasks) if own == task]
        tasks.tell(job, model, [task])
        for index, answer in zip(
            chosen, _of_one_task(job, model, [prompts[i] for i in chosen], most_tokens, None), strict=True
        ):
            given[index] = answer
        done += len(chosen)
        if report:
            report(done, len(prompts))
    return given


def _of_one_task(
    job: Job, model: nn.Module, prompts: list[list[int]], most_tokens: int, report: Report | None
) -> list[str]:
    return [text for text, _ in continued(job, model, prompts, most_tokens, report)]


def continued(
    job: Job, model: nn.Module, prompts: list[list[int]], most_tokens: int, report: Report | None = None
) -> list[tuple[str, bool]]:
    """Answers to prompts of one task, and whether the model ended each itself.

    What all prompts begin with (a system message) is computed once and shared.
    """
    model.eval()
    stops = job.tokens.stop_ids
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    config = GenerationConfig(
        max_new_tokens=most_tokens,
        do_sample=False,
        eos_token_id=sorted(stops) or None,
        pad_token_id=job.tokens.pad_id or 0,
        bos_token_id=job.tokens.bos_id,
    )
    given = [("", False)] * len(prompts)
    with torch.no_grad(), autocast(job.plan):
        start = beginning(model, prompts)
        at_once = rows_at_once(max(map(len, prompts)) + most_tokens)
        for done in range(0, len(order), at_once):
            chosen = order[done : done + at_once]
            written = generated(model, [prompts[index] for index in chosen], config, start)
            for index, new in zip(chosen, written, strict=True):
                ended = bool(new) and new[-1] in stops
                given[index] = job.tokens.decode(new[:-1] if ended else new).strip(), ended
            if report:
                report(min(done + len(chosen), len(order)), len(order))
    return given


def _direct_logits(model: nn.Module, inputs: dict[str, torch.Tensor], learned: torch.Tensor) -> torch.Tensor:
    return causal(model).get_output_embeddings()(_hidden(model, inputs, learned))


def _hidden(model: nn.Module, inputs: dict[str, torch.Tensor], learned: torch.Tensor) -> torch.Tensor:
    """What the model's body makes of the tokens at these positions, (positions, width)."""
    inner = causal(model)
    body = getattr(inner, inner.base_model_prefix)
    more = rows_apart.given(inner, inputs["position_ids"]) if "position_ids" in inputs else {}
    return body(input_ids=inputs["input_ids"], use_cache=False, **more).last_hidden_state[:, :-1][learned]


def _full_logits(model: nn.Module, inputs: dict[str, torch.Tensor], learned: torch.Tensor) -> torch.Tensor:
    more = rows_apart.given(causal(model), inputs["position_ids"]) if "position_ids" in inputs else {}
    return model(input_ids=inputs["input_ids"], use_cache=False, **more).logits[:, :-1][learned]


def head_is_plain(model: nn.Module, inputs: dict[str, torch.Tensor]) -> bool:
    """Whether the language head alone, given what its body makes, says what the whole model says."""
    inner = causal(model)
    if not hasattr(inner, inner.base_model_prefix) or inner.get_output_embeddings() is None:
        return False
    few = {key: value[:1, :64] for key, value in inputs.items() if key in ("input_ids", "position_ids")}
    every = torch.ones_like(few["input_ids"][:, 1:], dtype=torch.bool)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            full, direct = _full_logits(model, few, every).float(), _direct_logits(model, few, every).float()
    finally:
        model.train(training)
    return full.shape == direct.shape and bool((full - direct).abs().max() <= 1e-3 * full.abs().max().clamp(min=1))
