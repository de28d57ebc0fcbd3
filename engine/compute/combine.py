"""One run of a tuner of the kind "merge": score each of the runs, sum what they added, score the sum, save."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from engine.bases import lineage
from engine.bases.lineage import Parent
from engine.compute.model import parameter_counts
from engine.compute.report import Reporter, Stopped, peak_memory
from engine.compute.result import folder_bytes, load_scores, save_result, save_scores
from engine.compute.train import announce, calibrate, finished, phase, scored, scores_before
from engine.data import example as examples_file
from engine.data.example import Example
from engine.errors import SettingError
from engine.events import Progress
from engine.judging.evidence import PART
from engine.methods.job import Job
from engine.planning.jobs import held_out

MERGED = "default"


def run(job: Job, reporter: Reporter) -> bool:
    """Do the whole job. True when it finished, False when it was stopped."""
    torch.set_num_threads(job.plan.threads)
    announce(job, reporter)
    parents = [lineage.parent(run_id) for run_id in job.tuner_settings.ids()]
    for sentence in seen_before(job, parents):
        reporter.notice(sentence, "warning")
    try:
        before = scores_before(job, reporter)
        began = time.monotonic()
        for place, parent in enumerate(parents):
            reporter.step(Progress(place, len(parents) + 1, memory_bytes=peak_memory(), seconds=0.0))
            _part(job, parent, reporter)
        model = _merged(job, parents, reporter)
        reporter.step(
            Progress(len(parents) + 1, len(parents) + 1, memory_bytes=peak_memory(), seconds=time.monotonic() - began)
        )
        calibrate(job, model, reporter)
        folder = save_result(job, model)
        after = scored(job, model, "after", reporter)
    except Stopped:
        reporter.notice("Stopped as you asked. The scores of the runs so far are kept; resume goes on from there.")
        return False
    added = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
    reporter.write(
        finished(
            job,
            before,
            after,
            {"parts": {parent.id: metrics for parent in parents if (metrics := _metrics(job, parent))}},
            trainable_parameters=added,
            total_parameters=parameter_counts(model)[1],
            seconds=round(time.monotonic() - began, 2),
            peak_memory_bytes=peak_memory(),
            artifact_bytes=folder_bytes(folder),
        )
    )
    return True


def combined(
    backbone: nn.Module, folders: Sequence[Path], shares: Sequence[float], arguments: dict[str, Any], seed: int
) -> Any:
    """The backbone with what `folders`, which hold ordinary LoRAs for it, come to together as one LoRA.

    arguments: of PEFT's `add_weighted_adapter`.
    """
    from peft import PeftModel

    names = [f"run{place}" for place in range(len(folders))]
    model = PeftModel.from_pretrained(backbone, folders[0], adapter_name=names[0])
    for name, folder in zip(names[1:], folders[1:], strict=True):
        model.load_adapter(folder, adapter_name=name)
    torch.manual_seed(seed)
    model.base_model.add_weighted_adapter(names, list(shares), MERGED, **arguments)
    model.set_adapter(MERGED)
    for name in names:
        model.delete_adapter(name)
    return model.requires_grad_(False)


def mean_head(folders: Sequence[Path], shares: Sequence[float]) -> dict[str, torch.Tensor]:
    """Of the runs' classification heads, weighted as what they added."""
    total = sum(shares) or 1.0
    heads = [load_file(folder / "head.safetensors") for folder in folders]
    return {name: sum(w * head[name] for w, head in zip(shares, heads, strict=True)) / total for name in heads[0]}


def seen_before(job: Job, parents: Sequence[Parent]) -> Iterator[str]:
    """A sentence for each run that learned from rows which are held out here: its score says too much."""
    _, rows = held_out(job)
    contents = {_content(row) for row in rows}
    for parent in parents:
        try:
            learned = examples_file.load(parent.folder / "examples.jsonl")
        except (OSError, ValueError):
            continue
        known = contents & {_content(row) for row in learned if row.split == "train"}
        if known:
            yield (
                f"Run {parent.id} learned from {len(known)} of the {len(rows)} rows that are scored here, so that its "
                "score and the merge's say too much. Give the data and the seed of that run, or other rows."
            )


def _content(row: Example) -> str:
    return str((row.read, row.label, row.messages))


def _part(job: Job, parent: Parent, reporter: Reporter) -> None:
    """Score a run's own result on the held-out rows, unless that is known."""
    if _metrics(job, parent) is not None:
        return
    reporter.phase("load", 0, 1)
    model = job.objective.load(job)
    if job.objective.head(model):
        _require_labels(job, parent)
    backbone = job.tuner.restore(job.objective.backbone(model), parent.result)
    model = job.objective.set_backbone(model, backbone)
    job.objective.restore(model, parent.result)
    # Told as a score of its own: "score part" would be a phase that no page knows.
    scores = job.objective.score(job, model.eval(), held_out(job)[1], phase(reporter, "score after"))
    save_scores(job, f"{PART}{parent.id}", scores)
    del model, backbone
    gc.collect()


def _metrics(job: Job, parent: Parent) -> dict[str, float] | None:
    found = load_scores(job.folder, f"{PART}{parent.id}")
    return found.metrics if found else None


def _require_labels(job: Job, parent: Parent) -> None:
    kind = job.objective.kind(job.objective_settings)
    known = lineage.labels(parent.result, kind)
    if known is None:
        raise SettingError(
            [f"Run {parent.id} gives another kind of answer than this one ({kind})."],
            "Merge runs whose kind of answer (objective.kind) is the same.",
        )
    if kind == "number" and lineage.scale(parent.result) != job.scale:
        raise SettingError(
            [f"Run {parent.id} learned numbers of another mean or spread than the rows to learn from here have."],
            "Give the data and the seed that the runs had.",
        )
    if lineage.heads(parent.result) != job.heads:
        raise SettingError(
            [f"Run {parent.id} keeps the labels of its data sets apart in another way than this one."],
            "Merge runs with the same data sets and the same heads (objective.heads).",
        )
    if known != job.labels:
        raise SettingError(
            [f"Run {parent.id} tells {len(known)} labels apart, not the {len(job.labels)} of this data."],
            "Give data with the same labels as the runs had.",
        )


def _merged(job: Job, parents: Sequence[Parent], reporter: Reporter) -> nn.Module:
    reporter.phase("load", 0, 1)
    model = job.objective.load(job)
    backbone = job.tuner.apply(job.objective.backbone(model), job.tuner_settings, job.training.seed)
    model = job.objective.set_backbone(model, backbone)
    if job.objective.head(model):
        head = mean_head([parent.result for parent in parents], job.tuner_settings.shares())
        model.head.load_state_dict(head)
    return model.eval()
