"""Distill labels: a classifier learns how likely a larger one, its teacher, finds each label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from engine.bases import lineage, parts
from engine.bases.models import ModelFacts
from engine.data.example import Example
from engine.errors import SettingError
from engine.judging.scores import TEACHER, Scores
from engine.methods.ideas import FROM_ANOTHER
from engine.methods.job import Beside, Job, Losses, Report
from engine.methods.label_objective import LabelObjective
from engine.scripts.distill_script import STATES
from engine.settings import Section, setting
from engine.specs.sections import Model
from engine.teachers import label_teacher, teacher
from engine.teachers.label_teacher import LabelTeacher
from engine.teachers.with_teacher import WithTeacher
from engine.texts.tokens import Encoded

if TYPE_CHECKING:
    import torch
    from torch import nn

SCRIPT = '''
SOFT = json.loads((HERE / "SOFT_FILE_HERE").read_text(encoding="utf-8"))  # what the teacher gives each label, by text
TEMPERATURE, DATA_WEIGHT = CHOICES_HERE
encode_alone = encode


SOURCE_HERE


def encode(example):
    key = hashlib.sha256(json.dumps([example["text"], example.get("second", "")]).encode()).hexdigest()[:16]
    return {**encode_alone(example), "soft": SOFT[key]}


def of_scores(found, rows):
    """Of each row: how far the model's labels are from the teacher's, and the loss of the data's own."""
    labels = torch.tensor([row["target"] for row in rows], device=DEVICE)
    expected = torch.nn.functional.cross_entropy(found, labels, reduction="none")
    theirs = softened(torch.tensor([row["soft"] for row in rows], device=DEVICE), len(LABELS), TEMPERATURE)
    apart = divergence("forward-kl", softened(found, len(LABELS), TEMPERATURE), theirs)
    return DATA_WEIGHT * expected + (1 - DATA_WEIGHT) * TEMPERATURE**2 * apart


del losses  # of labels alone


def losses(model, rows):
    return of_scores(scores(model, rows), rows)
'''
SOFT_FILE = "soft_labels.json"


class DistillLabels(WithTeacher, LabelObjective):
    name = "distill-labels"
    title = "Distill labels (learn from a larger classifier)"
    help = (
        "The model learns how likely a larger classifier, its teacher, finds each label of a text, beside the data's "
        "own label. The teacher reads the texts once, with its own tokenizer, and is gone before training."
    )
    paper = "https://arxiv.org/abs/1503.02531"
    order = 21
    family = FROM_ANOTHER
    # A classifier that is fitted to fixed features would take no notice of the teacher.
    gives = LabelObjective.gives - {"pooled features"}

    class Settings(Section):
        only_with: ClassVar = {"hidden_layers": "hidden_weight"}
        teacher: str = setting(
            "",
            "Teacher",
            "A classifier with the data's labels: run:ID, a run that classifies, or a model for sequence "
            "classification, of the Hub (owner/name) or in a folder.",
        )
        temperature: float = setting(
            2.0,
            "Temperature",
            "Above 1 the teacher's unlikely labels count for more. The loss is multiplied by its square, so that "
            "gradients keep their size.",
            gt=0,
            le=20,
        )
        data_weight: float = setting(
            0.5,
            "Share of the data's own labels",
            "How much of the loss is that of the data's label; the rest is the teacher's.",
            ge=0,
            lt=1,
        )
        hidden_weight: float = setting(
            0.0,
            "Weight of hidden states",
            "Above 0 the model also learns the direction of its teacher's hidden states, token by token: their "
            "distance (0 to 2) counts so much beside the labels. The teacher, of the same tokenizer, is then read at "
            "each step.",
            advanced=True,
            ge=0,
            le=100,
        )
        hidden_layers: Literal["last", "all"] = setting(
            "last",
            "Layers whose states are learned",
            "last is the top one; all are the model's layers, from evenly spaced ones of the teacher.",
            advanced=True,
        )

    class Planned(Settings):
        """With a teacher that an earlier stage is yet to leave, which is a classifier of the data's labels by then."""

    class Settled(Settings):
        """With the data's labels, and the teacher once it is at hand."""

        stands_for: bool = Field(False, exclude=True)
        """Whether the teacher that is named stands in a plan for what it will have become."""
        labels: Any = Field(exclude=True)
        pairs: bool = Field(False, exclude=True)
        found: Any = Field(None, exclude=True)

    def fetched(self, settings: Any) -> list[str]:
        # A run's result is opened as it is, and need not become one with its base.
        return [name for name in self.models(settings) if not lineage.is_run(name)]

    def planned(self, settings: Any, model: str, stands_for: Callable[[str], str]) -> Any:
        found = self.renamed(settings, stands_for)
        return found if found.teacher == settings.teacher else self.Planned(**found.model_dump())

    def settled(self, settings: Any, model_folder: Path, examples: list[Example]) -> Any:
        if not settings.teacher.strip():
            raise SettingError(
                ["No teacher is named (objective.teacher)."],
                "Name one: run:ID, or a model for sequence classification.",
            )
        labels = sorted({example.label for example in examples})
        return self.Settled(
            **settings.model_dump(),
            labels=labels,
            pairs=any(example.second for example in examples),
            stands_for=isinstance(settings, self.Planned),
        )

    def gathered(
        self, settings: Any, model: Model, facts: ModelFacts, folder: Path, report: Callable[[str], None]
    ) -> Any:
        gather = label_teacher.planned if settings.stands_for else label_teacher.gather
        found = gather(settings.teacher, settings.labels, report)
        if found.pairs is not None and found.pairs != settings.pairs:
            reads, has = ("two texts", "one text") if found.pairs else ("one text", "two texts")
            raise SettingError(
                [f"The teacher {found.id} reads {reads} at a time; a row of the data has {has}."],
                "Choose another teacher.",
            )
        if settings.hidden_weight:
            label_teacher.require_states(found, facts, folder)
        return settings.model_copy(update={"found": found})

    def beside(self, facts: ModelFacts, settings: Any) -> Beside | None:
        # Before anybody has looked, one like the model that learns stands for the teacher.
        found = getattr(settings, "found", None)
        states = bool(settings.hidden_weight)
        return Beside(found.facts if found else facts, each_step=states, reads_first=states)

    def lighter(self, settings: Any) -> tuple[Any, str] | None:
        if not settings.hidden_weight:
            return None
        way = "Set 'Weight of hidden states' (objective.hidden_weight) to 0: the teacher is then gone while it learns."
        return settings.model_copy(update={"hidden_weight": 0.0}), way

    def learning_beside(self, facts: ModelFacts, settings: Any) -> int:
        width = _projected(facts, settings)
        return facts.hidden * width

    def load(self, job: Job) -> nn.Module:
        model, width = super().load(job), _projected(job.facts, job.objective_settings)
        if not width:
            return model
        from engine.compute.soft_labels import project

        return project(model, width, job.training.seed)

    def head(self, model: nn.Module) -> dict[str, nn.Parameter]:
        projection = getattr(model, "projection", None)
        beside = {} if projection is None else {"projection.weight": projection.weight}
        return super().head(model) | beside

    def remarks(self, settings: Any) -> list[str]:
        found = getattr(settings, "found", None)
        if found is None:
            return []
        told = f"The teacher, {found.id} with {found.facts.parameters:,} weights in its base,"
        if settings.hidden_weight:
            return [f"{told} reads the texts before training, and at each step: its hidden states are learned, too."]
        return [f"{told} reads the texts once before training."]

    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        from engine.compute import soft_labels

        found = super().row(job, example, encoded)
        soft = soft_labels.of(job.folder, example)
        # Rows that the teacher was not asked about count by the data's label alone.
        return found if soft is None else {**found, "soft": soft}

    def batch(self, job: Job, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        found = super().batch(job, rows)
        if all("soft" in row for row in rows):
            import torch

            found["soft"] = torch.tensor([row["soft"] for row in rows])
        return found

    def prepare(self, job: Job, report: Report) -> None:
        from engine.compute import soft_labels

        soft_labels.write(job, self._with_teacher(job), report)

    def losses(self, job: Job) -> Losses:
        from engine.compute.soft_labels import HiddenStates, soft_losses
        from engine.compute.tasks import told

        settings = job.objective_settings
        states = None
        if settings.hidden_weight and settings.found is not None:
            states = HiddenStates(job, settings.found, settings.hidden_weight, settings.hidden_layers)
        return told(job, soft_losses(settings.temperature, settings.data_weight, states))

    def baselines(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> dict[str, Scores]:
        from engine.compute import classifier, soft_labels

        scores, speed = soft_labels.read(job, self._with_teacher(job), rows, report)
        found = classifier.found_scores(job, rows, *classifier.predictions(job, rows, scores))
        return {TEACHER: replace(found, tokens_per_second=speed)}

    def told(self, job: Job, scores: dict[str, Scores]) -> dict[str, Any]:
        return teacher.beside_student(job.facts, self._with_teacher(job).facts, scores)

    def save(self, job: Job, model: nn.Module, folder: Path) -> None:
        from engine.compute import soft_labels

        super().save(job, model, folder)
        if job.objective_settings.found is not None:  # after training, for the script
            soft_labels.copy(job.folder, folder / parts.START / SOFT_FILE)

    def script(self, job: Job) -> str:
        settings = job.objective_settings
        text = SCRIPT.replace("SOURCE_HERE", parts.source("compute.divergence"))
        text = text.replace("SOFT_FILE_HERE", f"{parts.START}/{SOFT_FILE}")
        text = text.replace("CHOICES_HERE", repr((settings.temperature, settings.data_weight)))
        if settings.hidden_weight:
            found = self._with_teacher(job)
            states = (found.facts.hidden, settings.hidden_weight, settings.hidden_layers)
            text += STATES.replace("SOURCE_HERE", parts.source("compute.hidden_match"))
            text = text.replace("STATES_HERE", repr(states)).replace("TEACHER_HERE", repr(found.id))
        return "\nimport hashlib\n" + super().script(job) + text

    def _with_teacher(self, job: Job) -> LabelTeacher:
        """Of a job that was opened to answer, it is fetched only where it is needed."""
        settings = job.objective_settings
        found: LabelTeacher | None = settings.found
        return found or label_teacher.gather(settings.teacher, job.labels, lambda text: None)


def _projected(facts: ModelFacts, settings: Any) -> int:
    """The teacher's width, where hidden states of another one are learned; else 0."""
    found = getattr(settings, "found", None)
    if found is None or not settings.hidden_weight or found.facts.hidden == facts.hidden:
        return 0
    return int(found.facts.hidden)


METHOD = DistillLabels()
