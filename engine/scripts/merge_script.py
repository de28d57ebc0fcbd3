"""A merge of several runs as one Python file that needs only the libraries, and makes the same addition."""

from __future__ import annotations

from importlib import metadata

from engine.bases.parts import START
from engine.methods.job import Job

LIBRARIES = ("torch", "transformers", "peft")
SCRIPT = '''"""{title}

Makes the same addition as the run {run}, without Tunesmith:

    pip install {requirements}
    python train.py [BASE_MODEL]

BASE_MODEL is a Hub id or a folder; {model} by default. Beside this file lie the runs' additions (start/).
The result goes to ./result.
"""

import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import {loader}

MODEL = sys.argv[1] if len(sys.argv) > 1 else {model!r}
SHARES = {shares}
HERE = Path(__file__).resolve().parent

folders = [HERE / "{start}" / f"run{{place}}" for place in range(len(SHARES))]
names = [folder.name for folder in folders]
model = {loader}.from_pretrained(MODEL, dtype=torch.{weights})
model = PeftModel.from_pretrained(model, folders[0], adapter_name=names[0])
for name, folder in zip(names[1:], folders[1:]):
    model.load_adapter(folder, adapter_name=name)
torch.manual_seed({seed})
model.base_model.add_weighted_adapter(names, SHARES, "default", {arguments})
model.set_adapter("default")
for name in names:
    model.delete_adapter(name)
model.save_pretrained("result")
heads = [load_file(folder / "head.safetensors") for folder in folders if (folder / "head.safetensors").exists()]
if heads:
    mean = {{name: sum(w * head[name] for w, head in zip(SHARES, heads)) / (sum(SHARES) or 1.0) for name in heads[0]}}
    save_file(mean, "result/head.safetensors")
'''


def script(job: Job) -> str:
    """Source of the standalone script of this job."""
    settings = job.tuner_settings
    return SCRIPT.format(
        title=f"{job.objective.title}: {job.tuner.title}.",
        run=job.folder.name,
        requirements=" ".join(f"{name}=={metadata.version(name)}" for name in LIBRARIES),
        model=job.facts.id,
        loader="AutoModelForCausalLM" if job.objective.whole(job.facts) else "AutoModel",
        shares=settings.shares(),
        start=START,
        weights="float32" if job.plan.weights == "float32" else job.plan.weights,
        seed=job.training.seed,
        arguments=", ".join(f"{name}={value!r}" for name, value in settings.arguments().items()),
    )
