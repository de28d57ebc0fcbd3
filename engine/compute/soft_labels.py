"""What a teacher gives each label of each text: read once, kept with the run, and the loss that is made of it."""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from engine.compute import allocator
from engine.compute.classifier import timed_scores
from engine.compute.divergence import divergence, softened
from engine.compute.hidden_match import hidden_distance
from engine.compute.precision import autocast, dtype
from engine.compute.result import open_result
from engine.data.example import Example
from engine.errors import ModelError
from engine.files import read_json, write_json
from engine.methods.job import Job, Losses, Report
from engine.planning.memory import rows_at_once
from engine.teachers.label_teacher import LabelTeacher
from engine.teachers.teacher import fingerprint
from engine.texts.tokens import Tokens

FOLDER = "teacher"
FILE = "soft_labels.json"
ABOUT = "about_labels.json"


def key(example: Example) -> str:
    """A row by what is read of it."""
    return hashlib.sha256(json.dumps([example.text, example.second]).encode()).hexdigest()[:16]


def of(folder: Path, example: Example) -> list[float] | None:
    """The teacher's scores of a row, by label; None where it was not asked about it. folder: of the run."""
    file = folder / FOLDER / FILE
    try:
        return _loaded(file, file.stat().st_mtime_ns).get(key(example))
    except OSError:
        return None


@lru_cache(maxsize=2)
def _loaded(file: Path, changed: int) -> dict[str, list[float]]:
    return read_json(file) or {}


def copy(folder: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / FOLDER / FILE, to)


def write(job: Job, teacher: LabelTeacher, report: Report) -> None:
    """Let the teacher read all rows that are learned from or watched; it is gone again afterwards."""
    place = job.folder / FOLDER
    rows = {key(row): row for split in ("train", "validation") for row in job.examples[split]}
    files = teacher.folder / "model" if teacher.is_run else teacher.folder
    asked = hashlib.sha256(" ".join(sorted(rows)).encode()).hexdigest()[:16]
    about = {"teacher": teacher.id, "files": fingerprint(files), "labels": job.labels, "rows": asked}
    if read_json(place / ABOUT) == about and (place / FILE).exists():
        return
    place.mkdir(mode=0o700, exist_ok=True)
    (place / ABOUT).unlink(missing_ok=True)
    scores, _ = read(job, teacher, list(rows.values()), report)
    write_json(place / FILE, dict(zip(rows, scores.tolist(), strict=True)))
    write_json(place / ABOUT, about)  # last: it says that all are there


def read(job: Job, teacher: LabelTeacher, rows: list[Example], report: Report) -> tuple[torch.Tensor, float]:
    """What the teacher gives the job's labels for each row, (rows, labels), float32; and its tokens a second."""
    report(0, len(rows))
    found, speed = (_of_run if teacher.is_run else _of_model)(job, teacher, rows, report)
    gc.collect()
    allocator.trim()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return found[:, [teacher.labels.index(label) for label in job.labels]], speed


def _of_run(job: Job, teacher: LabelTeacher, rows: list[Example], report: Report) -> tuple[torch.Tensor, float]:
    own, model = open_result(teacher.folder)
    return timed_scores(replace(own, labels=list(teacher.labels)), model, rows, report)


def _of_model(job: Job, teacher: LabelTeacher, rows: list[Example], report: Report) -> tuple[torch.Tensor, float]:
    tokens = Tokens.load(teacher.folder)
    most = min(job.training.max_tokens, teacher.facts.context or job.training.max_tokens)
    encoded = [
        tokens.encode_pair(row.text, row.second, most) if row.second else tokens.encode_text(row.text, most)
        for row in rows
    ]
    model = _loaded_model(job, teacher)
    kinds = (getattr(model.config, "type_vocab_size", None) or 0) > 1
    order = sorted(range(len(rows)), key=lambda index: len(encoded[index].ids))
    found = torch.zeros(len(rows), len(teacher.labels))
    size = rows_at_once(max(len(item.ids) for item in encoded))
    began = time.monotonic()
    for start in range(0, len(rows), size):
        chosen = order[start : start + size]
        longest = len(encoded[chosen[-1]].ids)
        ids = torch.full((len(chosen), longest), tokens.pad_id or 0)
        mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
        for place, index in enumerate(chosen):
            item = encoded[index]
            ids[place, : len(item.ids)] = torch.tensor(item.ids)
            mask[place, : len(item.ids)] = 1
            types[place, : len(item.kinds)] = torch.tensor(item.kinds, dtype=torch.long)
        given = {"input_ids": ids, "attention_mask": mask, **({"token_type_ids": types} if kinds else {})}
        with torch.no_grad(), autocast(job.plan):
            logits = model(**{name: value.to(job.plan.device) for name, value in given.items()}).logits
        found[chosen] = logits.float().cpu()
        report(min(start + size, len(rows)), len(rows))
    return found, sum(len(item.ids) for item in encoded) / max(time.monotonic() - began, 1e-9)


def _loaded_model(job: Job, teacher: LabelTeacher) -> Any:
    try:
        model, told = AutoModelForSequenceClassification.from_pretrained(
            teacher.folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=dtype(job.plan.compute),
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"The teacher {teacher.id} can't be loaded: {str(error).splitlines()[0]}", "Choose another one."
        ) from error
    if told["missing_keys"]:
        raise ModelError(
            f"The teacher {teacher.id} lacks a part of its classifier ({sorted(told['missing_keys'])[0]}).",
            "Choose a model whose files hold all of it.",
        )
    if model.config.pad_token_id is None:  # one that writes finds a row's last token by it
        model.config.pad_token_id = Tokens.load(teacher.folder).pad_id
    return model.to(job.plan.device).requires_grad_(False).eval()


class HiddenStates:
    """What a teacher's hidden states add to the loss of a row: their distance, `weight` times.

    The teacher is loaded when it is first needed, and no part of the model.
    """

    def __init__(self, job: Job, teacher: LabelTeacher, weight: float, layers: str) -> None:
        self._job, self._of, self.weight, self._layers = job, teacher, weight, layers
        self._body: nn.Module | None = None

    def distance(self, model: nn.Module, mine: Sequence[torch.Tensor], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Of each row, (rows,), float32. mine: the model's states of the batch."""
        if self._body is None:
            self._body = _body(self._job, self._of)
        mask = inputs["attention_mask"]
        given = {"input_ids": inputs["input_ids"], "attention_mask": mask}
        if "kinds" in inputs and (getattr(self._body.config, "type_vocab_size", None) or 0) > 1:
            given["token_type_ids"] = inputs["kinds"]
        with torch.no_grad():
            theirs = self._body(**given, output_hidden_states=True).hidden_states
        project = model.projection or nn.Identity()
        return hidden_distance(mine, theirs, mask, self._layers, project)


def project(model: nn.Module, width: int, seed: int) -> nn.Module:
    """`model` with a projection of its hidden states to this width, which learns."""
    own = model.config.get_text_config().hidden_size
    model.projection = nn.Linear(own, width, bias=False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.projection.weight.normal_(0.0, own**-0.5, generator=generator)
    model.projection.to(model.backbone.device)
    return model


def _body(job: Job, teacher: LabelTeacher) -> nn.Module:
    """The teacher without its head, frozen."""
    if not teacher.is_run:
        body: nn.Module = _loaded_model(job, teacher).base_model
        return body
    _, model = open_result(teacher.folder, weights=job.plan.compute)
    body = model.backbone
    return body.to(job.plan.device).requires_grad_(False).eval()


def soft_losses(temperature: float, data_weight: float, states: HiddenStates | None = None) -> Losses:
    """Of each row: KL(teacher || model) over labels at a temperature (Hinton et al. 2015), and the data's own loss.

    states: what is learned of the teacher's hidden states besides, of rows that it was asked about.
    """

    def of_batch(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        given = [inputs["input_ids"], inputs["attention_mask"], inputs.get("kinds")]
        apart_inside = None
        if states is not None and "soft" in inputs:
            logits, mine = model.with_states(*given)
            logits, apart_inside = logits.float(), states.distance(model, mine, inputs)
        else:
            logits = model(*given).float()
        found = nn.functional.cross_entropy(logits, inputs["labels"], reduction="none")
        if "soft" in inputs:
            mine, theirs = (softened(one, logits.shape[-1], temperature) for one in (logits, inputs["soft"]))
            apart = divergence("forward-kl", mine, theirs)
            found = data_weight * found + (1 - data_weight) * temperature**2 * apart
        if states is not None and apart_inside is not None:
            found = found + states.weight * apart_inside
        return found, torch.arange(len(found), device=found.device)

    return of_batch
