"""A backbone with a pooled classification head."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import nn

from engine.compute import tasks
from engine.compute.precision import autocast
from engine.compute.score import interval, macro_f1
from engine.data.example import Example
from engine.data.rows import counted
from engine.errors import DataError, ModelError
from engine.judging import calibration
from engine.judging.scores import ScoredRow, Scores
from engine.judging.temperature import temperature
from engine.methods import heads
from engine.methods.job import Job, Losses, Report
from engine.methods.pooling import EACH_TOKEN, Reading
from engine.planning.jobs import chosen_rows
from engine.planning.memory import rows_at_once
from engine.texts import text_pairs
from engine.texts.tokens import Encoded

HEAD_FILE = "head.safetensors"
CONFIG_FILE = "classifier.json"
APART = -1e4
"""Score of a label that is one of another data set than the row's. Its chance is 0, and it learns nothing from it."""


class Classifier(nn.Module):
    """backbone → pooled over the text's tokens, or each of them → head. Logits: (rows, classes), or of each token."""

    def __init__(
        self, backbone: nn.Module, classes: int, reading: Reading, seed: int, heads: Sequence[int] = ()
    ) -> None:
        """heads: how many of the classes, in their order, are those of each data set, where they are kept apart."""
        super().__init__()
        # The pooler of BERT-like models feeds nothing here; left in place it would look trainable.
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None
        self.backbone = backbone
        self.reading = reading
        self.tasks: list[int] = [0]
        """Of which data set each row is that comes next, or one for all; matters where there are `heads`."""
        sets = torch.tensor([task for task, count in enumerate(heads) for _ in range(count)], dtype=torch.long)
        self.register_buffer("sets", sets.to(backbone.device), persistent=False)
        """Of which data set each class is, (classes,); empty where all sets share them."""
        self.temperature: float | None = None
        """By what its scores are divided before they become chances, once that is known."""
        self.threshold: float | None = None
        """The chance from which on a label is given, where a text may have several and once that is known."""
        self.calibrated_on = 0
        """Validation rows that one of these was chosen by."""
        self.projection: nn.Linear | None = None
        """To the width of a teacher, while hidden states are learned from one; no part of the result."""
        self.config = backbone.config
        self.head: nn.Module = nn.Linear(backbone.config.get_text_config().hidden_size, classes)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.head.weight.normal_(0.0, 0.02, generator=generator)
            self.head.bias.zero_()
        self.head.to(backbone.device)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, kinds: torch.Tensor | None = None
    ) -> torch.Tensor:
        """kinds: of two texts that are read together, of which each token is, (rows, tokens)."""
        return self._told(self.features(input_ids, attention_mask, kinds))

    def with_states(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, kinds: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """As `forward`, and the hidden states of the embeddings and of each layer, read in the same pass."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        given |= {} if kinds is None else {"token_type_ids": kinds}
        found = self.backbone(**given, output_hidden_states=True)
        pooled = _pooled(found.last_hidden_state.float(), attention_mask, self.reading.pooling)
        return self._told(pooled), found.hidden_states

    def _told(self, pooled: torch.Tensor) -> torch.Tensor:
        with torch.autocast(pooled.device.type, enabled=False):
            scores = self.head(pooled)
        if not len(self.sets):
            return scores
        tasks = torch.tensor(self.tasks, device=scores.device)
        return scores.masked_fill(self.sets[None] != tasks[:, None], APART)

    def features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, kinds: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(rows, width), float32; of each token (rows, tokens, width)."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        if kinds is not None:
            given["token_type_ids"] = kinds
        if self.reading.is_output:
            hidden = self.backbone(**given).last_hidden_state.float()
        else:
            top, below = -self.reading.layer, -self.reading.layer - self.reading.layers
            every = self.backbone(**given, output_hidden_states=True).hidden_states
            hidden = torch.stack([layer.float() for layer in every[below + 1 : top + 1 or None]]).mean(dim=0)
        return _pooled(hidden, attention_mask, self.reading.pooling)


class FittedHead(nn.Module):
    """A classifier fitted to features, as plain arrays (`engine.methods.heads`). Class scores: (rows, classes)."""

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
    labels = _labels(rows, longest)
    wanted = {"wanted": torch.tensor([row["wanted"] for row in rows])} if "wanted" in rows[0] else {}
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels, **wanted, **tasks.of_rows(rows)}
    if "kinds" in rows[0]:
        batch["kinds"] = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            batch["kinds"][index, : len(row["kinds"])] = torch.tensor(row["kinds"])
    return {**batch, "weighed": torch.tensor([row["weighed"] for row in rows])} if "weighed" in rows[0] else batch


def _labels(rows: list[dict[str, Any]], longest: int) -> torch.Tensor:
    """The class of each row, (rows,), or of each of its tokens, (rows, tokens)."""
    given = [row["labels"] for row in rows]
    if not isinstance(given[0], list):
        return torch.tensor(given)
    return torch.tensor([own + [-100] * (longest - len(own)) for own in given])


def kinds_of(job: Job, encoded: Encoded) -> dict[str, list[int]]:
    """Of which text each token of a row is, as "kinds", where the run reads pairs and its model tells them apart.

    A tuner's virtual tokens are of neither text, and would not line up with them; there the separator alone tells.
    """
    return {"kinds": encoded.kinds or [0] * len(encoded.ids)} if text_pairs.told_apart(job) else {}


def read_rows(job: Job, encoded: Sequence[Encoded]) -> dict[str, torch.Tensor]:
    """Rows as a batch whose labels don't matter."""
    rows = [{"input_ids": row.ids, "labels": 0, **kinds_of(job, row)} for row in encoded]
    return padded(rows, job.tokens.pad_id or 0)


def on_device(batch: dict[str, torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """What a classifier is called with."""
    return [batch[name].to(device) for name in ("input_ids", "attention_mask", "kinds") if name in batch]


def class_losses(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of each row, (rows,), and the rows' numbers."""
    logits = model(inputs["input_ids"], inputs["attention_mask"], inputs.get("kinds"))
    losses = nn.functional.cross_entropy(logits.float(), inputs["labels"], reduction="none")
    return losses, torch.arange(len(losses), device=losses.device)


def weighed(losses: Losses, weights: list[float]) -> Losses:
    """`losses` with those of rows that are learned ("weighed" in the batch, (rows,)) as much as their class counts."""

    def of_batch(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        found, rows = losses(model, inputs)
        factors = torch.tensor(weights, device=found.device)[inputs["labels"]]
        return found * torch.where(inputs["weighed"], factors, 1.0), rows

    return of_batch


def class_scores(job: Job, model: nn.Module, rows: list[Example], report: Report) -> torch.Tensor:
    """What the model gives each class for each row, before any temperature: (rows, classes), float32."""
    return timed_scores(job, model, rows, report)[0]


def timed_scores(job: Job, model: nn.Module, rows: list[Example], report: Report) -> tuple[torch.Tensor, float]:
    """As `class_scores`, and how many tokens a second were read, padding aside."""
    model.eval()
    encoded = [job.objective.encode(row, job.tokens, job.objective_settings, job.training.max_tokens) for row in rows]
    order = sorted(range(len(rows)), key=lambda index: len(encoded[index].ids))
    found = torch.zeros(len(rows), max(1, len(job.labels)))
    size = rows_at_once(max((len(item.ids) for item in encoded), default=1))
    began = time.monotonic()
    for start in range(0, len(rows), size):
        chosen = order[start : start + size]
        device = next(model.parameters()).device
        batch = on_device(read_rows(job, [encoded[index] for index in chosen]), device)
        tasks.tell(job, model, [rows[index].source for index in chosen])
        with torch.no_grad(), autocast(job.plan):
            found[chosen] = model(*batch).float().cpu()
        report(min(start + size, len(rows)), len(rows))
    return found, sum(len(item.ids) for item in encoded) / max(time.monotonic() - began, 1e-9)


def predictions(job: Job, rows: list[Example], scores: torch.Tensor) -> tuple[list[str], list[float]]:
    """The label that each row is given, and the loss of the right one in nats. scores: as `class_scores` gives them.

    A row whose label the model never saw has the loss of the least likely class.
    """
    given, losses = [], []
    every = torch.log_softmax(scores, dim=-1)
    for row, number, chances in zip(rows, class_numbers(job, rows), every, strict=True):
        given.append(job.labels[int(chances.argmax())])
        own = job.span(row.source)
        losses.append(float(-chances[number] if number >= 0 else -chances[own.start : own.stop].min()))
    return given, losses


def class_numbers(job: Job, rows: list[Example]) -> np.ndarray:
    """The class of each row, (rows,); -1 for a label that the model never saw."""
    return np.array([job.place(row.label, row.source) for row in rows], dtype=np.int64)


def score(job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
    """Answer held-out rows and score them, and how well the model knows how sure it may be."""
    scores, speed = timed_scores(job, model, rows, report)
    found = found_scores(job, rows, *predictions(job, rows, scores))
    sure = calibration.measured(_ruled_out(scores), class_numbers(job, rows), model.temperature)
    return replace(found, metrics={**found.metrics, **sure}, tokens_per_second=speed)


def calibrate(job: Job, model: nn.Module, report: Report) -> str:
    """Give the model the temperature that suits its validation rows; what came of it, in a sentence."""
    model.temperature, model.calibrated_on = None, 0
    rows = [row for row in job.examples["validation"] if job.place(row.label, row.source) >= 0]
    rows = chosen_rows(rows, calibration.MOST_ROWS, job.training.seed)
    if len(rows) < calibration.FEWEST_ROWS:
        return (
            f"The chances of the labels are not calibrated: {counted(len(rows), 'row', 'rows')} watched the training, "
            f"and at least {calibration.FEWEST_ROWS} are needed (data.split.validation)."
        )
    scores = _ruled_out(class_scores(job, model, rows, report))
    model.temperature = temperature(scores, class_numbers(job, rows))
    model.calibrated_on = len(rows)
    sure = "too sure" if model.temperature > 1 else "less sure than it may be"
    told = (
        f"Scores are divided by {model.temperature:.3g} before they become chances: on {len(rows):,} validation rows "
        f"the model was {sure}. No answer changes by that."
    )
    return told if job.examples["test"] else f"{told} These rows are scored as well, which flatters its calibration."


def _ruled_out(scores: torch.Tensor) -> np.ndarray:
    """Scores with -inf for the labels of other data sets than a row's."""
    found = scores.numpy()
    return np.where(found > APART, found, -np.inf)


def found_scores(job: Job, rows: list[Example], given: Sequence[str], losses: Sequence[float]) -> Scores:
    """Scores of the labels that were given to rows, and of the losses in nats."""
    found = [
        ScoredRow(row.row, row.read, row.label, label, float(label == row.label), loss, task=tasks.headed(job, row))
        for row, label, loss in zip(rows, given, losses, strict=True)
    ]
    metrics = {
        **interval("accuracy", [row.score for row in found]),
        **macro_f1([row.named(row.expected) for row in found], [row.named(row.answer) for row in found]),
        "loss": sum(losses) / len(losses),
        **tasks.scores(job, rows, [row.score for row in found], "accuracy"),
    }
    return Scores(job.objective.main_metric, metrics, found)


def answer_of(job: Job, model: nn.Module, example: Example) -> torch.Tensor:
    """Class scores of a text or a pair of them, (classes,), float32. Raises DataError where it reads the other."""
    if bool(example.second) != job.pairs:
        raise DataError(
            f"This run reads {'two texts' if job.pairs else 'one text'} at a time.",
            "Give a second text, too." if job.pairs else "Leave the second text out.",
        )
    encoded = job.objective.encode(example, job.tokens, job.objective_settings, job.training.max_tokens)
    with torch.no_grad(), autocast(job.plan):
        logits = model(*on_device(read_rows(job, [encoded]), next(model.parameters()).device)).float()
    return logits[0].cpu()


def chances(job: Job, model: nn.Module, example: Example) -> list[tuple[str, float]]:
    """Every label with the chance that the model gives it, the likeliest first."""
    found = torch.softmax(answer_of(job, model, example) / (model.temperature or 1.0), dim=-1).tolist()
    return ranked(job, example, found)


def ranked(job: Job, example: Example, found: Sequence[float]) -> list[tuple[str, float]]:
    """The labels that a text of this data set can get, with what was found for all of them, the highest first."""
    return sorted(((job.labels[place], found[place]) for place in job.span(example.source)), key=lambda one: -one[1])


def save_head(job: Job, model: nn.Module, folder: Path, about: dict[str, Any]) -> None:
    """head.safetensors with the head's arrays, classifier.json with what they mean. about: of its kind of answer."""
    reading = model.reading
    config: dict[str, Any] = {"labels": job.labels, "pooling": reading.pooling}
    if job.pairs:
        config["pair"] = text_pairs.described(job)
    if told := tasks.described(job):
        config["tasks"] = told
    config |= about
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
        model.temperature = float(config["temperature"]) if "temperature" in config else None
        model.threshold = float(config["threshold"]) if config.get("threshold") is not None else None
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(
            f"The classification head in {folder.name} can't be read: {error}.", "Train the run again."
        ) from None


def _pooled(hidden: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """hidden: (rows, tokens, width) → (rows, width), padding left out; or as it is. Padding stands on the right."""
    if how == EACH_TOKEN:
        return hidden
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    if how == "cls":
        return hidden[:, 0]
    if how == "last" or how == "lasttoken":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(dim=1) - 1]
    if how == "max":
        return hidden.masked_fill(weights == 0, torch.finfo(hidden.dtype).min).amax(dim=1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
