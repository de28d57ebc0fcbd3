"""One soft prompt for several data sets, each with factors of its own: the contract, and that tasks stay apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.bases import models as model_facts
from engine.bases import parts
from engine.cli import talking
from engine.data.example import Example
from engine.errors import UserError
from engine.planning.jobs import open_job, require_pair
from engine.scripts import snippets
from engine.specs.spec import RunSpec
from tests import test_matrix
from tests.fakes import runs

NAME = "multitask-prompt"
PAIRS = [("chat", "decoder"), ("classify", "encoder")]
GOLDEN: dict[str, list[float]] = {
    "chat": [5.773557186126709, 5.7707200050354, 5.754697322845459, 5.763001441955566],
    "classify": [1.114900827407837, 1.10068678855896, 1.1358098983764648, 1.186852216720581],
}


def spec_of(base: Path, objective: str, tuner: str = NAME, **settings: Any) -> RunSpec:
    plain = runs.spec(base, objective, tuner, learning_rate=0.1).as_dict()
    data = [{"source": "/place/letters.csv"}, {"source": "sample:banking-intents"}]
    return RunSpec.parse({**plain, "data": data, "tuner": {"name": tuner, "tokens": 5, **settings}})


def rows_of(objective: str) -> list[Example]:
    """Rows that belong to the two data sets in turn, in each split."""
    wants = "labelled" if objective == "classify" else "messages"
    return [replace(row, source=row.row % 2) for row in runs.examples(wants)]


def model_of(job: Any) -> Any:
    from engine.compute.model import apply_tuner, base_model

    return apply_tuner(job, base_model(job))


def bent(model: Any, prompt: Any) -> Any:
    """The model after all that learns has moved, each task's factors their own way."""
    import torch

    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for part in (prompt.vectors, prompt.left, prompt.right):
            part.add_(3 * torch.randn(part.shape, generator=generator))
    return model.eval()


@pytest.mark.parametrize(("objective", "kind"), PAIRS)
def test_it_keeps_the_contract(objective: str, kind: str, tmp_path: Path) -> None:
    """Among the rows that are compared after reloading are some of either task."""
    from safetensors.torch import load_file

    spec = spec_of(test_matrix.MODELS[kind](tmp_path / "base"), objective)
    run = test_matrix.keeps_its_contract(tmp_path, spec, GOLDEN[objective], rows_of(objective))
    assert {row.source for row in run.job.examples["test"]} == {0, 1}
    prompt = run.job.objective.backbone(run.model).soft_prompt
    assert not (prompt.left[0] == prompt.left[1]).all()
    folder = run.job.folder / "model"
    saved = load_file(folder / parts.weights_file("soft_prompt"))
    assert saved.keys() == {"soft_prompt.vectors", "soft_prompt.left", "soft_prompt.right"}
    config = json.loads((folder / parts.config_file("soft_prompt")).read_text(encoding="utf-8"))
    assert config["tasks"] == ["letters.csv", "banking-intents"]


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize(("objective", "kind"), PAIRS)
def test_it_begins_as_prompt_tuning_with_the_counted_numbers(
    rank: int, objective: str, kind: str, tmp_path: Path
) -> None:
    import torch

    base = test_matrix.MODELS[kind](tmp_path / "base")
    found = []
    for tuner, further in ((NAME, {"rank": rank}), ("prompt", {})):
        spec = spec_of(base, objective, tuner, **further)
        job = open_job(runs.folder(tmp_path / tuner, spec, rows_of(objective)), lambda text: None)
        model = model_of(job)
        found.append(test_matrix.logits(job, model))
        learns = [p for p in job.objective.backbone(model).parameters() if p.requires_grad]
        counted = job.tuner.trainable_parameters(job.facts, job.tuner_settings)
        assert sum(p.numel() for p in learns) == counted
        job.tuner.save(job.objective.backbone(model), tmp_path / tuner)
        assert counted == job.tuner.saved_parameters(job.facts, job.tuner_settings)
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize(("objective", "kind"), PAIRS)
def test_rows_of_one_task_leave_the_factors_of_the_other_alone(objective: str, kind: str, tmp_path: Path) -> None:
    rows = [replace(row, source=0) if row.split == "train" else row for row in rows_of(objective)]
    spec = spec_of(test_matrix.MODELS[kind](tmp_path / "base"), objective, rank=2)
    run = test_matrix.trained(runs.folder(tmp_path / "run", spec, rows))
    before, after = (run.job.objective.backbone(model).soft_prompt for model in (model_of(run.job), run.model))
    assert (before.vectors != after.vectors).any()
    for name in ("left", "right"):
        old, new = getattr(before, name), getattr(after, name)
        assert (old[0] != new[0]).any()
        assert (old[1] == new[1]).all()


def attentive(model: Any) -> Any:
    """A tiny decoder repeats the last word whatever stands before; this one's attention has a say."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("o_proj.weight"):
                weight.mul_(100)
    return model


def test_answers_to_mixed_tasks_are_those_to_each_alone(tmp_path: Path) -> None:
    """With a beginning that is computed once for all of a task, and gaps."""
    from engine.compute.language import answers

    spec = spec_of(test_matrix.MODELS["decoder"](tmp_path / "base"), "chat")
    job = open_job(runs.folder(tmp_path / "run", spec, rows_of("chat")), lambda text: None)
    model = model_of(job)
    attentive(bent(model, model.soft_prompt))
    shared = list(range(40, 52))
    prompts = [[*shared, 60, 61, 62], [*shared, 60, 61, 62], [*shared, 80, 81], [*shared, 80, 81]]
    tasks = [0, 1, 1, 0]
    done = []
    together = answers(job, model, prompts, 6, tasks, lambda at, total: done.append((at, total)))
    alone = [answers(job, model, [p], 6, [task])[0] for p, task in zip(prompts, tasks, strict=True)]
    assert together == alone
    assert together[0] != together[1] and together[2] != together[3]
    assert done[-1] == (4, 4)


@pytest.mark.parametrize(("objective", "kind"), PAIRS)
def test_each_task_is_scored_by_itself_as_it_answers(objective: str, kind: str, tmp_path: Path) -> None:
    spec = spec_of(test_matrix.MODELS[kind](tmp_path / "base"), objective)
    job = open_job(runs.folder(tmp_path / "run", spec, rows_of(objective)), lambda text: None)
    model = model_of(job)
    bent(model, job.objective.backbone(model).soft_prompt)
    rows = [row for split in job.examples.values() for row in split]
    both = job.objective.score(job, model, rows, lambda done, total: None)
    for task, name in enumerate(("letters.csv", "banking-intents")):
        own = [row for row in rows if row.source == task]
        alone = job.objective.score(job, model, own, lambda done, total: None)
        metric = f"{both.main}, task {name}"
        assert both.metrics[metric] == alone.metrics[both.main] == alone.metrics[metric]
        assert both.metrics[f"{metric}_low"] <= both.metrics[f"{metric}_high"]
        answered = {row.row: row.answer for row in both.rows}
        assert [row.answer for row in alone.rows] == [answered[row.row] for row in own]
        losses = {row.row: row.loss for row in both.rows}
        assert [row.loss for row in alone.rows] == pytest.approx([losses[row.row] for row in own], rel=1e-4)


def test_with_other_tuners_too_each_data_set_has_a_score_of_its_own(tmp_path: Path) -> None:
    spec = spec_of(test_matrix.MODELS["encoder"](tmp_path / "base"), "classify", "prompt")
    job = open_job(runs.folder(tmp_path / "run", spec, rows_of("classify")), lambda text: None)
    found = job.objective.score(job, model_of(job), job.examples["test"], lambda done, total: None)
    assert {"accuracy, task letters.csv", "accuracy, task banking-intents"} <= found.metrics.keys()
    assert not job.tuner.tasks(job.tuner_settings)


def test_one_data_set_is_refused_with_what_to_choose(tmp_path: Path) -> None:
    spec = runs.spec(test_matrix.MODELS["decoder"](tmp_path / "base"), "chat", NAME)
    with pytest.raises(UserError, match=r"at least 2 data sets.*choose Prompt tuning"):
        require_pair(spec, model_facts.facts(spec.model))


def test_tasks_follow_the_data_sets_and_equal_names_are_numbered(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "chat")
    assert spec.tuner.tasks(RunSpec.parse(spec.as_dict()).tuner_settings) == ["letters.csv", "banking-intents"]
    entry = spec.data[0]
    more = spec.with_data([entry, entry.model_copy(update={"source": "owner/letters.csv"}), spec.data[1]])
    assert more.tuner.tasks(more.tuner_settings) == ["letters.csv", "letters.csv (2)", "banking-intents"]


def test_the_wanted_task_answers_in_a_talk(tmp_path: Path) -> None:
    from engine.compute.chat import Talk

    spec = spec_of(test_matrix.MODELS["decoder"](tmp_path / "base"), "chat")
    job = open_job(runs.folder(tmp_path / "run", spec, rows_of("chat")), lambda text: None)
    model = model_of(job)
    attentive(bent(model, model.soft_prompt))
    talk = Talk(lambda folder, base: (job, model))
    messages = [{"role": "user", "content": "Where is my card?"}]
    request = {"run_folder": "", "base": False, "messages": messages, "max_new_tokens": 6, "temperature": 0.0}
    said: dict[int, list[str]] = {0: [], 1: [], 2: []}
    for place, further in enumerate(({}, {"task": 0}, {"task": 1})):
        talk.handle({**request, **further}, said[place].append, lambda: False)
    assert said[0] == said[1] != said[2]


def test_a_task_that_there_is_not_is_refused_with_the_ones_there_are(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "chat")
    assert [talking._task("r", spec, wanted) for wanted in (None, 1, 2)] == [0, 0, 1]
    with pytest.raises(UserError, match=r"no task 3") as raised:
        talking._task("r", spec, 3)
    assert "1 (letters.csv), 2 (banking-intents)" in raised.value.fix
    with pytest.raises(UserError, match="tells no tasks apart"):
        talking._task("r", spec_of(tmp_path, "chat", "prompt"), 1)


def test_a_run_goes_on_with_both_tasks_and_not_with_three(tmp_path: Path) -> None:
    import torch

    from engine import home
    from engine.compute.result import save_result
    from engine.errors import ModelError

    spec = spec_of(test_matrix.MODELS["decoder"](tmp_path / "base"), "chat")
    run_id = "20260101-000000-aaaaaaaa"
    first = test_matrix.trained(runs.folder(home.runs() / run_id, spec, rows_of("chat")))
    save_result(first.job, first.model)
    going_on = RunSpec.parse({**spec.as_dict(), "model": {"id": f"run:{run_id}", "continued": True}})
    job = open_job(runs.folder(tmp_path / "more", going_on, rows_of("chat")), lambda text: None)
    begun = model_of(job)
    torch.testing.assert_close(test_matrix.logits(job, begun), test_matrix.logits(first.job, first.model))
    three = going_on.with_data([*going_on.data, going_on.data[0]])
    job = open_job(runs.folder(tmp_path / "three", three, rows_of("chat")), lambda text: None)
    with pytest.raises(ModelError, match="is not the same"):
        model_of(job)


# The card's code leaves closing its files to Python, as short code does.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("objective", "kind"), PAIRS)
def test_the_cards_code_answers_as_either_task(
    objective: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from engine.compute.result import open_result, save_result

    base = test_matrix.MODELS[kind](tmp_path / "base")
    run = runs.folder(tmp_path / "run", spec_of(base, objective), rows_of(objective))
    trainer = test_matrix.trained(run)
    bent(trainer.model, trainer.job.objective.backbone(trainer.model).soft_prompt)
    folder = save_result(trainer.job, trainer.model)
    tasks = tuple(trainer.job.tuner.tasks(trainer.job.tuner_settings))
    source = snippets.Source("a/b", "attached", str(base), on_hub=False, part="soft_prompt", tasks=tasks)
    code = snippets.chat(source, []) if objective == "chat" else snippets.classify(source, {"pooling": "mean"}, 64)
    assert '0: "letters.csv", 1: "banking-intents"' in code.load
    monkeypatch.setitem(
        __import__("sys").modules,
        "huggingface_hub",
        SimpleNamespace(hf_hub_download=lambda repo, name: str(folder / name)),
    )
    made: dict[str, Any] = {}
    exec(
        compile(code.load.replace('from_pretrained("a/b")', f"from_pretrained({str(folder)!r})"), "card", "exec"), made
    )
    job, ours = open_result(run)
    backbone, theirs = job.objective.backbone(ours), made["model"].eval()
    assert theirs.soft_prompt.tasks == [0]
    ids, found = torch.tensor([[21, 40, 77, 130, 9]]), []
    for task in (0, 1):
        theirs.soft_prompt.tasks = backbone.soft_prompt.tasks = [task]
        with torch.no_grad():
            found.append(theirs(input_ids=ids)[0])
            torch.testing.assert_close(found[task], backbone(input_ids=ids)[0], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(found[0], found[1])
