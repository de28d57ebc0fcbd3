"""Child process of engine.export: an adapter and its base as one full model."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

from engine.compute.result import open_result
from engine.errors import UserError


def merge(run_folder: Path, to: Path) -> None:
    """Write the run's model with its adapter added to the weights, loadable by transformers alone.

    Raises UserError where the tuner's result can't be merged.
    """
    job, model = open_result(run_folder, weights="float32")
    if job.tuner.unmergeable:
        raise UserError(
            f"{job.tuner.title} can't be merged. {job.tuner.unmergeable}",
            "Use the result as it is: the base model with the small file beside it.",
        )
    backbone = job.objective.backbone(model)
    if hasattr(backbone, "merge_and_unload"):
        backbone = backbone.merge_and_unload()
    backbone.save_pretrained(to)
    job.objective.save(job, model, to)
    job.tokens.save(to)


if __name__ == "__main__":
    with redirect_stdout(sys.stderr):
        try:
            request = json.load(sys.stdin)
            merge(Path(request["run"]), Path(request["to"]))
            answer = {}
        except UserError as error:
            answer = {"problem": error.problem, "fix": error.fix}
    print(json.dumps(answer))
