"""What a finished run leaves: `model/` with weights, tokenizer, template and spec; and how it is opened again."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from torch import nn

from engine.bases import lineage, parts
from engine.compute.model import untrained
from engine.errors import RunError
from engine.judging.scores import ScoredRow, Scores
from engine.methods.job import Job
from engine.planning import stacking
from engine.planning.jobs import open_job
from engine.scripts.script import script
from engine.specs.spec import RunSpec

MODEL = "model"
Weights = Literal["float32", "bfloat16", "float16", "8bit", "4bit"]


def save_result(job: Job, model: nn.Module) -> Path:
    """Write the result folder whole: it takes its name only when everything is in it."""
    folder, partial = job.folder / MODEL, job.folder / ".model"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    job.tuner.save(job.objective.backbone(model), partial)
    job.objective.save(job, model, partial)
    job.tokens.save(partial)
    if "answers" in job.objective.gives:
        _name_stops(partial, job)
    (partial / "spec.yaml").write_text(_without_webhook(job.folder / "spec.yaml"), encoding="utf-8")
    (partial / "train.py").write_text(script(job), encoding="utf-8")
    _name_base(partial, job)
    if job.facts.made_of:
        _keep_made(partial, job)
    _keep_start(partial, job)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    return folder


def _keep_made(folder: Path, job: Job) -> None:
    """The base that was made for this run: in the result what stands on it; of a whole one, for the script alone."""
    whole = any((folder / name).exists() for name in lineage.WHOLE)
    place = (job.folder if whole else folder) / parts.BASE
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(job.model_folder, place)


def _keep_start(folder: Path, job: Job) -> None:
    """What of other runs' results the standalone script begins with."""
    for name, file in stacking.start_files(job).items():
        place = folder / parts.START / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


def _without_webhook(spec: Path) -> str:
    """Results are given away; an address that takes messages is not."""
    found = RunSpec.load(spec)
    return replace(found, output=found.output.model_copy(update={"webhook": None})).to_yaml()


def open_result(run_folder: Path, base: bool = False, weights: Weights | None = None) -> tuple[Job, nn.Module]:
    """The job and the model of a finished run, ready to answer; `base` gives the model before training.

    `weights` loads the base in another format than the run's plan says.

    Raises RunError where the run has no result yet.
    """
    folder = run_folder / MODEL
    if not base and not folder.is_dir():
        raise RunError(f"Run {run_folder.name} has no result yet.", "Wait until it has finished, or resume it.")
    job = open_job(run_folder, lambda text: None, to_train=False)
    if weights is not None:
        job = replace(job, plan=replace(job.plan, weights=weights))
    if base:
        return job, untrained(job)
    model = job.objective.load(job)
    backbone = job.tuner.restore(job.objective.backbone(model), folder)
    model = job.objective.set_backbone(model, backbone)
    job.objective.restore(model, folder)
    return job, model.eval()


def save_scores(job: Job, name: str, scores: Scores) -> None:
    """Keep a scoring with its rows in `scores/NAME.json`."""
    folder = job.folder / "scores"
    folder.mkdir(exist_ok=True)
    partial = folder / f".{name}.json"
    partial.write_text(json.dumps(asdict(scores), ensure_ascii=False), encoding="utf-8")
    partial.replace(folder / f"{name}.json")


def load_scores(run_folder: Path, name: str) -> Scores | None:
    """A scoring that was kept, or None."""
    try:
        record = json.loads((run_folder / "scores" / f"{name}.json").read_text(encoding="utf-8"))
        rows = [ScoredRow(**row) for row in record["rows"]]
        return Scores(record["main"], record["metrics"], rows, record.get("tokens_per_second"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def kept_scores(run_folder: Path) -> dict[str, Scores]:
    """All scorings that were kept, by name."""
    names = sorted(path.stem for path in (run_folder / "scores").glob("[!.]*.json"))
    return {name: scores for name in names if (scores := load_scores(run_folder, name))}


def folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _name_stops(folder: Path, job: Job) -> None:
    """Every token that ends an answer, for programs that generate from the result: base models know no end of turn."""
    file = folder / "generation_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    config |= {"eos_token_id": sorted(job.tokens.stop_ids), "pad_token_id": job.tokens.pad_id}
    file.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def _name_base(folder: Path, job: Job) -> None:
    """Adapters name the model they stand on: its public name, not a folder of this machine."""
    file = folder / "adapter_config.json"
    if file.exists():
        config = json.loads(file.read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = f"./{parts.BASE}" if job.facts.made_of else job.facts.id
        file.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
