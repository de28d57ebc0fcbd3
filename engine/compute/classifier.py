"""A backbone with a pooled classification head."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import nn

from engine import heads
from engine.compute import tasks
from engine.compute.precision import autocast
from engine.compute.score import interval, macro_f1
from engine.data.example import Example
from engine.errors import ModelError
from engine.job import Job, Report
from engine.memory import rows_at_once
from engine.pooling import Reading
from engine.scores import ScoredRow, Scores

HEAD_FILE = "head.safetensors"
CONFIG_FILE = "classifier.json"


class Classifier(nn.Module):
    """backbone → pooled over the text's tokens → head. Logits: (rows, classes), float32."""

    def __init__(self, backbone: nn.Module, classes: int, reading: Reading, seed: int) -> None:
        super().__init__()
        # The pooler of BERT-like models feeds nothing here; left in place it would look trainable.
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None
        self.backbone = backbone
        self.reading = reading
        self.config = backbone.config
        self.head: nn.Module = nn.Linear(backbone.config.get_text_config().hidden_size, classes)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.head.weight.normal_(0.0, 0.02, generator=generator)
            self.head.bias.zero_()
        self.head.to(backbone.device)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        pooled = self.features(input_ids, attention_mask)
        with torch.autocast(pooled.device.type, enabled=False):
            return self.head(pooled)

    def features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(rows, width), float32."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.reading.is_output:
            hidden = self.backbone(**given).last_hidden_state.float()
        else:
            top, below = -self.reading.layer, -self.reading.layer - self.reading.layers
            every = self.backbone(**given, output_hidden_states=True).hidden_states
            hidden = torch.stack([layer.float() for layer in every[below + 1 : top + 1 or None]]).mean(dim=0)
        return _pooled(hidden, attention_mask, self.reading.pooling)


class FittedHead(nn.Module):
    """A classifier that was fitted to features, as plain arrays (`engine.heads`). Class scores: (rows, classes)."""

    def __init__(self, name: str, form: str, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
        super().__init__()
        self.name, self.form, self.arrays, self.about = name, form, arrays, about
        self.scores = heads.FORMS[form]

    @property
    def numbers(self) -> int:
        """How many numbers it consists of."""
        return sum(array.size for array in self.arrays.values())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        found = self.scores(self.arrays, features.float().cpu().numpy())
        return torch.from_numpy(found).float().to(features.device)


def padded(rows: list[dict[str, Any]], pad_id: int) -> dict[str, torch.Tensor]:
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.full((len(rows), longest), pad_id)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
        mask[index, : len(row["input_ids"])] = 1
    labels = torch.tensor([row["labels"] for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, **tasks.of_rows(rows)}


def class_losses(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of each row, (rows,), and the rows' numbers."""
    logits = model(inputs["input_ids"], inputs["attention_mask"])
    losses = nn.functional.cross_entropy(logits.float(), inputs["labels"], reduction="none")
    return losses, torch.arange(len(losses), device=losses.device)


def predictions(job: Job, model: nn.Module, rows: list[Example], report: Report) -> tuple[list[str], list[float]]:
    """The label that the model gives to each row, and the loss of the right one in nats.

    A row whose label the model never saw has the loss of the least likely class.
    """
    model.eval()
    encoded = [job.objective.encode(row, job.tokens, job.objective_settings, job.training.max_tokens) for row in rows]
    order = sorted(range(len(rows)), key=lambda index: len(encoded[index].ids))
    given: list[str] = [""] * len(rows)
    losses = [0.0] * len(rows)
    size = rows_at_once(max((len(item.ids) for item in encoded), default=1))
    for start in range(0, len(rows), size):
        chosen = order[start : start + size]
        batch = padded([{"input_ids": encoded[index].ids, "labels": 0} for index in chosen], job.tokens.pad_id or 0)
        device = next(model.parameters()).device
        tasks.tell(job, model, [rows[index].source for index in chosen])
        with torch.no_grad(), autocast(job.plan):
            logits = model(batch["input_ids"].to(device), batch["attention_mask"].to(device)).float()
        for index, scores in zip(chosen, torch.log_softmax(logits, dim=-1).cpu(), strict=True):
            given[index] = job.labels[int(scores.argmax())]
            known = rows[index].label in job.labels
            losses[index] = float(-scores[job.labels.index(rows[index].label)] if known else -scores.min())
        report(min(start + size, len(rows)), len(rows))
    return given, losses


def found_scores(job: Job, rows: list[Example], given: Sequence[str], losses: Sequence[float]) -> Scores:
    """Scores of the labels that were given to rows, and of the losses in nats."""
    found = [
        ScoredRow(row.row, row.text, row.label, label, float(label == row.label), loss)
        for row, label, loss in zip(rows, given, losses, strict=True)
    ]
    metrics = {
        **interval("accuracy", [row.score for row in found]),
        **macro_f1([row.expected for row in found], [row.answer for row in found]),
        "loss": sum(losses) / len(losses),
        **tasks.scores(job, rows, [row.score for row in found], "accuracy"),
    }
    return Scores(job.objective.main_metric, metrics, found)


def chances(job: Job, model: nn.Module, text: str) -> list[tuple[str, float]]:
    """Every label with the chance that the model gives it for a text, the likeliest first."""
    encoded = job.tokens.encode_text(text, job.training.max_tokens)
    device = next(model.parameters()).device
    ids = torch.tensor([encoded.ids], device=device)
    with torch.no_grad(), autocast(job.plan):
        logits = model(ids, torch.ones_like(ids)).float()
    found = torch.softmax(logits[0], dim=-1).tolist()
    return sorted(zip(job.labels, found, strict=True), key=lambda one: -one[1])


def save_head(model: nn.Module, labels: list[str], folder: Path) -> None:
    """head.safetensors with the head's arrays, classifier.json with what they mean."""
    reading = model.reading
    config: dict[str, Any] = {"labels": labels, "pooling": reading.pooling}
    if isinstance(model.head, FittedHead):
        arrays = {name: np.ascontiguousarray(array) for name, array in model.head.arrays.items()}
        save_arrays(arrays, folder / HEAD_FILE)
        config |= {"layer": reading.layer, "layers": reading.layers}
        config |= {"classifier": model.head.name, "form": model.head.form, **model.head.about}
    else:
        save_file({name: tensor.contiguous() for name, tensor in model.head.state_dict().items()}, folder / HEAD_FILE)
    (folder / CONFIG_FILE).write_text(json.dumps(config, ensure_ascii=False, indent=1), encoding="utf-8")


def restore_head(model: nn.Module, folder: Path) -> None:
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if "form" in config:
            model.head = FittedHead(config["classifier"], config["form"], load_arrays(folder / HEAD_FILE), {})
            model.reading = Reading(config["pooling"], config["layer"], config["layers"])
        else:
            model.head.load_state_dict(load_file(folder / HEAD_FILE))
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(
            f"The classification head in {folder.name} can't be read: {error}.", "Train the run again."
        ) from None


def _pooled(hidden: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """hidden: (rows, tokens, width) → (rows, width), padding left out. Padding stands on the right."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    if how == "cls":
        return hidden[:, 0]
    if how == "last" or how == "lasttoken":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(dim=1) - 1]
    if how == "max":
        return hidden.masked_fill(weights == 0, torch.finfo(hidden.dtype).min).amax(dim=1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
