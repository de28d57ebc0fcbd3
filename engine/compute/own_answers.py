"""Answers that the model writes itself while it learns (on-policy). A standalone script holds this source, too.

What is written follows from the weights, the seed and the step alone, so that a resumed run writes the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import GenerationConfig

from engine.compute.generation import beginning, generated

Row = tuple[list[int], list[int]]
"""Token ids, and labels: -100 where nothing is learned."""


@dataclass(frozen=True)
class Writing:
    """share: of the rows whose last answer is written anew, at a temperature, of `most` tokens at most."""

    share: float
    temperature: float
    most: int
    longest: int
    """Tokens of a row with its answer, at most."""
    context: int
    """Tokens that the model reads; 0 where that is not known."""
    at_once: int
    """Rows."""
    stops: tuple[int, ...]
    """Tokens that end an answer."""
    pad: int

    def seed(self, seed: int, step: int) -> int:
        """Of what is drawn in a step: another one than that of its dropout."""
        return (seed * 1_000_003 + step + 2**62) % 2**63


def rewritten(
    model: nn.Module, rows: list[Row], writing: Writing, seed: int, tasks: list[int], tell: Callable[[int], object]
) -> dict[int, Row]:
    """Those of an update's rows, by place, whose answer the model has written, as it is now; the answer is learned.

    tasks: of each row; tell: called with a task before its rows are written. Leaves the generator of random numbers
    wherever it comes to stand: it is set again before a step.
    """
    drawn = torch.rand(len(rows), generator=torch.Generator().manual_seed(seed)) < writing.share
    prompts = {place: prompt for place, row in enumerate(rows) if drawn[place] and (prompt := _prompt(*row))}
    training = model.training
    model.eval()
    torch.manual_seed(seed)
    found: dict[int, Row] = {}
    try:
        for task in sorted({tasks[place] for place in prompts}):
            tell(task)
            own = {place: prompt for place, prompt in prompts.items() if tasks[place] == task}
            for place, answer in _answers(model, own, writing).items():
                found[place] = prompts[place] + answer, [-100] * len(prompts[place]) + answer
    finally:
        model.train(training)
    return found


def _prompt(ids: list[int], labels: list[int]) -> list[int]:
    """What stands before a row's last answer; nothing where it has none."""
    learned = [place for place in range(1, len(ids)) if labels[place] != -100]
    if not learned:
        return []
    start = learned[-1]
    while start > 1 and labels[start - 1] != -100:
        start -= 1
    return ids[:start]


def _answers(model: nn.Module, prompts: dict[int, list[int]], writing: Writing) -> dict[int, list[int]]:
    """By place, each no longer than its row may be."""
    rooms = {place: min(writing.most, writing.longest - len(prompt)) for place, prompt in prompts.items()}
    found = {}
    with torch.no_grad():
        begin = beginning(model, list(prompts.values()))
        for chosen in _together(prompts, rooms, writing):
            config = GenerationConfig(
                max_new_tokens=max(rooms[place] for place in chosen),
                do_sample=True,
                temperature=writing.temperature,
                # Left open, these would be what the model's own settings say: samples have to be its own words.
                top_k=0,
                top_p=1.0,
                typical_p=1.0,
                repetition_penalty=1.0,
                eos_token_id=list(writing.stops) or None,
                pad_token_id=writing.pad,
            )
            written = generated(model, [prompts[place] for place in chosen], config, begin)
            found.update({place: new[: rooms[place]] for place, new in zip(chosen, written, strict=True)})
    return found


def _together(prompts: dict[int, list[int]], rooms: dict[int, int], writing: Writing) -> list[list[int]]:
    """Places that are written at once, the longest prompts first: none would go on past what the model reads."""
    found: list[list[int]] = []
    for place in sorted(prompts, key=lambda place: -len(prompts[place])):
        near = found and len(found[-1]) < writing.at_once
        if near and (not writing.context or len(prompts[found[-1][0]]) + rooms[place] <= writing.context):
            found[-1].append(place)
        else:
            found.append([place])
    return found
