"""What objectives have in common that learn answers which another model writes (sequence-level distillation).

The teacher writes before anything is planned by the length of its answers. Held-out rows keep those of the data.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine.data.example import Example
from engine.data.rows import counted
from engine.errors import DataError, RunError
from engine.methods.answer_objective import ENCODE, AnswerObjective
from engine.methods.job import Job, Report
from engine.scripts.causal_script import LOAD, LOSSES
from engine.settings import Section, setting
from engine.teachers.teacher_answers import Answers, answered, key

Unanswered = Literal["stop", "data"]


class Imitating(Section):
    """The settings that all of them have, after their own."""

    unanswered: Unanswered = setting(
        "stop",
        "Rows without an answer",
        "What becomes of rows to which the teacher gives no answer that can be learned: 'stop' ends the run before it "
        "learns, 'data' lets it learn the data's own answer.",
        advanced=True,
    )


@dataclass(frozen=True)
class Teaching:
    """What the teacher's answers come to."""

    rows: list[Example]
    """To learn from."""
    unanswered: int = 0
    cut: int = 0
    """Answers that the limit on tokens ended."""


class ImitatingObjective(AnswerObjective):
    paper = "https://arxiv.org/abs/1606.07947"

    @abstractmethod
    def teacher_of(self, job: Job) -> dict[str, Any]:
        """All that decides what the teacher writes to a prompt, as JSON knows it."""

    @abstractmethod
    def write(
        self,
        job: Job,
        answers: Answers,
        prompts: Mapping[str, Example],
        tell: Callable[[str], None],
        report: Report,
    ) -> None:
        """Have the teacher answer these prompts, by their keys, and keep each answer as soon as it is there."""

    def asked_rows(self, job: Job) -> list[Example]:
        """The rows whose prompts the teacher answers."""
        return job.examples["train"]

    def rewritten(self, job: Job, tell: Callable[[str], None], report: Report) -> dict[str, list[Example]]:
        answers = Answers(job.folder, self.teacher_of(job))
        prompts = {key(row): row for row in self.asked_rows(job)}
        taken = answers.take_over(list(prompts))
        if taken:
            tell(f"{counted(taken, 'answer', 'answers')} of this teacher were there already, from your other runs.")
        missing = {one: row for one, row in prompts.items() if answers.get(one) is None}
        if missing:
            self.write(job, answers, missing, tell, report)
        found = taught(job.examples["train"], answers)
        self._tell(job, found, tell)
        return {**job.examples, "train": found.rows}

    def _tell(self, job: Job, found: Teaching, tell: Callable[[str], None]) -> None:
        """What became of the rows. Raises RunError where some have no answer, and that should end the run."""
        if found.unanswered == len(found.rows):
            raise RunError("The teacher gave no answer that can be learned.", "Choose another teacher.")
        rows = counted(found.unanswered, "row", "rows")
        if found.unanswered and job.objective_settings.unanswered == "stop":
            raise RunError(
                f"To {rows} of {len(found.rows):,} the teacher gave no answer that can be learned; the rest is kept.",
                "Resume to ask for these again, or start it again with 'Rows without an answer' (objective.unanswered) "
                "at 'data', so that they keep the data's own.",
            )
        if found.unanswered:
            tell(f"{rows} of {len(found.rows):,} keep the data's own answers: the teacher gave none to learn.")
        if found.cut:
            tell(
                f"{counted(found.cut, 'answer', 'answers')} of the teacher were cut at the longest answer "
                "(objective.answer_tokens), and are learned as if they ended there."
            )

    def script(self, job: Job) -> str:
        return LOAD + ENCODE + LOSSES


def taught(rows: list[Example], answers: Answers) -> Teaching:
    """The rows with the teacher's answers in place of their last ones, where it has some."""
    given = [answers.get(key(row)) for row in rows]
    return Teaching(
        rows=[row if answer is None else answered(row, answer.text) for row, answer in zip(rows, given, strict=True)],
        unanswered=sum(answer is None for answer in given),
        cut=sum(answer is not None and not answer.whole for answer in given),
    )


def require_plain(rows: list[Example], who: str) -> None:
    """Raises DataError for rows with tools, whose answers are more than words."""
    tools = [row.row for row in rows if row.tools or any(m["role"] == "tool" for m in row.messages)]
    if tools:
        raise DataError(
            f"{counted(len(tools), 'row has', 'rows have')} tools (the first is row {tools[0]}); {who} is asked for "
            "words alone.",
            "Leave these rows out, or choose another objective.",
        )
