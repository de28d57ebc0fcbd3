"""Classify: a head on the model's pooled output learns to name one of the data's labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import kinds, stacking, text_pairs
from engine.class_weights import Scheme
from engine.data.example import Example
from engine.errors import SettingError
from engine.job import Features, Job, Losses, Objective, Report
from engine.method import AskedKind
from engine.models import ModelFacts
from engine.pooling import Reading, pooling
from engine.scores import Scores
from engine.settings import Section, setting
from engine.tokens import Encoded, Tokens
from engine.tuner import Tuner

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
        hidden = self.backbone(input_ids=ids, attention_mask=mask, **kinds).last_hidden_state.float()
        weights = mask.unsqueeze(-1).float()
        if POOL == "cls":
            pooled = hidden[:, 0]
        elif POOL in ("last", "lasttoken"):
            pooled = hidden[torch.arange(len(hidden)), mask.sum(dim=1) - 1]
        elif POOL == "max":
            pooled = hidden.masked_fill(weights == 0, torch.finfo(hidden.dtype).min).amax(dim=1)
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
    return {**read(example), "target": target(example)}


def losses(model, rows):
    """The loss of each row."""
    longest = max(len(row["ids"]) for row in rows)
    ids = torch.tensor([row["ids"] + [PAD] * (longest - len(row["ids"])) for row in rows], device=DEVICE)
    mask = torch.tensor([[1] * len(row["ids"]) + [0] * (longest - len(row["ids"])) for row in rows], device=DEVICE)
    kinds = {}
    if "kinds" in rows[0]:
        padded = [row["kinds"] + [0] * (longest - len(row["ids"])) for row in rows]
        kinds = {"token_type_ids": torch.tensor(padded, device=DEVICE)}
    return row_losses(model(ids, mask, **kinds).float(), [row["target"] for row in rows])


def positions(row):
    return 1
'''


class Classify(Objective):
    name = "classify"
    title = "Classify (choose a label)"
    help = (
        "The model learns to put texts into the classes of your data, one or several for each, or to give each a "
        "number. Fast, exact about its choices, and no chat."
    )
    paper = "https://arxiv.org/abs/1810.04805"
    order = 20
    wants = "labelled"
    architectures = frozenset({"encoder", "decoder"})
    gives = frozenset({"gradients", "class scores", "trainable base", "pooled features"})
    rate_factor = 0.4
    head_rate = 6e-3
    main_metric = "accuracy"

    class Settings(Section):
        kind: AskedKind = setting(
            "auto",
            "Kind of answer",
            "What a text gets: one label, several labels (or none), or a number, such as a rating or how alike two "
            "texts are. 'auto' looks at the data and says what it found; it never takes labels for numbers.",
        )
        threshold: float | None = setting(
            None,
            "Threshold",
            "The chance from which on a text gets a label, where it may have several. Empty means chosen on the "
            "validation rows.",
            advanced=True,
            gt=0,
            lt=1,
        )
        class_weights: Scheme = setting(
            "none",
            "Class weights",
            "How labels of different size count while it learns. 'balanced': each label as much as every other, "
            "however few rows it has; of several labels, having one as much as not having it. 'square root': half-way. "
            "'none': each row alike.",
            advanced=True,
        )

    def kind(self, settings: Any) -> AskedKind:
        return settings.kind

    def of_rows(self, settings: Any, examples: Sequence[Example]) -> Any:
        """With the kind of answer that the rows have."""
        found = settings.model_copy(update={"kind": kinds.of_rows(examples)})
        kind = kinds.of(found.kind)
        if kind.unweighable and self.weighs(found):
            raise SettingError([kind.unweighable], "Set it to none.")
        if found.threshold is not None and kind.name != "several labels":
            raise SettingError(
                [f"A threshold (objective.threshold) does nothing where a text gets {kind.title}."], "Leave it empty."
            )
        return found

    def settled(self, settings: Any, model_folder: Path, examples: list[Example]) -> Any:
        return self.of_rows(settings, examples)

    def labels(self, settings: Any, examples: Sequence[Example]) -> list[str]:
        return kinds.of(settings.kind).labels(examples)

    def main(self, settings: Any) -> str:
        return kinds.of(settings.kind).main_metric

    def loss_unit(self, settings: Any) -> str:
        return kinds.of(settings.kind).loss_unit

    def tells_labels(self, settings: Any) -> bool:
        return kinds.of(settings.kind).tells_labels

    def unfitted(self, settings: Any, tuner: Tuner) -> str | None:
        return kinds.of(settings.kind).unfitted.format(tuner=tuner.title) or None

    def remarks(self, settings: Any) -> list[str]:
        return [kinds.of(settings.kind).remark]

    def class_weights(self, settings: Any, labels: Sequence[str], train: Sequence[Example]) -> list[float] | None:
        return kinds.of(settings.kind).weights(settings.class_weights, labels, train)

    def weighs(self, settings: Any) -> bool:
        return settings.class_weights != "none"

    def encode(self, example: Example, tokens: Tokens, settings: Any, max_tokens: int) -> Encoded:
        if example.second:
            return tokens.encode_pair(example.text, example.second, max_tokens)
        return tokens.encode_text(example.text, max_tokens)

    def load(self, job: Job) -> nn.Module:
        from engine.compute.classifier import Classifier
        from engine.compute.model import load_backbone

        reading = Reading(pooling(job.model_folder))
        return Classifier(load_backbone(job, "features"), max(1, len(job.labels)), reading, job.training.seed)

    def backbone(self, model: nn.Module) -> nn.Module:
        return model.backbone

    def set_backbone(self, model: nn.Module, backbone: nn.Module) -> nn.Module:
        model.backbone = backbone
        return model

    def head(self, model: nn.Module) -> dict[str, nn.Parameter]:
        return {f"head.{name}": parameter for name, parameter in model.head.named_parameters()}

    def head_parameters(self, facts: ModelFacts, classes: int) -> int:
        return (facts.hidden + 1) * max(1, classes)

    def trainer(self) -> tuple[type, type, dict[str, Any]]:
        from transformers import Trainer, TrainingArguments

        return Trainer, TrainingArguments, {}

    def script(self, job: Job) -> str:
        read = text_pairs.script(job) if job.pairs else text_pairs.READ
        filled = SCRIPT.replace("KIND_HERE", kinds.of(job.objective_settings.kind).script(job))
        filled = filled.replace("LABELS_HERE", repr(job.labels))
        return filled.replace("POOL_HERE", repr(pooling(job.model_folder))).replace("READ_HERE", read)

    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        from engine.compute import tasks
        from engine.compute.classifier import kinds_of

        answer = kinds.of(job.objective_settings.kind).row(job, example)
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

        return told(job, kinds.of(job.objective_settings.kind).losses(job))

    def score(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
        return kinds.of(job.objective_settings.kind).score(job, model, rows, report)

    def baselines(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> dict[str, Scores]:
        return kinds.of(job.objective_settings.kind).baselines(job, rows)

    def calibrate(self, job: Job, model: nn.Module, report: Report) -> str:
        return kinds.of(job.objective_settings.kind).calibrate(job, model, report)

    def chances(self, job: Job, model: nn.Module, example: Example) -> list[tuple[str, float]]:
        return kinds.of(job.objective_settings.kind).told(job, model, example)

    def save(self, job: Job, model: nn.Module, folder: Path) -> None:
        from engine.compute.classifier import save_head

        save_head(job, model, folder)

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


METHOD = Classify()
