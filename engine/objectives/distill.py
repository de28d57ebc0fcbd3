"""Distill: a model learns the words of a larger one, its teacher (knowledge distillation)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from engine import parts, teacher
from engine.answer_objective import ENCODE, AnswerObjective
from engine.causal_script import LOAD
from engine.distill_script import SCRIPT
from engine.errors import SettingError
from engine.job import Beside, Job, Losses
from engine.models import ModelFacts
from engine.sections import Model
from engine.settings import Section, setting
from engine.teacher import Teacher

SCORE_BYTES = {"forward-kl": 32, "reverse-kl": 40, "jensen-shannon": 56}
"""For each learned position and word: both models' scores and logarithms, their products, and gradients of these."""


class Distill(AnswerObjective):
    name = "distill"
    title = "Distill (learn from a larger model)"
    help = (
        "The model learns what a larger one, its teacher, thinks of every word of the answers in your data: not the "
        "expected word alone, but how likely all others are."
    )
    paper = "https://arxiv.org/abs/1503.02531"
    order = 15

    class Settings(Section):
        teacher: str = setting(
            "",
            "Teacher",
            "A model with the same tokenizer: of the Hub (owner/name), a folder, an embedded one, or run:ID, what "
            "another run left. Empty means the model itself, as it is before training.",
        )
        divergence: Literal["forward-kl", "reverse-kl", "jensen-shannon"] = setting(
            "forward-kl",
            "Divergence",
            "How far the model is from its teacher. forward-kl makes it cover all that the teacher finds likely, "
            "reverse-kl keeps it to what the teacher finds likeliest, jensen-shannon lies between.",
        )
        temperature: float = setting(
            2.0,
            "Temperature",
            "Above 1 the teacher's unlikely words count for more. The loss is multiplied by its square, so that "
            "gradients keep their size.",
            gt=0,
            le=20,
        )
        data_weight: float = setting(
            0.5,
            "Share of the data's own answers",
            "How much of the loss is that of the expected words, as with chat; the rest is the teacher's.",
            ge=0,
            lt=1,
        )

    class Settled(Settings):
        """With the teacher at hand."""

        found: Any = Field(exclude=True)

    def models(self, settings: Any) -> list[str]:
        return [settings.teacher.strip()] if settings.teacher.strip() else []

    def renamed(self, settings: Any, rename: Callable[[str], str]) -> Any:
        names = self.models(settings)
        return settings.model_copy(update={"teacher": rename(names[0])}) if names else settings

    def gathered(
        self, settings: Any, model: Model, facts: ModelFacts, folder: Path, report: Callable[[str], None]
    ) -> Any:
        found = teacher.gather(settings.teacher, model, facts, folder, report)
        if found.is_student and not settings.data_weight:
            raise SettingError(
                ["The teacher is the model that learns, and the data's answers don't count: nothing would be learned."],
                "Name another teacher, or raise the share of the data's own answers (objective.data_weight).",
            )
        return self.Settled(**settings.model_dump(), found=found)

    def beside(self, facts: ModelFacts, settings: Any) -> Beside | None:
        # Before anybody has looked, one like the model that learns stands for the teacher.
        found = settings.found.facts if isinstance(settings, self.Settled) else facts
        return Beside(found)

    def score_bytes(self, settings: Any) -> int:
        return SCORE_BYTES[settings.divergence]

    def remarks(self, settings: Any) -> list[str]:
        if not isinstance(settings, self.Settled):
            return []
        found: Teacher = settings.found
        if found.is_student:
            return [
                f"The teacher is {found.facts.id} itself, as it is before training, which keeps the model near that."
            ]
        return [f"The teacher is {found.facts.id} with {found.facts.parameters:,} weights; it is read at each step."]

    def losses(self, job: Job) -> Losses:
        from engine.compute.distillation import DistillLosses
        from engine.compute.tasks import told

        settings = self._with_teacher(job)
        return told(job, DistillLosses(job, settings, settings.found))

    def script(self, job: Job) -> str:
        settings = self._with_teacher(job)
        values = {
            "TEACHER_HERE": settings.found.facts.id,
            "CHOICES_HERE": (settings.divergence, settings.temperature, settings.data_weight),
            "WORDS_HERE": settings.found.words,
        }
        text = SCRIPT.replace("SOURCE_HERE", parts.source("compute.divergence"))
        for name, value in values.items():
            text = text.replace(name, repr(value))
        return LOAD + ENCODE + text

    def _with_teacher(self, job: Job) -> Any:
        """The run's settings; of a job that was opened to answer, the teacher is fetched only where it is needed."""
        settings = job.objective_settings
        if isinstance(settings, self.Settled):
            return settings
        return self.gathered(settings, job.model, job.facts, job.model_folder, lambda text: None)


METHOD = Distill()
