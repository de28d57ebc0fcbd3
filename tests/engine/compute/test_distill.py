"""Divergences against formulas and torch's own, the loss they are part of, and runs that learn by it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from engine.compute.divergence import divergence, softened
from engine.jobs import open_job
from engine.runs.worker import main as work
from engine.spec import RunSpec
from tests import test_matrix
from tests.engine.compute.test_script import alone
from tests.fakes import models, runs

KINDS = ("forward-kl", "reverse-kl", "jensen-shannon")


def logits(seed: int, words: int = 11) -> torch.Tensor:
    return 3 * torch.randn(5, words, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("base")
    return {
        "student": models.tiny_decoder(place / "student"),
        "teacher": models.tiny_biased_decoder(place / "teacher"),
        "wide": models.tiny_decoder(place / "wide", width=64),
    }


def spec(base: dict[str, Path], tuner: str = "lora", student: str = "student", **settings: Any) -> RunSpec:
    return runs.spec(base[student], {"name": "distill", "teacher": str(base["teacher"]), **settings}, tuner)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_divergences_are_what_the_formulas_say(temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    p, q = (teacher / temperature).softmax(-1), (student / temperature).softmax(-1)
    middle = (p + q) / 2
    by_hand = {
        "forward-kl": (p * (p / q).log()).sum(-1),
        "reverse-kl": (q * (q / p).log()).sum(-1),
        "jensen-shannon": ((p * (p / middle).log()).sum(-1) + (q * (q / middle).log()).sum(-1)) / 2,
    }
    logs = [softened(one, 11, temperature) for one in (student, teacher)]
    for kind in KINDS:
        torch.testing.assert_close(divergence(kind, *logs), by_hand[kind], rtol=1e-4, atol=1e-6)


def test_divergences_are_those_of_torch() -> None:
    student, teacher = logits(0), logits(1)
    logs = [softened(one, 11, 1.0) for one in (student, teacher)]
    theirs, mine = Categorical(logits=teacher), Categorical(logits=student)
    torch.testing.assert_close(divergence("forward-kl", *logs), kl_divergence(theirs, mine))
    torch.testing.assert_close(divergence("reverse-kl", *logs), kl_divergence(mine, theirs))
    by_functional = torch.nn.functional.kl_div(logs[0], logs[1], reduction="none", log_target=True).sum(-1)
    torch.testing.assert_close(divergence("forward-kl", *logs), by_functional)


@pytest.mark.parametrize("kind", KINDS)
def test_a_divergence_is_0_for_equals_and_finite_for_opposites(kind: str) -> None:
    same = softened(logits(0), 11, 1.0)
    torch.testing.assert_close(divergence(kind, same, same), torch.zeros(5))
    apart = torch.tensor([[200.0, 0.0], [0.0, 200.0]])
    student = apart[:1].clone().requires_grad_()
    found = divergence(kind, softened(student, 2, 1.0), softened(apart[1:], 2, 1.0))
    found.sum().backward()
    assert bool(found.isfinite().all()) and student.grad is not None and bool(student.grad.isfinite().all())
    if kind == "jensen-shannon":
        assert float(found.detach()) == pytest.approx(math.log(2))


def test_words_beyond_those_that_both_score_are_left_out() -> None:
    wide = torch.cat([logits(0), torch.full((5, 3), 50.0)], -1)
    torch.testing.assert_close(softened(wide, 11, 2.0), softened(logits(0), 11, 2.0))


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_made_of_the_teachers_words_and_the_expected_ones(
    kind: str, base: dict[str, Path], tmp_path: Path
) -> None:
    from engine.compute.distillation import load
    from engine.compute.model import base_model

    wanted = spec(base, divergence=kind, temperature=1.5, data_weight=0.3)
    job = open_job(runs.folder(tmp_path / "run", wanted), lambda text: None)
    model, teacher = base_model(job), load(job, job.objective_settings.found)
    rows = [job.objective.row(job, e, c) for e, c in zip(job.examples["train"], job.encoded["train"], strict=True)]
    batch = job.objective.batch(job, rows)
    found, places = job.objective.losses(job)(model, batch)
    learned = batch["labels"][:, 1:] != -100
    mine, theirs = (one(input_ids=batch["input_ids"]).logits[:, :-1][learned] for one in (model, teacher))
    expected = torch.nn.functional.cross_entropy(mine, batch["labels"][:, 1:][learned], reduction="none")
    apart = divergence(kind, (mine / 1.5).log_softmax(-1), (theirs / 1.5).log_softmax(-1))
    torch.testing.assert_close(found, 0.3 * expected + 0.7 * 1.5**2 * apart, rtol=1e-4, atol=1e-5)
    assert len(places) == len(found) == int(learned.sum())


def test_the_gradient_keeps_its_size_whatever_the_temperature() -> None:
    """For high temperatures it is that of half the squared distance of centred logits (Hinton et al. 2015, section 2.1)."""
    student, teacher = logits(0).requires_grad_(), logits(1)
    heat = 200.0
    loss = heat**2 * divergence("forward-kl", softened(student, 11, heat), softened(teacher, 11, heat))
    loss.sum().backward()
    mine, theirs = (one - one.mean(-1, keepdim=True) for one in (student.detach(), teacher))
    torch.testing.assert_close(student.grad, (mine - theirs) / 11, rtol=0.05, atol=5e-3)


def test_the_teacher_is_no_part_of_what_is_trained_or_kept(base: dict[str, Path], tmp_path: Path) -> None:
    trainer = test_matrix.trained(runs.folder(tmp_path / "run", spec(base, "full")))
    teacher = trainer.losses._teacher
    assert teacher is not None and not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    own = {id(parameter) for parameter in trainer.model.parameters()}
    assert not own & {id(parameter) for parameter in teacher.parameters()}
    assert not any("teacher" in name for name, _ in trainer.model.named_parameters())


@pytest.mark.parametrize("bits", ["4bit"])
def test_a_base_of_few_bits_learns_from_a_teacher(bits: str, base: dict[str, Path], tmp_path: Path) -> None:
    wanted = spec(base, student="wide")
    wanted = replace(wanted, model=wanted.model.model_copy(update={"load": bits}))
    trainer = test_matrix.trained(runs.folder(tmp_path / "run", wanted))
    assert trainer.job.plan.weights == bits
    dtypes = {parameter.dtype for parameter in trainer.losses._teacher.parameters()}
    assert dtypes == {torch.float32}  # as this run computes, not as its base is held
    assert all(math.isfinite(loss) for loss in trainer.reporter.losses)


def test_several_tasks_learn_from_one_teacher(base: dict[str, Path], tmp_path: Path) -> None:
    wanted = spec(base, "multitask-prompt")
    wanted = wanted.with_data(wanted.data * 2)
    rows = [replace(row, source=place % 2) for place, row in enumerate(runs.examples("messages"))]
    trainer = test_matrix.trained(runs.folder(tmp_path / "run", wanted, rows))
    assert len(trainer.reporter.losses) == 4


@pytest.mark.parametrize(
    ("tuner", "settings"),
    [("lora", {}), ("full", {"divergence": "reverse-kl", "temperature": 1.0, "data_weight": 0.0})],
)
def test_the_standalone_script_gives_the_same_losses(
    tuner: str, settings: dict[str, Any], base: dict[str, Path], tmp_path: Path
) -> None:
    folder = runs.folder(tmp_path / "run", spec(base, tuner, **settings))
    assert work(folder) == 0
    place, theirs = alone(folder, base["student"])
    ours = [e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]
    assert [theirs[0], theirs[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)
    assert "import engine" not in (place / "train.py").read_text(encoding="utf-8")


def test_a_run_is_answered_without_its_teacher(base: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    from engine.compute.language import answers
    from engine.compute.result import open_result

    gone = shutil.copytree(base["teacher"], tmp_path / "gone")
    folder = runs.folder(tmp_path / "run", spec({**base, "teacher": gone}))
    assert work(folder) == 0
    shutil.rmtree(gone)
    job, model = open_result(folder)
    row = job.examples["test"][0]
    assert isinstance(answers(job, model, [job.tokens.encode_prompt(row.prompt)], 4)[0], str)
