"""Distill: a model learns the words of a larger one, its teacher (knowledge distillation).

Of answers that the model writes itself (on-policy, GKD, arXiv 2306.13649) TRL has an experimental trainer. It draws by
Python's own generator whether all of a batch is written, which no checkpoint holds, has no loss of the data's answers
beside, and a loop of its own; here the loop that all objectives share does it, so that they resume exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from engine.bases import parts
from engine.bases.models import ModelFacts
from engine.data.example import Example
from engine.errors import SettingError
from engine.files import write_json
from engine.judging.scores import OWN_ANSWERS, TEACHER, Scores
from engine.methods.answer_objective import ENCODE, AnswerObjective
from engine.methods.ideas import FROM_ANOTHER
from engine.methods.job import Beside, Job, Losses, Report
from engine.scripts.causal_script import LOAD
from engine.scripts.distill_script import ACROSS as ACROSS_SCRIPT
from engine.scripts.distill_script import ALIGNED, KEPT, SCRIPT, own_answers
from engine.settings import Section, setting
from engine.specs.sections import Model
from engine.teachers import teacher
from engine.teachers.own_answers import Own
from engine.teachers.teacher import Teacher
from engine.teachers.with_teacher import WithTeacher
from engine.texts.alignment import paired
from engine.texts.tokens import Encoded

if TYPE_CHECKING:
    import torch
    from torch import nn

ACROSS = "sorted"
SCORE_BYTES = {"forward-kl": 32, "reverse-kl": 40, "jensen-shannon": 56, ACROSS: 72}
"""For each learned position and word: both models' scores and logarithms, their products, and gradients of these."""
FEW_WORDS = 64
"""Kept of a teacher that has no room beside the model: hardly anything is left to the others."""
TOP_K_SCORE_BYTES = 32
"""The same where the teacher's are on the disk: of the model's own scores two copies more are held than alone."""


class Distill(WithTeacher, AnswerObjective):
    name = "distill"
    title = "Distill (learn from a larger model)"
    help = (
        "The model learns what a larger one, its teacher, thinks of every word of the answers in your data: not the "
        "expected word alone, but how likely all others are."
    )
    paper = "https://arxiv.org/abs/1503.02531"
    order = 15
    family = FROM_ANOTHER
    scores_in_parts = False  # two models' scores of all positions are compared

    class Settings(Section):
        only_with: ClassVar = {"own_temperature": "own_share", "own_tokens": "own_share"}
        teacher: str = setting(
            "",
            "Teacher",
            "A model with the same tokenizer (for the divergence sorted with any): of the Hub (owner/name), a folder, "
            "an embedded one, or run:ID, what another run left. Empty means the model itself, whole and as it is "
            "before training.",
        )
        divergence: Literal["forward-kl", "reverse-kl", "jensen-shannon", "sorted"] = setting(
            "forward-kl",
            "Divergence",
            "How far the model is from its teacher. forward-kl makes it cover all that the teacher finds likely, "
            "reverse-kl keeps it to what the teacher finds likeliest, jensen-shannon lies between. sorted is for a "
            "teacher with another tokenizer: it compares how likely words are in order of likelihood, whichever they "
            "are, wherever both go on from the same text.",
        )
        temperature: float = setting(
            2.0,
            "Temperature",
            "Above 1 the teacher's unlikely words count for more. The loss is multiplied by its square (of sorted by "
            "itself), so that gradients keep their size.",
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
        own_share: float = setting(
            0.0,
            "Answers by the model itself",
            "The share of rows whose answer the model writes itself, anew each time and as it is by then (on-policy); "
            "its teacher judges that. So it learns to go on from its own words, mistakes included. 0 means the "
            "data's answers alone; writing takes time.",
            ge=0,
            le=1,
        )
        own_temperature: float = setting(
            1.0,
            "Temperature of its own answers",
            "Its words are drawn by how likely it finds them; below 1 the likeliest ones come more often.",
            gt=0,
            le=2,
        )
        own_tokens: int = setting(
            128,
            "Longest answer of its own",
            "In tokens. A longer one is cut there, and learned as far as it goes; no row becomes longer than the "
            "longest row.",
            ge=1,
            le=8192,
        )
        top_k: int = setting(
            0,
            "Words kept of the teacher",
            "0 asks the teacher for all words at each step. Otherwise it reads the rows once, before training, and is "
            "gone from memory: so many of its likeliest words are kept on disk for each learned token, with the sum of "
            "all others, between which the loss then makes no difference.",
            advanced=True,
            ge=0,
            le=1000,
        )

    class Planned(Settings):
        """As `WithTeacher.Planned`."""

    class Settled(Settings):
        """With the teacher at hand."""

        found: Any = Field(exclude=True)

    def gathered(
        self, settings: Any, model: Model, facts: ModelFacts, folder: Path, report: Callable[[str], None]
    ) -> Any:
        if settings.divergence == ACROSS:
            found = teacher.fetched(settings.teacher, model, folder, report)
        else:
            found = teacher.gather(settings.teacher, model, facts, folder, report)
        if settings.own_share and (settings.top_k or settings.divergence == ACROSS):
            raise _no_own_answers(settings)
        if settings.divergence == ACROSS and settings.top_k:
            raise SettingError(
                ["The divergence sorted needs all words of the teacher, of which only some would be kept."],
                "Set 'Words kept of the teacher' (objective.top_k) to 0.",
            )
        if isinstance(settings, self.Planned):
            found = replace(found, is_student=False)
        if found.is_student and not settings.data_weight:
            raise SettingError(
                ["The teacher is the model that learns, and the data's answers don't count: nothing would be learned."],
                "Name another teacher, or raise the share of the data's own answers (objective.data_weight).",
            )
        if settings.top_k >= found.words:
            raise SettingError(
                [f"Words kept of the teacher (objective.top_k) are {settings.top_k}; it has {found.words:,} in all."],
                "Keep fewer, or 0 to ask the teacher at each step.",
            )
        return self.Settled(**settings.model_dump(), found=found)

    def beside(self, facts: ModelFacts, settings: Any) -> Beside | None:
        # Before anybody has looked, one like the model that learns stands for the teacher.
        if not isinstance(settings, self.Settled):
            return Beside(facts, each_step=not settings.top_k)
        return Beside(settings.found.facts, not settings.top_k, is_scored=not settings.found.is_student)

    def lighter(self, settings: Any) -> tuple[Any, str] | None:
        if settings.top_k or settings.divergence == ACROSS or not isinstance(settings, self.Settled):
            return None
        few = min(FEW_WORDS, settings.found.words - 1)
        way = f"Set 'Words kept of the teacher' (objective.top_k) to {few}"
        if settings.own_share:
            way += " and 'Answers by the model itself' (objective.own_share) to 0"
        way += ": the teacher then reads the rows before training, and is gone from memory while the model learns."
        return settings.model_copy(update={"top_k": few, "own_share": 0.0}), way

    def own(self, settings: Any) -> Own | None:
        return Own(settings.own_share, settings.own_tokens) if settings.own_share else None

    def score_bytes(self, settings: Any) -> int:
        return TOP_K_SCORE_BYTES if settings.top_k else SCORE_BYTES[settings.divergence]

    def remarks(self, settings: Any) -> list[str]:
        if not isinstance(settings, self.Settled):
            return []
        found: Teacher = settings.found
        own = _of_own_answers(settings)
        if found.is_student:
            return [
                f"The teacher is {found.facts.id} itself, as it is before training, which keeps the model near that.",
                *own,
            ]
        when = "is read at each step"
        if settings.top_k:
            when = f"reads the rows once before training, and its {settings.top_k} likeliest words are kept"
        return [f"The teacher is {found.facts.id} with {found.facts.parameters:,} weights; it {when}.", *own]

    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        found, settings = super().row(job, example, encoded), job.objective_settings
        if settings.divergence == ACROSS:
            return {**found, **self._aligned(job, example)} if isinstance(settings, self.Settled) else found
        if not settings.top_k:
            return found
        from engine.compute.taught import key

        return {**found, "taught": key(found["input_ids"], found["labels"])}

    def batch(self, job: Job, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        import torch

        found = super().batch(job, rows)
        if "own" in rows[0]:
            learned = [sum(label != -100 for label in row["labels"][1:]) for row in rows]
            found["own"] = torch.tensor([row["own"] for row in rows]).repeat_interleave(torch.tensor(learned))
        if "taught" in rows[0]:
            found["taught"] = torch.tensor([row["taught"] for row in rows])
        if "their_ids" in rows[0]:
            from engine.compute import across

            found |= across.batch(rows, job.tokens.pad_id or 0, job.plan.packing)
        return found

    def written(self, job: Job, model: nn.Module, rows: list[dict[str, Any]], step: int) -> list[dict[str, Any]]:
        from engine.compute import distillation

        settings = job.objective_settings
        return distillation.with_own(job, model, rows, distillation.writing(job, settings, settings.found), step)

    def _aligned(self, job: Job, example: Example) -> dict[str, list[int]]:
        """The teacher's tokens of a row, and the places, its and the model's, that go on from the same text."""
        found: Teacher = job.objective_settings.found
        most = found.facts.context or 1_000_000
        theirs = teacher.tokens(found.folder).steps(example.messages, most, tools=example.tools)
        mine = job.tokens.steps(example.messages, job.training.max_tokens, tools=example.tools)
        pairs = paired(mine, theirs)
        places, their_places = ([pair[side] for pair in pairs] for side in (0, 1))
        return {"their_ids": theirs.ids, "their_places": their_places, "places": places}

    def prepare(self, job: Job, report: Report) -> None:
        if job.objective_settings.top_k:
            from engine.compute import taught

            taught.write(job, self._with_teacher(job), report)

    def losses(self, job: Job) -> Losses:
        from engine.compute.across import AcrossLosses
        from engine.compute.distillation import DistillLosses
        from engine.compute.tasks import told

        settings = self._with_teacher(job)
        kind = AcrossLosses if settings.divergence == ACROSS else DistillLosses
        return told(job, kind(job, settings, settings.found))

    def baselines(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> dict[str, Scores]:
        from engine.compute.distillation import load

        found = super().baselines(job, model, rows, report)
        settings = self._with_teacher(job)
        if not settings.found.is_student:
            theirs = self.score(teacher.as_job(job, settings.found), load(job, settings.found), rows, report)
            found[TEACHER] = teacher.comparable(job, settings.found, theirs)
        return found

    def told(self, job: Job, scores: dict[str, Scores]) -> dict[str, Any]:
        settings = self._with_teacher(job)
        own = {OWN_ANSWERS: settings.own_share} if settings.own_share else {}
        return teacher.beside_student(job.facts, settings.found.facts, scores) | own

    def save(self, job: Job, model: nn.Module, folder: Path) -> None:
        """For the script, where the tokenizers differ: what `row` adds to each row to learn from, in their order."""
        super().save(job, model, folder)
        settings = job.objective_settings
        if settings.divergence == ACROSS and isinstance(settings, self.Settled):
            (folder / parts.START).mkdir(exist_ok=True)
            write_json(folder / parts.START / ALIGNED, {"rows": [self._aligned(job, e) for e in job.examples["train"]]})

    def script(self, job: Job) -> str:
        settings = self._with_teacher(job)
        values = {
            "TEACHER_HERE": settings.found.facts.id,
            "CHOICES_HERE": (settings.divergence, settings.temperature, settings.data_weight),
            "WORDS_HERE": settings.found.words,
            "TOP_K_HERE": settings.top_k,
            "ALIGNED_HERE": f"{parts.START}/{ALIGNED}",
        }
        script = ACROSS_SCRIPT if settings.divergence == ACROSS else KEPT if settings.top_k else SCRIPT
        text = script.replace("SOURCE_HERE", parts.source("compute.divergence"))
        for name, value in values.items():
            text = text.replace(name, repr(value))
        if settings.own_share:
            from engine.compute.distillation import writing
            from engine.compute.tasks import tells_apart

            text = own_answers(text, repr(writing(job, settings, settings.found)), tells_apart(job))
        return LOAD + ENCODE + text

    def _with_teacher(self, job: Job) -> Any:
        """The run's settings; of a job that was opened to answer, the teacher is fetched only where it is needed."""
        settings = job.objective_settings
        if isinstance(settings, self.Settled):
            return settings
        return self.gathered(settings, job.model, job.facts, job.model_folder, lambda text: None)


def _no_own_answers(settings: Any) -> SettingError:
    """Why the model's own answers can't be judged with these settings."""
    if settings.top_k:
        told = "What the model writes is new each time, so its teacher has to be asked then; words that were kept"
        told += " before training are those of the data's answers"
        fix = "Set 'Words kept of the teacher' (objective.top_k) to 0"
    else:
        told = "The divergence sorted is for another tokenizer, by which the teacher can't read what the model writes"
        told += " token by token"
        fix = "Choose another divergence, with a teacher of the same tokenizer"
    return SettingError([f"{told}."], f"{fix}, or set 'Answers by the model itself' (objective.own_share) to 0.")


def _of_own_answers(settings: Any) -> list[str]:
    """What the share of the model's own answers comes to, in sentences."""
    if not settings.own_share:
        return []
    told = f"Before each update the model writes {100 * settings.own_share:.3g} % of the answers itself, of at most "
    told += f"{settings.own_tokens:,} tokens, and its teacher judges them: of these the divergence is all of the loss."
    if settings.own_share == 1 and settings.data_weight:
        told += " None is the data's, so their share of the loss does nothing."
    return [told]


METHOD = Distill()
