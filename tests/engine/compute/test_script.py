"""The standalone script of a run, run for real."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.export import export
from engine.runs.worker import main as work
from engine.spec import RunSpec
from tests.fakes import models, runs


@pytest.mark.parametrize(
    ("objective", "tuner", "model"),
    [
        ("chat", "lora", "decoder"),
        ("classify", "full", "encoder"),
        ("chat", "ia3", "decoder"),
        ("chat", "norms", "decoder"),
        ("classify", "biases", "encoder"),
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
    ],
)
def test_the_standalone_script_gives_the_same_losses(
    objective: str, tuner: str | dict[str, Any], model: str, tmp_path: Path
) -> None:
    base = {"decoder": models.tiny_decoder, "encoder": models.tiny_encoder}[model](tmp_path / "base")
    name, settings = (tuner, {}) if isinstance(tuner, str) else (tuner["name"], tuner)
    spec = runs.spec(base, objective, name)
    if settings:
        spec = RunSpec.parse({**spec.as_dict(), "tuner": settings})
    folder = runs.folder(tmp_path / "run", spec)
    assert work(folder) == 0
    ours = [e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]
    place = export(folder, "script", tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "train.py", str(base)], cwd=place, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    theirs = [float(loss) for loss in re.findall(r"loss ([\d.]+)", done.stdout)]
    assert len(theirs) == 4
    assert [theirs[0], theirs[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)
    assert "engine" not in re.findall(
        r"^\s*(?:import|from) (\w+)", (place / "train.py").read_text(encoding="utf-8"), re.M
    )


@pytest.mark.parametrize("tuner", ["pissa", "adalora"])
def test_the_script_saves_what_the_run_saves(tuner: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    base = models.tiny_decoder(tmp_path / "base")
    folder = runs.folder(tmp_path / "run", runs.spec(base, "chat", tuner))
    assert work(folder) == 0
    place = export(folder, "script", tmp_path / "out")
    subprocess.run([sys.executable, "train.py", str(base)], cwd=place, capture_output=True, timeout=200, check=True)
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
    place = export(folder, "script", tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "train.py", str(base)], cwd=place, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    ours, theirs = (load_file(where / "head.safetensors") for where in (folder / "model", place / "result"))
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-3, atol=1e-4)
    assert "engine" not in re.findall(
        r"^\s*(?:import|from) (\w+)", (place / "train.py").read_text(encoding="utf-8"), re.M
    )
