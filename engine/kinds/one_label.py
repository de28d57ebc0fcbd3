"""Each text has one label: a softmax over the classes, learned by its cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from engine.data.example import Example
from engine.judging import calibration
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
CLASS_WEIGHTS = CLASS_WEIGHTS_HERE


def target(example, row):
    return PLACE_HERE


def row_losses(scores, targets):
    """Cross-entropy of each row, as much as its label counts."""
    labels = torch.tensor(targets, device=DEVICE)
    found = torch.nn.functional.cross_entropy(scores, labels, reduction="none")
    return found if CLASS_WEIGHTS is None else found * torch.tensor(CLASS_WEIGHTS, device=DEVICE)[labels]
'''


class OneLabel(Kind):
    name: ClassVar[KindName] = "one label"
    title = "one label"
    remark = "Each text gets one label (kind of answer)."
    main_metric = "accuracy"
    loss_unit = "nats a row"

    def weights(self, scheme: Scheme, labels: Sequence[str], train: Sequence[Example]) -> list[float] | None:
        return class_weights.weights(scheme, labels, [example.label for example in train])

    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        return {"labels": job.place(example.label, example.source)}

    def losses(self, job: Job) -> Losses:
        from engine.compute.classifier import class_losses, weighed

        counts = job.class_weights
        return class_losses if counts is None else weighed(class_losses, counts)

    def script(self, job: Job) -> str:
        place = 'LABELS.index(example["label"])'
        if job.heads:
            place = 'LABELS.index(example["label"], sum(HEADS[: example["source"]]))'
        return SCRIPT.replace("CLASS_WEIGHTS_HERE", repr(job.class_weights)).replace("PLACE_HERE", place)

    def score(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
        from engine.compute.classifier import score

        return score(job, model, rows, report)

    def calibrate(self, job: Job, model: nn.Module, report: Report) -> str:
        from engine.compute.classifier import calibrate

        return calibrate(job, model, report)

    def told(self, job: Job, model: nn.Module, example: Example) -> list[tuple[str, float]]:
        from engine.compute.classifier import chances

        return chances(job, model, example)

    def kept(self, job: Job, model: nn.Module) -> dict[str, Any]:
        from engine.compute.classifier import FittedHead

        found: dict[str, Any] = {} if isinstance(model.head, FittedHead) else {"calibrated_on": model.calibrated_on}
        return found if model.temperature is None else {**found, "temperature": model.temperature}

    def given(self, found: Sequence[tuple[str, float]], kept: Mapping[str, Any]) -> list[str]:
        return [found[0][0]]

    def holds(self, kept: Mapping[str, Any]) -> str:
        return calibration.told_of(kept)

    def asked(self, kept: Mapping[str, Any]) -> list[str]:
        return ["print(labels[scores.argmax()])"]
