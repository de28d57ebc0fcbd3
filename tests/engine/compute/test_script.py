"""The standalone script of a run, run for real."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import home
from engine.export import export
from engine.runs.worker import main as work
from engine.specs.spec import RunSpec
from tests.engine.compute import test_multitask
from tests.fakes import models, runs, scripts


def alone(folder: Path, base: Path) -> tuple[Path, list[float]]:
    """Run the standalone script of a finished run: its folder, and the losses that it prints."""
    place = export(folder, "script", folder.parent / f"{folder.name}-out")
    return place, [float(loss) for loss in re.findall(r"loss ([\d.]+)", scripts.run(place, base))]


@pytest.mark.parametrize(
    ("objective", "tuner", "model"),
    [
        ("chat", "lora", "decoder"),
        ("classify", "full", "encoder"),
        ("chat", "ia3", "decoder"),
        ("chat", "norms", "decoder"),
        ({"name": "classify", "class_weights": "balanced"}, "biases", "encoder"),
        ("classify", "top-layers", "encoder"),
        ("chat", {"name": "full", "depth_factor": 0.5}, "decoder"),
        ("classify", {"name": "top-layers", "layers": 2, "depth_factor": 0.5}, "encoder"),
        ("chat", "lora-plus", "decoder"),
        ("chat", "lora-fa", "decoder"),
        ("classify", "pissa", "encoder"),
        ("chat", "adalora", "decoder"),
        ("chat", "trainable-tokens", "decoder"),
        ("chat", "adapter", "decoder"),
        ("chat", "prompt", "decoder"),
        ("classify", "prefix", "encoder"),
        ("classify", "p-tuning", "encoder"),
        ("chat", {"name": "prefix", "reparametrised": True, "hidden": 16}, "decoder"),
        ({"name": "cloze", "template": "{text} A {label}\n---\nB {text} is {label}"}, "lora", "decoder"),
        ({"name": "cloze", "template": "A {label}: {text} So.\n---\n{text}: {label}."}, "full", "masked"),
        ({"name": "text", "masked_share": 0.3, "whole_words": False}, "full", "masked"),
        ({"name": "text", "new_head": True}, "lora", "headless"),
    ],
)
def test_the_standalone_script_gives_the_same_losses(
    objective: str | dict[str, Any], tuner: str | dict[str, Any], model: str, tmp_path: Path
) -> None:
    made = {"decoder": models.tiny_decoder, "encoder": models.tiny_encoder, "masked": models.tiny_masked_encoder}
    made["headless"] = models.tiny_headless_encoder
    base = made[model](tmp_path / "base")
    goal, how = ({"name": one} if isinstance(one, str) else one for one in (objective, tuner))
    spec = runs.spec(base, goal["name"], how["name"])
    if len(goal) + len(how) > 2:
        spec = RunSpec.parse({**spec.as_dict(), "objective": goal, "tuner": {**spec.as_dict()["tuner"], **how}})
    folder = runs.folder(tmp_path / "run", spec)
    assert work(folder) == 0
    place, theirs = alone(folder, base)
    ours = [e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]
    assert len(theirs) == 4
    assert [theirs[0], theirs[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)
    assert "engine" not in re.findall(
        r"^\s*(?:import|from) (\w+)", (place / "train.py").read_text(encoding="utf-8"), re.M
    )


@pytest.mark.parametrize(("objective", "kind"), test_multitask.PAIRS)
def test_the_script_of_several_tasks_gives_the_same_losses(objective: str, kind: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    base = (models.tiny_encoder if kind == "encoder" else models.tiny_decoder)(tmp_path / "base")
    spec = test_multitask.spec_of(base, objective, rank=2)
    folder = runs.folder(tmp_path / "run", spec, test_multitask.rows_of(objective))
    assert work(folder) == 0
    place, theirs = alone(folder, base)
    ours = [e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]
    assert [theirs[0], theirs[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)
    weights, again = (load_file(at / "soft_prompt.safetensors") for at in (folder / "model", place / "result"))
    assert weights.keys() == again.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(again[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("objective", "tuner"), [("chat", "lora"), ("classify", "top-layers"), ("chat", "adapter")])
def test_the_script_of_a_run_that_goes_on_begins_where_that_began(objective: str, tuner: str, tmp_path: Path) -> None:
    base = (models.tiny_encoder if objective == "classify" else models.tiny_decoder)(tmp_path / "base")
    first = home.runs() / "20260101-000000-aaaaaaaa"
    assert work(runs.folder(first, runs.spec(base, objective, tuner))) == 0
    spec = runs.spec(base, objective, tuner).as_dict() | {"model": {"id": f"run:{first.name}", "continued": True}}
    folder = runs.folder(home.runs() / "20260102-000000-bbbbbbbb", RunSpec.parse(spec))
    assert work(folder) == 0
    _, theirs = alone(folder, base)
    ours = [e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]
    assert [theirs[0], theirs[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)


@pytest.mark.parametrize("objective", ["chat", "classify"])
def test_the_script_of_a_merge_makes_the_same_addition(objective: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    base = models.tiny_decoder(tmp_path / "base")
    ids = [f"2026010{day}-000000-aaaaaaaa" for day in (1, 2)]
    for seed, run_id in enumerate(ids):
        assert work(runs.folder(home.runs() / run_id, runs.spec(base, objective, "lora", seed=seed))) == 0
    spec = runs.spec(base, objective, "lora").as_dict() | {"tuner": {"name": "merge", "runs": " ".join(ids)}}
    folder = runs.folder(home.runs() / "20260103-000000-aaaaaaaa", RunSpec.parse(spec))
    assert work(folder) == 0
    place, _ = alone(folder, base)
    for name in ["adapter_model.safetensors", *(["head.safetensors"] if objective == "classify" else [])]:
        ours, theirs = (load_file(at / name) for at in (folder / "model", place / "result"))
        assert ours.keys() == theirs.keys()
        for key, tensor in ours.items():
            torch.testing.assert_close(theirs[key], tensor)


@pytest.mark.parametrize("tuner", ["pissa", "adalora"])
def test_the_script_saves_what_the_run_saves(tuner: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    base = models.tiny_decoder(tmp_path / "base")
    folder = runs.folder(tmp_path / "run", runs.spec(base, "chat", tuner))
    assert work(folder) == 0
    place = export(folder, "script", tmp_path / "out")
    scripts.run(place, base)
    ours, theirs = (load_file(at / "adapter_model.safetensors") for at in (folder / "model", place / "result"))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("classifier", ["auto", "trees"])
def test_the_standalone_script_of_a_fitted_classifier_fits_the_same_one(classifier: str, tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import load_file

    base = models.tiny_encoder(tmp_path / "base")
    spec = runs.spec(base, "classify", "head")
    spec = replace(spec, tuner_settings=spec.tuner.Settings(classifier=classifier))
    folder = runs.folder(tmp_path / "run", spec)
    assert work(folder) == 0
    place, _ = alone(folder, base)
    ours, theirs = (load_file(where / "head.safetensors") for where in (folder / "model", place / "result"))
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-3, atol=1e-4)
    assert "engine" not in re.findall(
        r"^\s*(?:import|from) (\w+)", (place / "train.py").read_text(encoding="utf-8"), re.M
    )
