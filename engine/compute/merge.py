"""Child process of engine.export: what a run added and its base as one full model."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from engine.bases.architecture import in_backbone
from engine.compute.masked import assembled
from engine.compute.result import open_result
from engine.errors import UserError
from engine.methods.job import Job
from engine.methods.pooling import FOLDER

STORED = {"BF16": torch.bfloat16, "F16": torch.float16}
"""Of the widths that safetensors names, those that are not made float32."""


def merge(run_folder: Path, to: Path) -> None:
    """Write the run's model with its adapter added to the weights, loadable by transformers alone.

    Raises UserError where the tuner's result can't be merged.
    """
    job, model = _opened(run_folder)
    _joined(job, model).save_pretrained(to)
    job.objective.save(job, model, to)
    job.tokens.save(to)


def merge_base(run_folder: Path, to: Path) -> None:
    """The same as a base for other runs: with the base's language head, and in the width of its files.

    The sums are made in float32; only what is written is rounded. Raises UserError as `merge` does.
    """
    job, model = _opened(run_folder)
    backbone = _joined(job, model)
    if hasattr(model, "language_head"):
        model = job.objective.set_backbone(model, backbone)
        backbone = assembled(model)
    elif (job.facts.has_lm_head or job.facts.has_mlm_head) and backbone.get_output_embeddings() is None:
        loader = AutoModelForCausalLM if job.facts.has_lm_head else AutoModelForMaskedLM
        whole = loader.from_pretrained(job.model_folder, local_files_only=True, dtype=torch.float32)
        # The body of a masked language model has no pooler.
        own = {name: tensor for name, tensor in backbone.state_dict().items() if in_backbone(name)}
        whole.base_model.load_state_dict(own)
        backbone = whole
    stored = {info.dtype for info in job.facts.tensors.values()}
    backbone.to(STORED.get(next(iter(stored)), torch.float32) if len(stored) == 1 else torch.float32)
    backbone.save_pretrained(to)
    job.tokens.save(to)
    if (job.model_folder / FOLDER).is_dir():  # how its tokens' vectors become one
        shutil.copytree(job.model_folder / FOLDER, to / FOLDER)


def _opened(run_folder: Path) -> tuple[Job, nn.Module]:
    job, model = open_result(run_folder, weights="float32")
    if job.tuner.unmergeable:
        raise UserError(
            f"{job.tuner.title} can't be merged. {job.tuner.unmergeable}",
            "Use the result as it is: the base model with the small file beside it.",
        )
    return job, model


def _joined(job: Job, model: nn.Module) -> Any:
    """The backbone with what was added in its weights."""
    backbone: Any = job.objective.backbone(model)
    return backbone.merge_and_unload() if hasattr(backbone, "merge_and_unload") else backbone


if __name__ == "__main__":
    with redirect_stdout(sys.stderr):
        try:
            request = json.load(sys.stdin)
            write = merge_base if request["form"] == "base" else merge
            write(Path(request["run"]), Path(request["to"]))
            answer = {}
        except UserError as error:
            answer = {"problem": error.problem, "fix": error.fix}
    print(json.dumps(answer))
