"""Losses of next words, scored a part of the positions at a time: the same as all at once, in less memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.bases.architecture import scores_as_they_are
from engine.compute import vocabulary
from engine.planning import memory
from engine.planning.jobs import open_job
from tests.fakes import models, runs

POSITIONS, WIDTH, WORDS = 300, 16, 50


def made(learns: bool, bias: bool) -> tuple[Any, Any, Any]:
    import torch

    torch.manual_seed(1)
    head = torch.nn.Linear(WIDTH, WORDS, bias=bias).requires_grad_(learns)
    return head, torch.randn(POSITIONS, WIDTH), torch.randint(0, WORDS, (POSITIONS,))


def at_once(count: int, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(vocabulary, "positions_at_once", lambda words: count)


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rounded", [False, True])
def test_losses_and_gradients_are_those_of_all_at_once(
    learns: bool, bias: bool, rounded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    head, hidden, targets = made(learns, bias)
    above = torch.rand(POSITIONS, generator=torch.Generator().manual_seed(2))
    found = []
    for count in (POSITIONS, 128, 7):
        at_once(count, monkeypatch)
        given = hidden.clone().requires_grad_()
        head.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=rounded):
            losses = vocabulary.losses(head, given, targets, WORDS)
        (losses * above).sum().backward()
        found.append([losses.detach(), given.grad, *(p.grad for p in head.parameters() if p.grad is not None)])
    assert all(len(one) == 2 + learns * (1 + bias) for one in found)
    near = {"rtol": 2e-2, "atol": 2e-2} if rounded else {"rtol": 1e-5, "atol": 1e-6}
    for one in found[1:]:
        for ours, whole in zip(one, found[0], strict=True):
            torch.testing.assert_close(ours, whole, **near)
    with torch.no_grad():
        torch.testing.assert_close(vocabulary.losses(head, hidden, targets, WORDS), found[2][0], **near)


def test_scores_of_all_positions_are_never_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    head, hidden, targets = made(False, False)
    at_once(10, monkeypatch)
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.shape[-1:] == (WORDS,):
                largest = max(largest, out.numel())
            return out

    for learns in (False, True):
        head.requires_grad_(learns)
        largest = 0
        with Watch():
            vocabulary.losses(head, hidden.clone().requires_grad_(), targets, WORDS).sum().backward()
        assert 0 < largest <= 10 * WORDS


@pytest.mark.parametrize("tuner", ["lora", "full", "prompt"])
def test_a_run_learns_the_same(tuner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from engine.compute.model import apply_tuner

    base = models.tiny_decoder(tmp_path / "base")
    job = open_job(runs.folder(tmp_path / "run", runs.spec(base, "chat", tuner)), lambda text: None)
    rows = [
        job.objective.row(job, e, c) for e, c in zip(job.examples["train"][:4], job.encoded["train"][:4], strict=True)
    ]
    batch = job.objective.batch(job, rows)
    torch.manual_seed(1)
    model = apply_tuner(job, job.objective.load(job))
    seen = []
    for count in (10_000, 3):
        at_once(count, monkeypatch)
        model.zero_grad()
        losses, _ = job.objective.losses(job)(model, batch)
        losses.mean().backward()
        seen.append([losses.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    for whole, parts in zip(*seen, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


def test_memory_is_predicted_for_the_positions_that_are_scored_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert memory.positions_at_once(50_000) == 1280 and memory.positions_at_once(10**7) == 128
    assert memory.positions_at_once(152_000) * 152_000 * 4 <= memory.SCORES_AT_ONCE
    base = models.tiny_decoder(tmp_path / "base")
    found = []
    for count in (10_000, 3):
        monkeypatch.setattr(memory, "positions_at_once", lambda words, count=count: count)
        job = open_job(runs.folder(tmp_path / str(count), runs.spec(base, "chat", "lora")), lambda text: None)
        found.append({part.name: part.bytes for part in job.plan.memory}["Scores of words"])
    assert found[0] > found[1] == memory.SCORE_BYTES * 3 * job.facts.vocabulary
    # Where the model makes something else of its head's scores, they are there at all positions.
    assert scores_as_they_are(job.facts.config) and scores_as_they_are({"logit_scale": 1.0})
    assert not scores_as_they_are({"final_logit_softcapping": 30.0})
    assert not scores_as_they_are({"text_config": {"logits_scaling": 8.0}})


def test_no_positions_are_no_losses() -> None:
    head, hidden, targets = made(True, True)
    found = vocabulary.losses(head, hidden[:0].requires_grad_(), targets[:0], WORDS)
    assert found.shape == (0,) and found.requires_grad
