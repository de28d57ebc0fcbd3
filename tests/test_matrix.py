"""The contract of every objective with every tuner that learns by gradients (others: test_fit.py), on tiny random models, in one process.

Golden losses: `python -m tests.fakes.golden` writes tests/data/golden.json anew.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import objectives, tuners
from engine.data.example import Example
from engine.errors import UserError
from engine.events import Writer
from engine.methods.objective import pair_refusal
from engine.planning.jobs import open_job, require_pair
from engine.specs.spec import RunSpec
from tests import pairs
from tests.fakes import models, runs

GOLDEN = Path(__file__).parent / "data" / "golden.json"
MODELS = {
    "decoder": models.tiny_decoder,
    "biased-decoder": models.tiny_biased_decoder,
    "encoder": models.tiny_encoder,
    "masked-encoder": models.tiny_masked_encoder,
}
KINDS = {f"classify, {name}": name for name in ("several labels", "number", "marked words")}
"""Kinds of answers of one objective, which have a loss of their own, and by the names that their pairs have here."""
MASKED = ("cloze", "text")
"""The objectives to which an encoder's masked-language head makes a difference."""
IN_FULL = {"distill": ("lora", "full", "prompt"), "imitate": ("lora", "full", "prompt"), "imitate-service": ()}
IN_FULL["distill-labels"] = IN_FULL["distill"]
"""Of some objectives, the only tuners that learn here. What is new in them is the loss, which a tuner has no part in but by
what it changes: additions, the base's own weights, or what is read; or the rows alone, of which those that a service writes
stand in tests/engine/test_imitate_service.py. A pair that is not here is judged all the same."""
TEACHERS = {"decoder": "biased-decoder", "biased-decoder": "decoder", "encoder": "decoder"}
"""Of which other tiny model one learns, where an objective has a teacher."""
OF_KINDS = ("lora", "full", "prompt", "adapter", "prefix", "biases", "top-layers")
"""Tuners that learn each kind of answers on an encoder; the first three on a decoder, too. To a tuner all are one head."""
PAIRS = [
    (o.name, t.name, m)
    for o in objectives.all()
    for t in tuners.all()
    if t.kind == "gradient" and t.name in IN_FULL.get(o.name, (t.name,))
    for m in MODELS
    if m != "masked-encoder" or o.name in MASKED
] + [
    (name, tuner, m)
    for name in KINDS
    for tuner in OF_KINDS
    for m in ("encoder", "decoder")
    if m == "encoder" or tuner in OF_KINDS[:3]
]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("tiny")
    return made(place)


def made(place: Path) -> dict[str, Path]:
    """Tiny models by kind, and teachers that are none of these."""
    teachers = {
        "foreign": models.tiny_foreign_decoder(place / "foreign"),
        "classifier": models.tiny_classifier(place / "classifier", sorted(runs.INTENTS)[::-1]),
    }
    return {name: make(place / name) for name, make in MODELS.items()} | teachers


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


def goal(objective: str, kind: str, tiny: dict[str, Path]) -> str | dict[str, Any]:
    """The objective as a spec of a tiny model names it."""
    if objective in KINDS:
        return {"name": "classify", "kind": KINDS[objective]}
    teacher = {"distill": TEACHERS.get(kind, ""), "imitate": "foreign", "distill-labels": "classifier"}.get(objective)
    if teacher is None:
        return objective
    limit = {"answer_tokens": 6} if objective == "imitate" else {}
    return {"name": objective, "teacher": str(tiny[teacher]), **limit}


def works(objective: str, tuner: str, model: Path) -> str | None:
    from engine.bases import models as model_facts

    run = runs.spec(model, objective if objective not in KINDS else "classify", tuner)
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
    objective: str,
    tuner: str,
    kind: str,
    tiny: dict[str, Path],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    reason = works(objective, tuner, tiny[kind])
    pairs.note(record_property, (objective, tuner, kind), reason and reason.replace(str(tiny[kind]), f"the {kind}"))
    if reason is not None:
        assert len(reason) > 20
        return
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    spec = runs.spec(tiny[kind], goal(objective, kind, tiny), tuner)
    keeps_its_contract(tmp_path, spec, golden[f"{objective} {tuner} {kind}"])


def keeps_its_contract(place: Path, spec: RunSpec, golden: list[float], rows: list[Example] | None = None) -> Any:
    """Learns with these losses, moves what it declares, reloads and resumes exactly. The trainer of the whole run."""
    import torch

    from engine.compute.result import open_result, save_result
    from engine.scripts import script

    whole = trained(runs.folder(place / "whole", spec, rows))
    assert whole.reporter.losses == pytest.approx(golden, rel=1e-4)
    assert hashes(whole.model, trainable=True) != hashes(_untrained(whole), trainable=True)

    save_result(whole.job, whole.model)
    job, reloaded = open_result(whole.job.folder)
    torch.testing.assert_close(logits(job, reloaded), logits(whole.job, whole.model), rtol=1e-5, atol=1e-6)

    twice = defined_twice(script.script(whole.job))
    assert not twice, f"the standalone script defines {twice} twice"

    part = runs.folder(place / "part", spec, rows)
    first = trained(part, stop=True)
    assert not first.ended and first.state.global_step == 1
    (part / "stop").unlink()
    second = trained(part)
    assert second.ended and first.reporter.losses + second.reporter.losses == whole.reporter.losses
    assert hashes(second.model, trainable=True) == hashes(whole.model, trainable=True)
    return whole


def defined_twice(source: str) -> set[str]:
    """Functions that a script defines twice: parts that don't know of each other may have used one name.

    One that is kept under another name first, or deleted, is meant to be replaced.
    """
    made: set[str] = set()
    twice: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            made.discard(node.value.id)
        elif isinstance(node, ast.Delete):
            made -= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            twice |= made & {node.name}
            made.add(node.name)
    return twice


def _untrained(trainer: Any) -> Any:
    from engine.compute.model import apply_tuner

    return apply_tuner(trainer.job, trainer.job.objective.load(trainer.job))


def test_every_refused_pair_names_what_is_missing() -> None:
    for objective in objectives.all():
        for tuner in tuners.all():
            refusal = pair_refusal(objective, tuner)
            assert refusal is None or tuner.title in refusal


@pytest.mark.parametrize(
    ("objective", "like"),
    [("distill", "chat"), ("imitate", "chat"), ("imitate-service", "chat"), ("distill-labels", "classify")],
)
@pytest.mark.parametrize("kind", ["decoder", "biased-decoder", "encoder"])
def test_a_model_learns_from_a_teacher_with_every_tuner_with_which_it_learns_alone(
    kind: str, objective: str, like: str, tiny: dict[str, Path]
) -> None:
    alone, taught = objectives.get(like), objectives.get(objective)
    for tuner in tuners.all():
        told = works(objective, tuner.name, tiny[kind])
        reason = works(like, tuner.name, tiny[kind])
        if tuner.needs & (alone.gives - taught.gives):  # what is fitted to features takes no notice of a teacher
            assert reason is None and told is not None and "one vector for each text" in told
        else:
            assert told == (reason and reason.replace(alone.title, taught.title))


def test_the_number_of_working_pairs_is_known(tiny: dict[str, Path]) -> None:
    working = {" ".join(pair) for pair in PAIRS if works(pair[0], pair[1], tiny[pair[2]]) is None}
    assert working == set(json.loads(GOLDEN.read_text(encoding="utf-8")))
