"""Answers that the model writes itself while it learns from a teacher (on-policy): how, by what loss, and resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.compute import distillation
from engine.compute.divergence import divergence
from engine.compute.model import base_model
from engine.compute.own_answers import Writing, rewritten
from engine.errors import UserError
from engine.planning.jobs import open_job
from engine.runs.worker import main as work
from engine.specs.spec import RunSpec
from tests import test_matrix
from tests.engine.compute.test_script import alone
from tests.fakes import models, runs


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("base")
    return {
        "student": models.tiny_decoder(place / "student"),
        "teacher": models.tiny_biased_decoder(place / "teacher"),
        "foreign": models.tiny_foreign_decoder(place / "foreign"),
    }


def spec(base: dict[str, Path], tuner: str = "lora", teacher: str = "teacher", **settings: Any) -> RunSpec:
    own = {"own_share": 0.5, "own_tokens": 6, **settings}
    return runs.spec(base["student"], {"name": "distill", "teacher": str(base[teacher]), **own}, tuner)


def opened(base: dict[str, Path], place: Path, **settings: Any) -> Any:
    return open_job(runs.folder(place, spec(base, **settings)), lambda text: None)


def rows_of(job: Any) -> list[dict[str, Any]]:
    return [job.objective.row(job, e, c) for e, c in zip(job.examples["train"], job.encoded["train"], strict=True)]


def plain(**changed: Any) -> Writing:
    return replace(Writing(1.0, 1.0, 6, 64, 128, 4, (2,), 0), **changed)


def test_half_of_the_rows_are_written_anew_and_only_their_last_answers(base: dict[str, Path], tmp_path: Path) -> None:
    job = opened(base, tmp_path / "run")
    model, rows = base_model(job), rows_of(job)
    written = [job.objective.written(job, model, rows, step) for step in range(12)]
    own = [row["own"] for found in written for row in found]
    assert 0.3 < sum(own) / len(own) < 0.7
    for found in written:
        for before, after in zip(rows, found, strict=True):
            if not after["own"]:
                assert after == {**before, "own": False}
                continue
            start = next(place for place, label in enumerate(before["labels"]) if label != -100)
            assert after["input_ids"][:start] == before["input_ids"][:start]
            assert after["labels"] == [-100] * start + after["input_ids"][start:]
            assert 1 <= len(after["input_ids"]) - start <= 6
    assert len({tuple(row["input_ids"]) for found in written for row in found if row["own"]}) > len(rows)


def test_what_is_written_follows_from_weights_seed_and_step_alone(base: dict[str, Path], tmp_path: Path) -> None:
    job = opened(base, tmp_path / "run", own_share=1.0)
    model, rows = base_model(job).train(), rows_of(job)
    first = job.objective.written(job, model, rows, 3)
    torch.manual_seed(99)
    assert job.objective.written(job, model, rows, 3) == first and model.training
    assert job.objective.written(job, model, rows, 4) != first
    other = replace(job, training=job.training.model_copy(update={"seed": 7}))
    assert job.objective.written(other, model, rows, 3) != first


def test_dropout_has_no_part_in_what_is_written(base: dict[str, Path], tmp_path: Path) -> None:
    job = opened(base, tmp_path / "run", own_share=1.0)
    model, rows = base_model(job), rows_of(job)
    first = job.objective.written(job, model.eval(), rows, 0)
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.9
    assert job.objective.written(job, model.train(), rows, 0) == first


def test_an_answer_ends_with_the_token_that_ends_one_and_never_beyond_what_is_read(
    base: dict[str, Path], tmp_path: Path
) -> None:
    job = opened(base, tmp_path / "run")
    model = base_model(job)
    prompts = [list(range(20, 20 + length)) for length in (5, 9, 30, 31)]
    rows = [([*prompt, 7], [-100] * len(prompt) + [7]) for prompt in prompts]
    every = tuple(range(models.VOCABULARY))
    ended = rewritten(model, rows, plain(stops=every), 0, [0] * 4, lambda task: None)
    assert [len(ended[place][0]) - len(prompt) for place, prompt in enumerate(prompts)] == [1] * 4
    widths: list[tuple[int, int]] = []
    whole = model.generate

    def seen(input_ids: torch.Tensor, generation_config: Any, **further: Any) -> Any:
        widths.append((input_ids.shape[1], generation_config.max_new_tokens))
        return whole(input_ids=input_ids, generation_config=generation_config, **further)

    model.generate = seen
    found = rewritten(model, rows, plain(longest=32, context=32, most=20, stops=()), 0, [0] * 4, lambda task: None)
    assert [len(found[place][0]) for place in range(4)] == [25, 29, 32, 32]
    assert all(width + most <= 32 for width, most in widths)


def test_several_turns_keep_all_but_the_last_answer(base: dict[str, Path], tmp_path: Path) -> None:
    job = opened(base, tmp_path / "run")
    ids = list(range(30, 42))
    labels = [-100, -100, 32, 33, -100, -100, -100, 37, 38, 39, -100, -100]
    found = rewritten(base_model(job), [(ids, labels)], plain(), 0, [0], lambda task: None)
    written, learned = found[0]
    assert written[:7] == ids[:7] and learned == [-100] * 7 + written[7:]
    assert rewritten(base_model(job), [(ids, [-100] * 12)], plain(), 0, [0], lambda task: None) == {}


@pytest.mark.parametrize("packing", ["off", "on"])
def test_the_divergence_is_all_of_the_loss_of_what_the_model_wrote(
    packing: str, base: dict[str, Path], tmp_path: Path
) -> None:
    wanted = spec(base, divergence="reverse-kl", temperature=1.5, data_weight=0.3)
    wanted = replace(wanted, training=wanted.training.model_copy(update={"packing": packing}))
    job = open_job(runs.folder(tmp_path / "run", wanted), lambda text: None)
    model, teacher = base_model(job), distillation.load(job, job.objective_settings.found)
    rows = job.objective.written(job, model, rows_of(job), 0)
    assert {row["own"] for row in rows} == {True, False} and job.plan.packing is (packing == "on")
    found, _ = job.objective.losses(job)(model, job.objective.batch(job, rows))
    expected = []
    for row in rows:
        ids = torch.tensor([row["input_ids"]])
        with torch.no_grad():
            mine, theirs = (one(input_ids=ids).logits[0, :-1] for one in (model, teacher))
        for place, label in enumerate(row["labels"][1:]):
            if label != -100:
                apart = 1.5**2 * divergence(
                    "reverse-kl", (mine[place] / 1.5).log_softmax(-1), (theirs[place] / 1.5).log_softmax(-1)
                )
                data = -mine[place].log_softmax(-1)[label]
                expected.append(apart if row["own"] else 0.3 * data + 0.7 * apart)
    torch.testing.assert_close(found.detach(), torch.stack(expected), rtol=1e-4, atol=1e-5)


GOLDEN = {  # as tests/data/golden.json has them of other pairs
    "lora": [1.4553438425064087, 1.4541784524917603, 2.8465354442596436, 0.012930748052895069],
    "full": [1.4553438425064087, 1.4541784524917603, 2.731574296951294, 0.02009466476738453],
    "prompt": [1.4542678594589233, 1.453707218170166, 2.8830623626708984, 0.013723601587116718],
}


@pytest.mark.parametrize("tuner", sorted(GOLDEN))
def test_a_run_keeps_its_contract(tuner: str, base: dict[str, Path], tmp_path: Path) -> None:
    whole = test_matrix.keeps_its_contract(tmp_path, spec(base, tuner), GOLDEN[tuner])
    assert whole.writes


def test_rows_that_are_computed_apart_are_written_alike(base: dict[str, Path], tmp_path: Path) -> None:
    wanted = spec(base, own_share=1.0)
    losses = []
    for rows in (2, 1):
        one = replace(wanted, training=wanted.training.model_copy(update={"micro_batch_size": rows}))
        losses.append(test_matrix.trained(runs.folder(tmp_path / f"{rows}", one)).reporter.losses)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_several_tasks_write_each_as_it_is(base: dict[str, Path], tmp_path: Path) -> None:
    wanted = spec(base, "multitask-prompt", own_share=1.0)
    wanted = wanted.with_data(wanted.data * 2)
    rows = [replace(row, source=place % 2) for place, row in enumerate(runs.examples("messages"))]
    folder = runs.folder(tmp_path / "run", wanted, rows)
    assert work(folder) == 0
    assert _ends(alone(folder, base["student"])[1]) == pytest.approx(_ends(_losses(folder)), rel=1e-4, abs=2e-5)


@pytest.mark.parametrize("tuner", ["lora", "prompt"])
def test_the_standalone_script_writes_and_learns_the_same(tuner: str, base: dict[str, Path], tmp_path: Path) -> None:
    folder = runs.folder(tmp_path / "run", spec(base, tuner))
    assert work(folder) == 0
    place, theirs = alone(folder, base["student"])
    assert _ends(theirs) == pytest.approx(_ends(_losses(folder)), rel=1e-4, abs=2e-5)
    assert "import engine" not in (place / "train.py").read_text(encoding="utf-8")


def _ends(losses: list[float]) -> list[float]:
    """The first and the last: between them a run that is fast leaves some out."""
    return [losses[0], losses[-1]]


def _losses(folder: Path) -> list[float]:
    return [e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]


def test_the_share_is_told_and_the_tokens_are_those_that_were_learned(base: dict[str, Path], tmp_path: Path) -> None:
    from engine.events import Progress, read
    from engine.judging import evidence, verdict

    folder = runs.folder(tmp_path / "run", spec(base, own_share=1.0, data_weight=0.25))
    assert work(folder) == 0
    done = runs.events(folder)[-1]
    assert done["metrics"]["own_answers"] == 1.0
    told = " ".join(e.get("text", "") for e in runs.events(folder))
    assert "the model writes 100 % of the answers itself" in told and "None is the data's" in told
    steps = [e for e in read(folder / "events.jsonl", 0)[0] if isinstance(e, Progress) and e.loss is not None]
    assert all(step.tokens_per_second and step.tokens_per_second > 0 for step in steps)
    assert verdict and evidence


def test_who_can_not_judge_them_is_refused_with_the_reason(base: dict[str, Path], tmp_path: Path) -> None:
    for number, (settings, problem) in enumerate(
        (
            ({"top_k": 4}, "has to be asked then"),
            ({"teacher": "foreign", "divergence": "sorted"}, "another tokenizer"),
            ({"teacher": "foreign"}, "has other words"),
            ({"own_share": 1.5}, "Answers by the model itself"),
        )
    ):
        with pytest.raises(UserError, match=problem):
            opened(base, tmp_path / str(number), **settings)


@pytest.mark.model
def test_half_of_a_real_models_layers_learn_by_what_they_write(tmp_path: Path) -> None:
    settings = {"name": "distill", "own_share": 0.5, "own_tokens": 8, "divergence": "reverse-kl", "temperature": 1.0}
    values = runs.spec(Path("embedded:smollm2-135m"), settings, "lora", learning_rate=1e-3, max_steps=6).as_dict()
    values["model"] = {"id": "embedded:smollm2-135m", "keep_layers": 15}
    values["evaluation"] = {"every_steps": 100}
    rows = [row for row in runs.examples("messages") if row.split == "train"]
    folder = runs.folder(tmp_path / "run", RunSpec.parse(values), rows)
    trainer = test_matrix.trained(folder)
    assert trainer.writes and len(trainer.losses._teacher.model.layers) == 30
    losses = trainer.reporter.losses
    # From step to step other rows are written anew, whose loss is another one.
    assert sum(losses[-3:]) < 0.85 * sum(losses[:3])
    told = [e for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]
    assert told and all(e["tokens_per_second"] > 0 for e in told)
