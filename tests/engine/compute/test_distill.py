"""Divergences against formulas and torch's own, the loss they are part of, and runs that learn by it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from engine.compute import taught
from engine.compute.divergence import bucketed, divergence, largest, softened, sorted_distance
from engine.errors import MachineError, UserError
from engine.planning.jobs import open_job
from engine.runs.worker import main as work
from engine.specs.spec import RunSpec
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
        "foreign": models.tiny_foreign_decoder(place / "foreign"),
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


def test_buckets_are_the_likeliest_words_and_the_sum_of_all_others() -> None:
    student, teacher = logits(0), logits(1)
    words, logs = largest(teacher, 11, 1.5, 3)
    shares = (teacher / 1.5).softmax(-1)
    best, places = shares.topk(3, dim=-1)
    assert torch.equal(words, places)
    torch.testing.assert_close(logs.exp(), torch.cat([best, 1 - best.sum(-1, keepdim=True)], -1))
    mine = bucketed(student, 11, 1.5, words).exp()
    own = (student / 1.5).softmax(-1).gather(-1, words)
    torch.testing.assert_close(mine, torch.cat([own, 1 - own.sum(-1, keepdim=True)], -1))
    for kind in KINDS:  # what is told apart less can't be further apart
        apart = divergence(kind, mine.log(), logs)
        assert bool((apart <= divergence(kind, softened(student, 11, 1.5), softened(teacher, 11, 1.5)) + 1e-6).all())


def test_all_words_but_one_in_buckets_are_all_words() -> None:
    student, teacher = logits(0), logits(1)
    words, logs = largest(teacher, 11, 1.0, 10)
    for kind in KINDS:
        whole = divergence(kind, softened(student, 11, 1.0), softened(teacher, 11, 1.0))
        torch.testing.assert_close(divergence(kind, bucketed(student, 11, 1.0, words), logs), whole)


def test_a_share_that_is_none_stays_finite() -> None:
    sure = torch.tensor([[300.0, 0.0, 0.0, 0.0]], requires_grad=True)
    words, logs = largest(sure.detach(), 4, 1.0, 1)
    found = divergence("reverse-kl", bucketed(sure, 4, 1.0, words), logs)
    found.sum().backward()
    assert bool(found.isfinite().all()) and sure.grad is not None and bool(sure.grad.isfinite().all())


def test_what_is_kept_of_the_teacher_is_what_it_says(base: dict[str, Path], tmp_path: Path) -> None:
    whole = test_matrix.trained(runs.folder(tmp_path / "whole", spec(base)))
    kept = test_matrix.trained(runs.folder(tmp_path / "kept", spec(base, top_k=models.VOCABULARY - 1)))
    assert kept.reporter.losses == pytest.approx(whole.reporter.losses, rel=1e-5)
    assert kept.losses._teacher is None and whole.losses._teacher is not None
    few = test_matrix.trained(runs.folder(tmp_path / "few", spec(base, top_k=4)))
    assert all(a < b for a, b in zip(few.reporter.losses, whole.reporter.losses, strict=True))


def test_a_run_that_keeps_words_resumes_exactly_and_asks_no_row_twice(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taught, "ROWS_A_FILE", 4)
    read, asked, killed = taught._read, list[int](), list[bool]()

    def counted(*given: Any) -> Any:
        if len(asked) == 2 and not killed:
            killed.append(True)
            raise KeyboardInterrupt
        asked.append(len(given[-1]))
        return read(*given)

    wanted = spec(base, top_k=4)
    whole = test_matrix.trained(runs.folder(tmp_path / "whole", wanted))
    monkeypatch.setattr(taught, "_read", counted)
    part = runs.folder(tmp_path / "part", wanted)
    with pytest.raises(KeyboardInterrupt):  # as if it were killed while the third file is made
        test_matrix.trained(part)
    files = sorted(file.name for file in (part / taught.FOLDER).glob("*.npy"))
    assert files == ["000000.npy", "000001.npy"] and asked == [4, 4]
    first = _until_stop(part)
    assert asked == [4, 4, 2]
    second = test_matrix.trained(part)
    assert asked == [4, 4, 2]
    assert first.reporter.losses + second.reporter.losses == whole.reporter.losses
    assert test_matrix.hashes(second.model, trainable=True) == test_matrix.hashes(whole.model, trainable=True)


def _until_stop(part: Path) -> Any:
    trainer = test_matrix.trained(part, stop=True)
    (part / "stop").unlink()
    return trainer


def test_what_another_teacher_said_is_not_taken(base: dict[str, Path], tmp_path: Path) -> None:
    folder = runs.folder(tmp_path / "run", spec(base, top_k=4))
    job = open_job(folder, lambda text: None)
    job.objective.prepare(job, lambda done, total: None)
    before = {file.name: file.stat().st_mtime_ns for file in (folder / taught.FOLDER).glob("*.npy")}
    job.objective.prepare(job, lambda done, total: None)
    assert before == {file.name: file.stat().st_mtime_ns for file in (folder / taught.FOLDER).glob("*.npy")}
    spec(base, top_k=5).save(folder / "spec.yaml")
    job = open_job(folder, lambda text: None)
    job.objective.prepare(job, lambda done, total: None)
    row = job.objective.row(job, job.examples["train"][0], job.encoded["train"][0])
    words, logs = taught.Taught(folder, 5).of([row["taught"]])
    assert words.shape[1] == 5 and logs.shape[1] == 6
    torch.testing.assert_close(logs.exp().sum(-1), torch.ones(len(logs)))


def test_a_row_of_which_nothing_is_learned_is_taught_nothing(base: dict[str, Path], tmp_path: Path) -> None:
    found = taught.Taught(tmp_path, 3).of([1, 2])
    assert [tuple(one.shape) for one in found] == [(0, 3), (0, 4)]


def test_a_disk_without_room_is_told_before_the_teacher_reads(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taught, "SPARE", 10**18)
    job = open_job(runs.folder(tmp_path / "run", spec(base, top_k=4)), lambda text: None)
    with pytest.raises(MachineError, match="MB of disk"):
        job.objective.prepare(job, lambda done, total: None)


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
    [("lora", {"top_k": 5}), ("full", {"divergence": "reverse-kl", "temperature": 1.0, "data_weight": 0.0})],
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


def test_a_run_tells_of_its_teacher_and_is_answered_without_it(base: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    from engine.cli.telling import result_lines
    from engine.compute.language import answers
    from engine.compute.result import load_scores, open_result
    from engine.events import Finished

    gone = shutil.copytree(base["teacher"], tmp_path / "gone")
    folder = runs.folder(tmp_path / "run", spec({**base, "teacher": gone}))
    assert work(folder) == 0
    done = Finished(**{name: value for name, value in runs.events(folder)[-1].items() if name not in ("type", "time")})
    scores = {name: load_scores(folder, name) for name in ("before, teacher", "before", "after")}
    assert all(found is not None and len(found.rows) == 2 for found in scores.values())
    assert done.metrics["baselines"].keys() == {"teacher"}
    sizes = {name: found["parameters"] for name, found in done.metrics["models"].items()}
    assert sizes["teacher"] > sizes["before"] == sizes["after"] > 0
    assert all(found["tokens_per_second"] > 0 for found in done.metrics["models"].values())
    lines = result_lines("it", done)
    assert any(line.startswith("teacher: exact match") for line in lines)
    shutil.rmtree(gone)
    job, model = open_result(folder)
    row = job.examples["test"][0]
    assert isinstance(answers(job, model, [job.tokens.encode_prompt(row.prompt)], 4)[0], str)


def across(base: dict[str, Path], **settings: Any) -> RunSpec:
    return spec({**base, "teacher": base["foreign"]}, divergence="sorted", **settings)


def test_sorted_shares_are_held_against_each_other_whatever_the_words() -> None:
    student, teacher = logits(0, 11), logits(1, 7)
    p = (student / 1.5).softmax(-1).sort(-1, descending=True).values
    q = (teacher / 1.5).softmax(-1).sort(-1, descending=True).values
    by_hand = (p[:, :7] - q).abs().sum(-1) + p[:, 7:].sum(-1)
    torch.testing.assert_close(sorted_distance(student, teacher, 1.5), by_hand)
    torch.testing.assert_close(sorted_distance(teacher, student, 1.5), by_hand)
    mixed = student[:, torch.randperm(11)]
    torch.testing.assert_close(sorted_distance(student, mixed, 1.0), torch.zeros(5))
    sure, unsure = torch.tensor([[99.0, 0.0]]), torch.zeros(1, 1000)
    assert float(sorted_distance(sure, unsure, 1.0)) == pytest.approx(1.998)


@pytest.mark.parametrize("packing", ["off", "on"])
def test_a_model_learns_from_a_teacher_with_another_tokenizer(
    packing: str, base: dict[str, Path], tmp_path: Path
) -> None:
    """Against both models asked about one row at a time, and the places counted by the text that stands before."""
    from engine.compute.distillation import load
    from engine.compute.model import base_model
    from engine.texts.tokens import Tokens

    wanted = across(base, temperature=1.5, data_weight=0.3)
    wanted = replace(wanted, training=wanted.training.model_copy(update={"packing": packing}))
    job = open_job(runs.folder(tmp_path / "run", wanted), lambda text: None)
    model, teacher = base_model(job), load(job, job.objective_settings.found)
    theirs = Tokens.load(base["foreign"])
    examples = job.examples["train"][:4]
    rows = [job.objective.row(job, e, c) for e, c in zip(examples, job.encoded["train"], strict=False)]
    found, places = job.objective.losses(job)(model, job.objective.batch(job, rows))
    expected = []
    for example in examples:
        mine, other = job.tokens.encode_chat(example.messages, 64), theirs.encode_chat(example.messages, 64)
        with torch.no_grad():
            own = model(input_ids=torch.tensor([mine.ids])).logits[0]
            foreign = teacher(input_ids=torch.tensor([other.ids])).logits[0]
        befores = {theirs.decode(other.ids[:at], skip_special=False): at for at, on in enumerate(other.learned) if on}
        for at, learned in enumerate(mine.learned):
            if learned:
                loss = 0.3 * -own[at - 1].log_softmax(-1)[mine.ids[at]]
                there = befores.get(job.tokens.decode(mine.ids[:at], skip_special=False))
                if there is not None:
                    apart = sorted_distance(own[at - 1][None], foreign[there - 1][None], 1.5)[0]
                    loss = loss + 0.7 * 1.5 * apart
                expected.append(loss)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)
    assert len(places) == len(found) and job.plan.packing is (packing == "on")


def test_a_run_learns_across_tokenizers_and_its_script_gives_the_same_losses(
    base: dict[str, Path], tmp_path: Path
) -> None:
    from engine.compute.result import load_scores

    folder = runs.folder(tmp_path / "run", across(base))
    assert work(folder) == 0
    theirs = load_scores(folder, "before, teacher")
    assert theirs is not None and len(theirs.rows) == 2 and all(row.loss is None for row in theirs.rows)
    ours = [e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]
    _, losses = alone(folder, base["student"])
    assert [losses[0], losses[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)


def test_another_tokenizer_is_refused_with_the_way_to_go_and_few_words_are_not_enough_for_it(
    base: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="has other words") as told:
        open_job(runs.folder(tmp_path / "one", spec({**base, "teacher": base["foreign"]})), lambda text: None)
    assert "sorted" in told.value.fix
    with pytest.raises(UserError, match="needs all words"):
        open_job(runs.folder(tmp_path / "two", across(base, top_k=3)), lambda text: None)


@pytest.mark.model
def test_half_of_a_real_models_layers_learn_from_the_whole(tmp_path: Path) -> None:
    values = runs.spec(Path("embedded:smollm2-135m"), "distill", "lora", learning_rate=1e-3, max_steps=8).as_dict()
    values["model"] = {"id": "embedded:smollm2-135m", "keep_layers": 15}
    trainer = test_matrix.trained(runs.folder(tmp_path / "run", RunSpec.parse(values)))
    assert (trainer.job.facts.layers, trainer.job.facts.made_of) == (15, 30)
    assert not trainer.job.objective_settings.found.is_student
    assert len(trainer.losses._teacher.model.layers) == 30 and trainer.model.config.num_hidden_layers == 15
    losses = trainer.reporter.losses
    assert sum(losses[-2:]) < 0.8 * sum(losses[:2])
