"""The main job on the two real models that need no hub. Minutes, not seconds."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.home import CHECKOUT, samples

pytestmark = pytest.mark.model
RESAMPLES = 2000


def command(*arguments: str, minutes: float) -> subprocess.CompletedProcess[str]:
    # The threads that a person's run has; the tests' own setting is one.
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    return subprocess.run(
        [sys.executable, "-m", "engine", *arguments],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60 * minutes,
        check=False,
    )


@pytest.mark.timeout(1500)
def test_the_demo_teaches_a_real_model_and_says_so() -> None:
    done = command("demo", minutes=24)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    *_, before, after = done.stdout.strip().splitlines()
    assert re.fullmatch(r"exact match before: \d+\.\d %", before)
    assert re.fullmatch(r"exact match after: \d+\.\d %", after)
    gain = float(after.split()[-2]) - float(before.split()[-2])
    assert gain >= 70
    assert "before, options in prompt: exact match" in done.stdout
    run = re.search(r"^run: (\S+)$", done.stdout, re.M)
    assert run is not None

    answer = command("chat", run[1], "--prompt", "My card has still not come in the post.", "--json", minutes=5)
    assert json.loads(answer.stdout)["answer"].strip() == "card arrival", answer.stderr
    shown = command("show", run[1], "--json", minutes=1)
    assert json.loads(shown.stdout)["state"] == "finished"


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def features(texts: list[str], folder: Path) -> Any:
    """Mean-pooled vectors of the frozen model: (texts, width)."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    with torch.no_grad():
        for start in range(0, len(texts), 64):
            batch = tokenizer(
                texts[start : start + 64], padding=True, truncation=True, max_length=128, return_tensors="pt"
            )
            mask = batch["attention_mask"].unsqueeze(-1)
            found.append((model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1))
    return torch.cat(found).numpy()


def scored(tuner: str, place: Path) -> dict[int, bool]:
    """Train MiniLM on the bank intents; which test rows it gets right, by row."""
    spec = {
        "model": {"id": "embedded:minilm"},
        "data": [{"source": "sample:banking-intents", "split": {"test_rows": 240, "validation_rows": 60}}],
        "objective": "classify",
        "tuner": tuner,
        "training": {"epochs": 6, "batch_size": 16, "max_tokens": 64},
    }
    path = place / f"{tuner}.yaml"
    path.write_text(json.dumps(spec), encoding="utf-8")  # JSON is YAML
    done = command("train", str(path), minutes=9)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    kept = json.loads(
        (Path(done.stdout.strip().splitlines()[-1]) / "scores" / "after.json").read_text(encoding="utf-8")
    )
    return {row["row"]: row["score"] == 1 for row in kept["rows"]}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("tuner", ["lora", "full"])
def test_minilm_classifies_no_worse_than_a_regression_on_its_frozen_features(tuner: str, tmp_path: Path) -> None:
    """Settings were chosen on validation rows; the test rows are the same for both sides."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    from engine.bases.models import ensure
    from engine.specs.sections import Model

    right = scored(tuner, tmp_path)
    table = rows(samples() / "banking-intents.csv")
    test = [index - 1 for index in sorted(right)]
    train = [index for index in range(len(table)) if index + 1 not in right]
    vectors = features([row["text"] for row in table], ensure(Model(id="embedded:minilm"), lambda text: None))
    labels = np.array([row["intent"] for row in table])
    regression = LogisticRegression(max_iter=2000, C=10).fit(vectors[train], labels[train])
    theirs = regression.predict(vectors[test]) == labels[test]
    ours = np.array([right[index + 1] for index in test])
    difference = ours.astype(float) - theirs.astype(float)
    draws = np.random.default_rng(0).integers(0, len(difference), (RESAMPLES, len(difference)))
    low, high = np.percentile(difference[draws].mean(axis=1), (2.5, 97.5))
    print(f"\n{tuner}: {ours.mean():.3f}, regression: {theirs.mean():.3f}, difference {low:.3f} to {high:.3f}")
    assert high >= 0
