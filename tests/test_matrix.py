"""The contract of every objective with every tuner that learns by gradients (others: test_fit.py), on tiny random models, in one process.

Golden losses: `python -m tests.fakes.golden` writes tests/data/golden.json anew.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from engine import objectives, tuners
from engine.errors import UserError
from engine.events import Writer
from engine.job import pair_refusal
from engine.jobs import open_job, require_pair
from tests.fakes import models, runs

GOLDEN = Path(__file__).parent / "data" / "golden.json"
MODELS = {
    "decoder": models.tiny_decoder,
    "biased-decoder": models.tiny_biased_decoder,
    "encoder": models.tiny_encoder,
}
PAIRS = [(o.name, t.name, m) for o in objectives.all() for t in tuners.all() if t.kind == "gradient" for m in MODELS]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("tiny")
    return {name: make(place / name) for name, make in MODELS.items()}


def trained(run_folder: Path, stop: bool = False) -> Any:
    """A trainer after its run, with its reporter's losses; `stop` asks it to stop when training begins."""
    import torch

    from engine.compute.report import Reporter
    from engine.compute.train import _fresh, _trained, build

    torch.set_num_threads(1)
    job = open_job(run_folder, lambda text: None)
    with Writer(run_folder / "events.jsonl") as writer:
        reporter = Reporter(run_folder, writer)
        model = _fresh(job, reporter)
        frozen = hashes(model, trainable=False)
        trainer = build(job, model, reporter)
        if stop:
            (run_folder / "stop").touch()
        trainer.ended = _trained(trainer, reporter)
    assert hashes(model, trainable=False) == frozen, "a weight moved that nobody declared trainable"
    return trainer


def hashes(model: Any, trainable: bool) -> dict[str, str]:
    return {
        name: hashlib.sha256(parameter.detach().numpy().tobytes()).hexdigest()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad is trainable
    }


def works(objective: str, tuner: str, model: Path) -> str | None:
    from engine import models as model_facts

    run = runs.spec(model, objective, tuner)
    try:
        require_pair(run, model_facts.facts(run.model))
    except UserError as error:
        return error.problem
    return None


def logits(job: Any, model: Any) -> Any:
    import torch

    encoded = [job.objective.encode(row, job.tokens, job.objective_settings, 64) for row in job.examples["test"]]
    rows = [job.objective.row(job, e, c) for e, c in zip(job.examples["test"], encoded, strict=True)]
    batch = job.objective.batch(job, rows)
    model.eval()
    with torch.no_grad():
        return torch.cat([part.flatten() for part in job.objective.losses(job)(model, batch)[:1]])


@pytest.mark.parametrize(("objective", "tuner", "kind"), PAIRS)
def test_a_pair_learns_reloads_and_resumes_exactly_or_is_refused_with_a_reason(
    objective: str, tuner: str, kind: str, tiny: dict[str, Path], tmp_path: Path
) -> None:
    import torch

    from engine.compute.result import open_result, save_result

    reason = works(objective, tuner, tiny[kind])
    if reason is not None:
        assert len(reason) > 20
        return
    whole = trained(runs.folder(tmp_path / "whole", runs.spec(tiny[kind], objective, tuner)))
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert whole.reporter.losses == pytest.approx(golden[f"{objective} {tuner} {kind}"], rel=1e-4)
    assert hashes(whole.model, trainable=True) != hashes(_untrained(whole), trainable=True)

    save_result(whole.job, whole.model)
    job, reloaded = open_result(whole.job.folder)
    torch.testing.assert_close(logits(job, reloaded), logits(whole.job, whole.model), rtol=1e-5, atol=1e-6)

    part = runs.folder(tmp_path / "part", runs.spec(tiny[kind], objective, tuner))
    first = trained(part, stop=True)
    assert not first.ended and first.state.global_step == 1
    (part / "stop").unlink()
    second = trained(part)
    assert second.ended and first.reporter.losses + second.reporter.losses == whole.reporter.losses
    assert hashes(second.model, trainable=True) == hashes(whole.model, trainable=True)


def _untrained(trainer: Any) -> Any:
    from engine.compute.model import apply_tuner

    return apply_tuner(trainer.job, trainer.job.objective.load(trainer.job))


def test_every_refused_pair_names_what_is_missing() -> None:
    for objective in objectives.all():
        for tuner in tuners.all():
            refusal = pair_refusal(objective, tuner)
            assert refusal is None or tuner.title in refusal


def test_the_number_of_working_pairs_is_known(tiny: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    working = [pair for pair in PAIRS if works(pair[0], pair[1], tiny[pair[2]]) is None]
    with capsys.disabled():
        print(f"\n{len(working)} of {len(PAIRS)} combinations of objective, tuner and kind of model work.")
    assert len(working) == len(json.loads(GOLDEN.read_text(encoding="utf-8")))
