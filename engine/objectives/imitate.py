"""Imitate: a model learns answers that a larger one, its teacher, writes to the prompts of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from engine.bases.models import ModelFacts
from engine.data.example import Example
from engine.errors import SettingError
from engine.judging.scores import TEACHER, Scores
from engine.methods.ideas import FROM_ANOTHER
from engine.methods.job import Beside, Job, Report
from engine.settings import setting
from engine.specs.sections import Model
from engine.teachers import teacher
from engine.teachers.imitation import Imitating, ImitatingObjective
from engine.teachers.teacher import Teacher
from engine.teachers.teacher_answers import Answers
from engine.teachers.with_teacher import WithTeacher


class Imitate(WithTeacher, ImitatingObjective):
    name = "imitate"
    title = "Imitate (learn what a larger model answers)"
    help = (
        "A larger model of this machine or the Hub, the teacher, writes an answer to the prompt of every row to learn "
        "from; the model learns these. Its tokenizer may be any. Held-out rows keep the data's own answers."
    )
    order = 16
    family = FROM_ANOTHER

    class Settings(Imitating):
        teacher: str = setting(
            "",
            "Teacher",
            "A model that answers: of the Hub (owner/name), a folder, an embedded one, or run:ID, what another run "
            "left. Empty means the model itself, whole and as it is before training.",
        )
        answer_tokens: int = setting(
            256, "Longest answer", "Of the teacher, in its tokens. What it cuts is counted and told.", ge=1, le=8192
        )

    class Planned(Settings):
        """As `WithTeacher.Planned`."""

    class Settled(Settings):
        """With the teacher at hand."""

        found: Any = Field(exclude=True)

    def gathered(
        self, settings: Any, model: Model, facts: ModelFacts, folder: Path, report: Callable[[str], None]
    ) -> Any:
        found = teacher.fetched(settings.teacher, model, folder, report)
        if isinstance(settings, self.Planned):
            found = replace(found, is_student=False)
        return self.Settled(**settings.model_dump(), found=found)

    def beside(self, facts: ModelFacts, settings: Any) -> Beside | None:
        # Before anybody has looked, one like the model that learns stands for the teacher.
        if not isinstance(settings, self.Settled):
            return Beside(facts, each_step=False, writes=settings.answer_tokens)
        found: Teacher = settings.found
        return Beside(found.facts, False, not found.is_student, settings.answer_tokens)

    def remarks(self, settings: Any) -> list[str]:
        if not isinstance(settings, self.Settled):
            return []
        found: Teacher = settings.found
        who = (
            f"{found.facts.id} itself, as it is before training,"
            if found.is_student
            else f"{found.facts.id} with {found.facts.parameters:,} weights"
        )
        told = f"The teacher, {who} writes the answers to learn before training."
        return [f"{told} Until it has, the plan counts with answers as long as the data's."]

    def teacher_of(self, job: Job) -> dict[str, Any]:
        found: Teacher = self._with_teacher(job).found
        return {
            "model": found.facts.id,
            "files": teacher.fingerprint(found.folder),
            "answer_tokens": job.objective_settings.answer_tokens,
            "compute": job.plan.compute,
        }

    def write(
        self,
        job: Job,
        answers: Answers,
        prompts: Mapping[str, Example],
        tell: Callable[[str], None],
        report: Report,
    ) -> None:
        found: Teacher = self._with_teacher(job).found
        theirs, most = teacher.as_job(job, found), job.objective_settings.answer_tokens
        tokens = theirs.tokens
        asked = {name: tokens.encode_prompt(row.prompt, tools=row.tools) for name, row in prompts.items()}
        longest = max(map(len, asked.values()))
        if found.facts.context and longest + most > found.facts.context:
            told = f"The longest prompt has {longest:,} tokens for the teacher, and {most:,} more for its answer"
            raise SettingError(
                [f"{told}; {found.facts.id} reads at most {found.facts.context:,}."],
                "Lower 'Longest answer' (objective.answer_tokens), leave the longest rows out, or choose another "
                "teacher.",
            )
        if tokens.template_note:
            tell(f"The teacher: {tokens.template_note}")
        from engine.compute import writing

        writing.write(theirs, found, asked, answers, report)

    def baselines(self, job: Job, model: Any, rows: list[Example], report: Report) -> dict[str, Scores]:
        """Beside those of chat, the teacher's, by its own tokens: its loss can't be held beside the model's."""
        from engine.compute.distillation import load

        scores = super().baselines(job, model, rows, report)
        found: Teacher = self._with_teacher(job).found
        if not found.is_student:
            theirs = self.score(teacher.as_job(job, found), load(job, found), rows, report)
            scores[TEACHER] = teacher.comparable(job, found, theirs)
        return scores

    def told(self, job: Job, scores: dict[str, Scores]) -> dict[str, Any]:
        return teacher.beside_student(job.facts, self._with_teacher(job).found.facts, scores)

    def _with_teacher(self, job: Job) -> Any:
        """The run's settings; of a job that was opened to answer, the teacher is fetched only where it is needed."""
        settings = job.objective_settings
        if isinstance(settings, self.Settled):
            return settings
        return self.gathered(settings, job.model, job.facts, job.model_folder, lambda text: None)


METHOD = Imitate()
