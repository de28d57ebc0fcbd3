"""The plan says of a model's weights what the result will say, for every pair."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import objectives, tuners
from engine.bases import models
from engine.errors import UserError
from engine.planning import explain
from engine.planning.jobs import open_job, require_pair
from tests.fakes import models as fakes
from tests.fakes import runs

MODELS = {
    "decoder": fakes.tiny_decoder,
    "biased-decoder": fakes.tiny_biased_decoder,
    "encoder": fakes.tiny_encoder,
    "masked-encoder": fakes.tiny_masked_encoder,
}


TAUGHT = ("imitate", "imitate-service", "distill-labels")
"""They need a teacher before they can be opened; the model that learns is that of chat and classify."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("tiny")
    return {name: make(place / name) for name, make in MODELS.items()}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("objective", [method.name for method in objectives.all() if method.name not in TAUGHT])
@pytest.mark.parametrize("tuner", [method.name for method in tuners.all() if method.kind == "gradient"])
def test_the_plan_counts_weights_as_the_result_does(
    objective: str, tuner: str, model: str, tiny: dict[str, Path], tmp_path: Path
) -> None:
    spec = runs.spec(tiny[model], objective, tuner)
    facts = models.facts(spec.model)
    try:
        require_pair(spec, facts)
    except UserError as refusal:  # the matrix holds the reasons
        assert refusal.problem
        return
    from engine.compute.model import apply_tuner, parameter_counts

    job = open_job(runs.folder(tmp_path / "run", spec), lambda text: None)
    examples = [example for split in job.examples.values() for example in split]
    found = parameter_counts(apply_tuner(job, job.objective.load(job)))
    assert explain.parameter_counts(spec, facts, examples) == found


def explanation(**changes: Any) -> explain.Explanation:
    plan: Any = SimpleNamespace(
        total_steps=240, memory_bytes=2_900_000_000, memory_available=23_000_000_000, seconds=[], reasons=["A reason."]
    )
    given: dict[str, Any] = {
        "model": "a/b",
        "rows": {"train": 320, "validation": 0, "test": 0},
        "epochs": 3.0,
        "lengths": SimpleNamespace(truncated=0, unlearned=0, longest=9, total=9),
        "plan": plan,
        "trainable_parameters": 5,
        "total_parameters": 500,
        **changes,
    }
    return explain.Explanation(**given)


def test_one_sentence_says_what_will_happen() -> None:
    assert explanation().sentence == "320 rows, 3 passes, 240 steps, 2.9 of 23.0 GB of memory."


def test_one_row_and_one_pass_are_told_in_the_singular() -> None:
    told = explanation(rows={"train": 1, "validation": 0, "test": 0}, epochs=1.0).sentence
    assert told.startswith("1 row, 1 pass, 240 steps")


def test_how_much_of_the_model_learns_is_told_with_its_share() -> None:
    assert explanation().learning == "5 of 500 weights learn (1 %)."
    assert explanation(trainable_parameters=500).learning == "All 500 weights learn."


def test_a_model_that_stays_as_it_is_has_no_passes_no_steps_and_no_learning_rate(
    tiny: dict[str, Path], tmp_path: Path
) -> None:
    spec = runs.spec(tiny["encoder"], "classify", "head", epochs=7)
    plan = open_job(runs.folder(tmp_path / "run", spec), lambda text: None).plan
    fitted = spec.tuner.learning(models.facts(spec.model))
    assert explanation(fitted=fitted).sentence == "320 rows, each read once, 2.9 of 23.0 GB of memory."
    assert "learns from 32 numbers for each text" in explanation(fitted=fitted).learning
    assert (plan.learning_rate, plan.head_rate, plan.warmup_steps) == (0.0, None, 0)
    assert {part.name for part in plan.memory}.isdisjoint({"Optimizer", "Gradients"})
    (ignored,) = [reason for reason in plan.reasons if "has no use for" in reason]
    assert "Passes (training.epochs)" in ignored and "Learning rate (training.learning_rate)" in ignored
