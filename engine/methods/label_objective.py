"""What objectives have in common with which a head on a model's pooled output learns the answers of the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import kinds
from engine.bases.models import ModelFacts
from engine.data.example import Example
from engine.judging.scores import Marked, Scores
from engine.kinds.base import Kind
from engine.methods.job import Features, Job, Losses, Report
from engine.methods.objective import Objective
from engine.methods.pooling import Reading
from engine.planning import stacking
from engine.texts import entity_windows
from engine.texts.tokens import Encoded, Tokens

if TYPE_CHECKING:
    import torch
    from torch import nn


SCRIPT = '''
LABELS = LABELS_HERE
POOL = POOL_HERE


class Classifier(torch.nn.Module):
    """Backbone, pooled over the tokens, and a linear head."""

    def __init__(self, backbone):
        super().__init__()
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None
        self.backbone = backbone
        self.head = torch.nn.Linear(backbone.config.get_text_config().hidden_size, max(1, len(LABELS)))
        torch.nn.init.normal_(self.head.weight, 0.0, 0.02, generator=torch.Generator().manual_seed(SEED))
        torch.nn.init.zeros_(self.head.bias)

    def forward(self, ids, mask, **kinds):
        return self.told(self.backbone(input_ids=ids, attention_mask=mask, **kinds).last_hidden_state.float(), mask)

    def told(self, hidden, mask):
        weights = mask.unsqueeze(-1).float()
        if POOL == "cls":
            pooled = hidden[:, 0]
        elif POOL in ("last", "lasttoken"):
            pooled = hidden[torch.arange(len(hidden)), mask.sum(dim=1) - 1]
        elif POOL == "max":
            pooled = hidden.masked_fill(weights == 0, torch.finfo(hidden.dtype).min).amax(dim=1)
        elif POOL == "none":
            pooled = hidden
        else:
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        with torch.autocast(DEVICE, enabled=False):
            return self.head(pooled)


def load():
    from transformers import AutoModel

    return Classifier(AutoModel.from_pretrained(MODEL, dtype=WEIGHTS, attn_implementation="sdpa", **QUANTIZATION))

READ_HERE
KIND_HERE

def encode(example):
    row = read(example)
    return {**row, "target": target(example, row)TASK_HERE}


def as_batch(rows):
    """Token ids, mask, and of which text each token is where that is told."""
    longest = max(len(row["ids"]) for row in rows)
    ids = torch.tensor([row["ids"] + [PAD] * (longest - len(row["ids"])) for row in rows], device=DEVICE)
    mask = torch.tensor([[1] * len(row["ids"]) + [0] * (longest - len(row["ids"])) for row in rows], device=DEVICE)
    kinds = {}
    if "kinds" in rows[0]:
        padded = [row["kinds"] + [0] * (longest - len(row["ids"])) for row in rows]
        kinds = {"token_type_ids": torch.tensor(padded, device=DEVICE)}
    return ids, mask, kinds


def scores(model, rows):
    """What the model makes of each row, (rows, classes), or of each token, (rows, tokens, classes)."""
    ids, mask, kinds = as_batch(rows)
    return model(ids, mask, **kinds).float()


OWN_HEREdef losses(model, rows):
    """The loss of each row."""
    return row_losses(SCORED_HERE, [row["target"] for row in rows])


def positions(row):
    return POSITIONS_HERE
'''


OWN = '''HEADS = {heads}  # how many labels each data set has for itself
SETS = [number for number, size in enumerate(HEADS) for _ in range(size)]


def own(scores, rows):
    """Scores in which labels of other data sets than a row's play no part."""
    sets, tasks = torch.tensor(SETS, device=DEVICE), torch.tensor([row["task"] for row in rows], device=DEVICE)
    return scores.masked_fill(sets[None] != tasks[:, None], -1e4)


'''


class LabelObjective(Objective):
    wants = "labelled"
    architectures = frozenset({"encoder", "decoder"})
    gives = frozenset({"gradients", "class scores", "trainable base", "pooled features"})
    rate_factor = 0.4
    head_rate = 6e-3
    main_metric = "accuracy"

    def answer(self, settings: Any) -> Kind:
        """What a text gets, once that is known."""
        return kinds.of("one label")

    def labels(self, settings: Any, examples: Sequence[Example]) -> list[str]:
        return self.answer(settings).labels(examples)

    def encode(self, example: Example, tokens: Tokens, settings: Any, max_tokens: int) -> Encoded:
        return self.answer(settings).encode(example, tokens, max_tokens)

    def divides(self, settings: Any) -> bool:
        return self.answer(settings).divides

    def parts(self, row: Example, tokens: Tokens, most: int) -> list[Example]:
        # Those that are scored stay whole: what is marked in their windows is put together again.
        return [row] if row.split == "test" else entity_windows.parts(row, tokens, most)

    def marks_words(self, settings: Any) -> bool:
        return self.answer(settings).marks_words

    def load(self, job: Job) -> nn.Module:
        from engine.compute.classifier import Classifier
        from engine.compute.model import load_backbone

        reading = Reading(self.answer(job.objective_settings).pooling(job.model_folder))
        backbone, seed = load_backbone(job, "features"), job.training.seed
        return Classifier(backbone, max(1, len(job.labels)), reading, seed, job.heads)

    def tell(self, model: nn.Module, tasks: list[int]) -> None:
        model.tasks = tasks

    def backbone(self, model: nn.Module) -> nn.Module:
        return model.backbone

    def set_backbone(self, model: nn.Module, backbone: nn.Module) -> nn.Module:
        model.backbone = backbone
        return model

    def head(self, model: nn.Module) -> dict[str, nn.Parameter]:
        return {f"head.{name}": parameter for name, parameter in model.head.named_parameters()}

    def head_parameters(self, facts: ModelFacts, classes: int) -> int:
        return (facts.hidden + 1) * classes

    def trainer(self) -> tuple[type, type, dict[str, Any]]:
        from transformers import Trainer, TrainingArguments

        return Trainer, TrainingArguments, {}

    def script(self, job: Job) -> str:
        kind = self.answer(job.objective_settings)
        parts = {
            "KIND": kind.script(job),
            "LABELS": repr(job.labels),
            "POOL": repr(kind.pooling(job.model_folder)),
            "READ": kind.reading(job),
            "POSITIONS": kind.positions,
            "TASK": ', "task": example["source"]' if job.heads else "",
            "SCORED": "own(scores(model, rows), rows)" if job.heads else "scores(model, rows)",
            "OWN": OWN.format(heads=job.heads) if job.heads else "",
        }
        filled = SCRIPT
        for name, source in parts.items():
            filled = filled.replace(f"{name}_HERE", source)
        return filled

    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        from engine.compute import tasks
        from engine.compute.classifier import kinds_of

        answer = self.answer(job.objective_settings).row(job, example, encoded)
        row = {"input_ids": encoded.ids, **answer, **tasks.noted(job, example)}
        row |= kinds_of(job, encoded)
        if self.weighs(job.objective_settings):
            row["weighed"] = example.split == "train"
        return row

    def batch(self, job: Job, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        from engine.compute.classifier import padded

        return padded(rows, job.tokens.pad_id or 0)

    def losses(self, job: Job) -> Losses:
        from engine.compute.tasks import told

        return told(job, self.answer(job.objective_settings).losses(job))

    def score(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
        return self.answer(job.objective_settings).score(job, model, rows, report)

    def baselines(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> dict[str, Scores]:
        return self.answer(job.objective_settings).baselines(job, rows)

    def calibrate(self, job: Job, model: nn.Module, report: Report) -> str:
        return self.answer(job.objective_settings).calibrate(job, model, report)

    def chances(self, job: Job, model: nn.Module, example: Example) -> list[tuple[str, float]]:
        return self.answer(job.objective_settings).told(job, model, example)

    def marks(self, job: Job, model: nn.Module, example: Example) -> list[Marked]:
        return self.answer(job.objective_settings).marks(job, model, example)

    def save(self, job: Job, model: nn.Module, folder: Path) -> None:
        from engine.compute.classifier import save_head

        kind = self.answer(job.objective_settings)
        save_head(job, model, folder, kind.kept(job, model))
        kind.kept_whole(job, model, folder)

    def restore(self, model: nn.Module, folder: Path) -> None:
        from engine.compute.classifier import restore_head

        restore_head(model, folder)

    def take_up(self, job: Job, model: nn.Module) -> None:
        if job.start is not None and stacking.begins_with_head(job):
            self.restore(model, job.start)

    def features(self, model: nn.Module, reading: Reading) -> Features:
        model.reading = reading
        return model.features

    def set_head(self, model: nn.Module, head: nn.Module) -> nn.Module:
        model.head = head
        return model
