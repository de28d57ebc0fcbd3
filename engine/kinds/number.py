"""A number in place of a label: what learns is how far it lies from the mean of the training rows, in deviations.

The loss of a row is the squared error in these units, as that of transformers with problem_type="regression".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from engine.data.example import Example
from engine.judging.measures import digits
from engine.judging.scores import MEAN, NUMBER, Scores
from engine.kinds.base import Kind
from engine.method import KindName
from engine.methods.class_weights import Scheme
from engine.methods.job import Job, Losses, Report
from engine.texts.tokens import Encoded

if TYPE_CHECKING:
    from torch import nn

SCRIPT = '''
# Of the numbers of the training rows
MEAN, DEVIATION = MEAN_HERE, DEVIATION_HERE


def target(example, row):
    return (example["number"] - MEAN) / DEVIATION


def row_losses(scores, targets):
    """Squared error of each row, in deviations."""
    return (scores[:, 0] - torch.tensor(targets, device=DEVICE)) ** 2
'''


class Number(Kind):
    name: ClassVar[KindName] = "number"
    title = "a number"
    remark = (
        "Each text gets a number (kind of answer). It is learned in standard deviations from the mean of the training "
        "rows, and told in the data's own unit."
    )
    main_metric = "mean_absolute_error"
    loss_unit = "squared deviations a row"
    tells_labels = False
    unweighable = "Class weights (objective.class_weights) are for labels; a number (objective.kind) has none."
    unfitted = (
        "{tuner} fits a classifier that gives each text one label; a number (objective.kind) needs weights that learn. "
        "Choose another tuner, such as lora or top-layers."
    )

    def labels(self, examples: Sequence[Example]) -> list[str]:
        return []

    def weights(self, scheme: Scheme, labels: Sequence[str], train: Sequence[Example]) -> list[float] | None:
        return None

    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        return {"labels": 0, "wanted": [job.scale.standard(example.number or 0.0)]}

    def losses(self, job: Job) -> Losses:
        from engine.compute.number import losses

        return losses

    def script(self, job: Job) -> str:
        return SCRIPT.replace("MEAN_HERE", repr(job.scale.mean)).replace("DEVIATION_HERE", repr(job.scale.deviation))

    def score(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
        from engine.compute.number import score

        return score(job, model, rows, report)

    def baselines(self, job: Job, rows: list[Example]) -> dict[str, Scores]:
        from engine.compute.number import scores_of

        return {MEAN: scores_of(rows, [job.scale.mean] * len(rows), job.scale.deviation)}

    def told(self, job: Job, model: nn.Module, example: Example) -> list[tuple[str, float]]:
        from engine.compute.number import number

        return [(NUMBER, number(job, model, example))]

    def kept(self, job: Job, model: nn.Module) -> dict[str, Any]:
        return {"kind": self.name, "mean": job.scale.mean, "deviation": job.scale.deviation}

    def given(self, found: Sequence[tuple[str, float]], kept: Mapping[str, Any]) -> list[str]:
        return []

    def holds(self, kept: Mapping[str, Any]) -> str:
        mean, deviation = digits(kept["mean"]), digits(kept["deviation"])
        return f"The numbers it learned from have the mean {mean} and the standard deviation {deviation}."

    def asked(self, kept: Mapping[str, Any]) -> list[str]:
        return [f"print(scores[0, 0].item() * {kept['deviation']!r} + {kept['mean']!r})"]
