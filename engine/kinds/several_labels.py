"""A text has several labels, or none: a sigmoid for each, learned by binary cross-entropy.

The loss of a row is the mean over labels, as that of transformers with problem_type="multi_label_classification".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from engine.data.example import Example
from engine.judging.scores import Scores
from engine.kinds.base import Kind
from engine.method import KindName
from engine.methods import class_weights
from engine.methods.class_weights import Scheme
from engine.methods.job import Job, Losses, Report
from engine.texts.tokens import Encoded

if TYPE_CHECKING:
    from torch import nn

SCRIPT = '''
LABEL_WEIGHTS = LABEL_WEIGHTS_HERE


def target(example, row):
    return WANTED_HERE


def row_losses(scores, targets):
    """Binary cross-entropy of each row, the mean over labels; where a row has a label, as much as that counts."""
    wanted = torch.tensor(targets, device=DEVICE)
    weight = None if LABEL_WEIGHTS is None else torch.tensor(LABEL_WEIGHTS, device=DEVICE)
    every = torch.nn.functional.binary_cross_entropy_with_logits(scores, wanted, reduction="none", pos_weight=weight)
    own = scores > -1e4  # labels of another data set than the row's play no part
    return (every * own).sum(dim=1) / own.sum(dim=1)
'''


class SeveralLabels(Kind):
    name: ClassVar[KindName] = "several labels"
    title = "several labels"
    remark = "Each text gets every label whose chance is high enough, several or none (kind of answer)."
    main_metric = "label_overlap"
    loss_unit = "nats a row and label"
    unfitted = (
        "{tuner} fits a classifier that gives each text one label; several labels of a text (objective.kind) need "
        "weights that learn. Choose another tuner, such as lora or top-layers."
    )

    def labels(self, examples: Sequence[Example]) -> list[str]:
        return sorted({label for example in examples for label in example.labels or []})

    def weights(self, scheme: Scheme, labels: Sequence[str], train: Sequence[Example]) -> list[float] | None:
        return class_weights.of_each(scheme, labels, [example.labels or [] for example in train])

    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        own, wanted = job.span(example.source), example.labels or []
        return {"labels": 0, "wanted": [float(i in own and label in wanted) for i, label in enumerate(job.labels)]}

    def losses(self, job: Job) -> Losses:
        from engine.compute.several import losses

        return losses(job.class_weights)

    def script(self, job: Job) -> str:
        wanted = '[float(label in example["labels"]) for label in LABELS]'
        if job.heads:
            has = 'task == example["source"] and label in example["labels"]'
            wanted = f"[float({has}) for task, label in zip(SETS, LABELS, strict=True)]"
        return SCRIPT.replace("LABEL_WEIGHTS_HERE", repr(job.class_weights)).replace("WANTED_HERE", wanted)

    def score(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
        from engine.compute.several import score

        return score(job, model, rows, report)

    def calibrate(self, job: Job, model: nn.Module, report: Report) -> str:
        from engine.compute.several import choose_threshold

        return choose_threshold(job, model, report)

    def told(self, job: Job, model: nn.Module, example: Example) -> list[tuple[str, float]]:
        from engine.compute.several import chances

        return chances(job, model, example)

    def kept(self, job: Job, model: nn.Module) -> dict[str, Any]:
        return {"kind": self.name, "threshold": model.threshold, "threshold_rows": model.calibrated_on}

    def given(self, found: Sequence[tuple[str, float]], kept: Mapping[str, Any]) -> list[str]:
        return [label for label, chance in found if chance >= kept["threshold"]]

    def holds(self, kept: Mapping[str, Any]) -> str:
        rows = kept.get("threshold_rows")
        how = f", which was chosen on {rows:,} validation rows" if rows else ""
        return f"A label is given from a chance of {100 * kept['threshold']:g} % on{how}. Each has a chance of its own."

    def asked(self, kept: Mapping[str, Any]) -> list[str]:
        return [
            f"threshold = {kept['threshold']!r}",
            "chances = 1 / (1 + (-scores[0]).exp())",
            "print([label for label, chance in zip(labels, chances.tolist()) if chance >= threshold])",
        ]
