"""Going on from another run's result: with what it added, or with something new on top of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import export, home, tuners
from engine.bases import lineage
from engine.bases import models as model_facts
from engine.errors import UserError
from engine.planning.jobs import open_job, require_pair
from engine.specs.spec import RunSpec
from tests import test_matrix
from tests.fakes import runs

GRADIENT = [tuner.name for tuner in tuners.all() if tuner.kind == "gradient"]
ALSO_CLASSIFY = ("lora", "adapter", "prompt", "top-layers", "dora")
CONTINUED = [("chat", "decoder", name) for name in GRADIENT] + [("classify", "encoder", name) for name in ALSO_CLASSIFY]
FIRST = "20260101-000000-aaaaaaaa"


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("bases")
    return {name: make(place / name) for name, make in test_matrix.MODELS.items()}


def trained(spec: RunSpec, run_id: str = FIRST) -> Any:
    """A run of the home that has its result."""
    from engine.compute.result import save_result

    trainer = test_matrix.trained(runs.folder(home.runs() / run_id, spec))
    save_result(trainer.job, trainer.model)
    return trainer


def going_on(objective: str, tuner: str, continued: bool, run_id: str = FIRST, **training: Any) -> RunSpec:
    spec = runs.spec(Path("unused"), objective, tuner, **training).as_dict()
    return RunSpec.parse({**spec, "model": {"id": f"run:{run_id}", "continued": continued}})


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results become one with their base in this process: another one takes seconds to load its libraries."""

    def here(run_folder: Path, to: Path) -> None:
        from engine.compute.merge import merge_base

        merge_base(run_folder, to)

    monkeypatch.setattr(export, "as_base", here)


@pytest.mark.parametrize(("objective", "kind", "tuner"), CONTINUED)
def test_a_run_goes_on_with_what_another_added_or_is_refused_with_the_reason(
    tuner: str, objective: str, kind: str, bases: dict[str, Path]
) -> None:
    import torch

    from engine.compute.model import apply_tuner, base_model, untrained
    from engine.compute.result import open_result, save_result

    if test_matrix.works(objective, tuner, bases[kind]):
        return
    first = trained(runs.spec(bases[kind], objective, tuner))
    spec = going_on(objective, tuner, continued=True, seed=7)
    if tuners.get(tuner).once:
        with pytest.raises(UserError, match=r"with what|changed the whole"):
            require_pair(spec, model_facts.facts(spec.model))
        return
    second = runs.folder(home.runs() / "20260102-000000-bbbbbbbb", spec)
    job = open_job(second, lambda text: None)
    found = test_matrix.logits(first.job, first.model)
    torch.testing.assert_close(test_matrix.logits(job, untrained(job)), found, rtol=1e-5, atol=1e-6)
    begun = apply_tuner(job, base_model(job))
    torch.testing.assert_close(test_matrix.logits(job, begun), found, rtol=1e-5, atol=1e-6)
    assert test_matrix.hashes(begun, trainable=True) == test_matrix.hashes(first.model, trainable=True)

    trainer = test_matrix.trained(second)
    save_result(trainer.job, trainer.model)
    _, reloaded = open_result(second)
    after = test_matrix.logits(trainer.job, trainer.model)
    torch.testing.assert_close(test_matrix.logits(job, reloaded), after, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(after, found)


@pytest.mark.parametrize("tuner", GRADIENT)
def test_something_new_learns_on_top_of_a_result_or_is_refused_with_the_reason(
    tuner: str, bases: dict[str, Path], at_once: None
) -> None:
    import torch

    from engine.compute.model import untrained
    from engine.compute.result import open_result, save_result

    if test_matrix.works("chat", tuner, bases["decoder"]):
        return
    first = trained(runs.spec(bases["decoder"], "chat", tuner))
    spec = going_on("chat", "lora", continued=False)
    if tuners.get(tuner).unmergeable:
        with pytest.raises(UserError, match="can't become part of its base"):
            require_pair(spec, model_facts.facts(spec.model))
        return
    second = runs.folder(home.runs() / "20260102-000000-bbbbbbbb", spec)
    job = open_job(second, lambda text: None)
    found = test_matrix.logits(first.job, first.model)
    torch.testing.assert_close(test_matrix.logits(job, untrained(job)), found, rtol=1e-3, atol=1e-3)
    trainer = test_matrix.trained(second)
    save_result(trainer.job, trainer.model)
    _, reloaded = open_result(second)
    torch.testing.assert_close(
        test_matrix.logits(job, reloaded), test_matrix.logits(job, trainer.model), rtol=1e-5, atol=1e-6
    )


def test_a_chat_models_result_becomes_the_base_of_a_classifier_and_the_other_way_round(bases: dict[str, Path]) -> None:
    """By the real child process, which keeps the language head that a classifier's backbone lacks."""
    import torch

    from engine.compute.result import open_result

    base = Path(bases["decoder"])
    for first, second in (("chat", "classify"), ("classify", "chat")):
        run_id = f"20260101-000000-{first[:4] * 2}"
        trainer = trained(runs.spec(base, first, "lora"), run_id)
        folder = runs.folder(home.runs() / f"{run_id}b", going_on(second, "lora", continued=False, run_id=run_id))
        job = open_job(folder, lambda text: None)
        test_matrix.trained(folder)
        assert job.model_folder == home.runs() / run_id / "merged"
        _, tuned = open_result(trainer.job.folder)
        inner = tuned.backbone.merge_and_unload() if first == "classify" else tuned.merge_and_unload().base_model
        loaded = job.objective.load(job)
        kept = dict((loaded.backbone if second == "classify" else loaded.base_model).named_parameters())
        for name, tensor in inner.named_parameters():
            torch.testing.assert_close(kept[name], tensor, check_device=False)


def test_a_body_without_its_language_head_is_not_given_a_new_one(bases: dict[str, Path]) -> None:
    """Its head shares nothing with the word embeddings, so that a classifier's result is a body alone."""
    trained(runs.spec(bases["biased-decoder"], "classify", "full"))
    job = open_job(runs.folder(home.runs() / "20260101-000000-bbbbbbbb", going_on("chat", "lora", False)), print)
    with pytest.raises(UserError, match=r"lacks a part of its language head \(lm_head"):
        job.objective.load(job)


def test_a_head_goes_on_where_the_labels_are_the_same_and_begins_anew_where_not(bases: dict[str, Path]) -> None:
    from engine.compute.model import base_model

    first = trained(runs.spec(bases["encoder"], "classify", "lora"))
    spec = going_on("classify", "lora", continued=True)
    same = open_job(runs.folder(home.runs() / "20260102-000000-bbbbbbbb", spec), lambda text: None)
    assert lineage.labels(first.job.folder / "model") == same.labels
    assert (base_model(same).head.weight == first.model.head.weight).all()

    rows = [row for row in runs.examples("labelled") if row.label != "transfer fee"]
    other = open_job(runs.folder(home.runs() / "20260103-000000-cccccccc", spec, rows), lambda text: None)
    assert base_model(other).head.weight.shape[0] == 2


@pytest.mark.parametrize(
    ("objective", "tuner", "change", "reason"),
    [
        ("chat", "lora", {"tuner": {"name": "lora", "rank": 4}}, "tuner.rank is 4 in place of 16"),
        ("chat", "lora", {"tuner": "dora"}, "needs the same tuner"),
        ("chat", "lora", {"objective": "classify"}, "needs the same one"),
        ("chat", "full", {}, "changed the whole model"),
        ("chat", "pissa", {}, "twice the rank"),
        ("chat", {"name": "prefix", "reparametrised": True}, {}, "network that made its prefix is not kept"),
    ],
)
def test_going_on_with_something_else_is_refused_with_the_reason(
    objective: str, tuner: str | dict[str, Any], change: dict[str, Any], reason: str, bases: dict[str, Path]
) -> None:
    name = tuner if isinstance(tuner, str) else tuner["name"]
    first = runs.spec(bases["decoder"], objective, name).as_dict()
    own = first["tuner"] if isinstance(tuner, str) else tuner
    trained(RunSpec.parse({**first, "tuner": own}))
    spec = RunSpec.parse({**going_on(objective, name, continued=True).as_dict(), "tuner": own, **change})
    with pytest.raises(UserError, match=reason):
        require_pair(spec, model_facts.facts(spec.model))


def test_going_on_without_a_run_is_refused(bases: dict[str, Path]) -> None:
    spec = runs.spec(bases["decoder"], "chat", "lora").as_dict()
    wanted = RunSpec.parse({**spec, "model": {"id": str(bases["decoder"]), "continued": True}})
    with pytest.raises(UserError, match="needs a run to go on from"):
        require_pair(wanted, model_facts.facts(wanted.model))


def test_only_what_learns_by_heart_may_differ(bases: dict[str, Path]) -> None:
    trained(runs.spec(bases["decoder"], "chat", "lora"))
    spec = RunSpec.parse(
        {**going_on("chat", "lora", continued=True).as_dict(), "tuner": {"name": "lora", "dropout": 0.1}}
    )
    require_pair(spec, model_facts.facts(spec.model))


@pytest.mark.parametrize("tuner", ["lora", "full"])
def test_how_vectors_become_one_outlives_the_run(tuner: str, tmp_path: Path, at_once: None) -> None:
    from engine.methods.pooling import pooling

    base = test_matrix.MODELS["encoder"](tmp_path / "encoder")
    (base / "1_Pooling").mkdir(exist_ok=True)
    (base / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    trained(runs.spec(base, "classify", tuner))
    job = open_job(runs.folder(home.runs() / "20260102-000000-bbbbbbbb", going_on("classify", "lora", False)), print)
    assert job.model_folder != base and pooling(job.model_folder) == "cls"
