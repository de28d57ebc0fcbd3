"""Finished runs for what comes after training: made by a real worker on tiny models, or quickly with weights that aren't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.data.prepare import Prepared
from engine.events import Finished, Writer
from engine.runs import store
from engine.runs.index import index
from engine.specs.spec import RunSpec
from tests.fakes import runs

CHECKOUT = Path(__file__).resolve().parents[2]
BEFORE = {"exact_match": 0.1, "exact_match_low": 0.0, "exact_match_high": 0.25, "loss": 4.0}
AFTER = {"exact_match": 0.9, "exact_match_low": 0.7, "exact_match_high": 1.0, "loss": 0.5}


def pretended(
    model: str = "embedded:smollm2-135m",
    owner: str = "local",
    name: str = "bank helper",
    before: dict[str, float] | None = BEFORE,
    after: dict[str, float] | None = AFTER,
    **changes: Any,
) -> store.Run:
    """A finished chat run with LoRA whose weights are a few thousand bytes of nothing."""
    spec = RunSpec.parse(
        {
            "name": name,
            "model": {"id": model},
            "data": [{"source": str(Path.home() / "secret place" / "customers.csv"), "system": "Be brief."}],
            **changes,
        }
    )
    run = store.create(spec, Prepared(runs.examples("messages"), [], [], []), owner)
    folder = run.folder / "model"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"adapter" * 50_000)
    (folder / "extra.safetensors").write_bytes(b"more" * 60_000)
    config = {"peft_type": "LORA", "base_model_name_or_path": model, "revision": None}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"name_or_path": str(Path.home() / "model")}))
    (folder / "train.py").write_text('"""\n    pip install torch==2.13.0 transformers==5.23.0 peft==0.21.2\n"""\n')
    (folder / "spec.yaml").write_text("model: {}\n")
    (folder / "README.md").write_text("[More Information Needed]\n")
    metrics = {"main": "exact_match", "rows": 2, "split": "test", "before": before, "baselines": {}, "after": after}
    with Writer(run.folder / "events.jsonl") as writer:
        writer.write(Finished(metrics, 460_800, 134_975_808, 90.0, 2_900_000_000, 1_843_200))
    return settled(run)


def settled(run: store.Run, state: str = "finished") -> store.Run:
    with index() as rows:
        rows.execute("UPDATE runs SET state = ? WHERE id = ?", (state, run.id))
    return store.get(run.id)


def trained(home: Path, hub: str, spec: dict[str, Any]) -> str:
    """Train for real by the command line, with the Hub at an address of this machine; the run's id."""
    path = home.parent / f"{spec['name']}.yaml"
    path.write_text(json.dumps(spec), encoding="utf-8")
    environment = {
        **os.environ,
        "TUNESMITH_HOME": str(home),
        "HF_ENDPOINT": hub,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(home.parent / "hub"),
    }
    command = [sys.executable, "-m", "engine", "train", str(path), "--json"]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(json.loads(done.stdout)["run"] if "run" in json.loads(done.stdout) else json.loads(done.stdout)["id"])
