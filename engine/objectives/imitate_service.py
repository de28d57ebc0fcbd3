"""Imitate a service: a model learns answers that one behind OpenAI's chat API writes to the prompts of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from engine import addresses
from engine.bases import access
from engine.data.example import Example
from engine.data.rows import counted
from engine.errors import SettingError
from engine.judging.scores import TEACHER, ScoredRow, Scores
from engine.methods.ideas import FROM_ANOTHER
from engine.methods.job import Job, Report
from engine.planning.jobs import held_out
from engine.settings import setting
from engine.teachers import keys
from engine.teachers.asking import Asking, Prices
from engine.teachers.chat_service import Service
from engine.teachers.imitation import Imitating, ImitatingObjective, require_plain
from engine.teachers.teacher_answers import Answers, key
from engine.texts.tokens import Tokens

OPENAI = "https://api.openai.com/v1"


class ImitateService(ImitatingObjective):
    name = "imitate-service"
    title = "Imitate a service (learn what it answers)"
    help = (
        "A model behind OpenAI's chat API, of OpenAI or another service that speaks it, writes an answer to the prompt "
        "of every row to learn from; the model learns these. The prompts leave this machine. Look into the service's "
        "terms whether its answers may be learned."
    )
    order = 17
    family = FROM_ANOTHER

    class Settings(Imitating):
        service: str = setting(
            OPENAI,
            "Address of the service",
            "What ends before /chat/completions. https, or http on this machine (http://127.0.0.1:8000/v1).",
        )
        model: str = setting("", "Model of the service", "As the service calls it.")
        answer_tokens: int = setting(
            512, "Longest answer", "Of the service, in its tokens. What it cuts is counted and told.", ge=1, le=32_768
        )
        price_asked: float | None = setting(
            None, "Price of a million tokens asked", "In dollars; 0 where it costs nothing.", ge=0, le=10_000
        )
        price_answered: float | None = setting(
            None, "Price of a million tokens answered", "In dollars; 0 where it costs nothing.", ge=0, le=10_000
        )
        most_spent: float | None = setting(
            None,
            "Spend at most",
            "In dollars, by these prices. A question that might cost more than is left is not asked: the run ends, and "
            "what is answered is kept.",
            ge=0,
            le=1_000_000,
        )
        temperature: float | None = setting(
            None, "Temperature", "How freely it answers. Empty leaves it to the service.", advanced=True, ge=0, le=2
        )
        at_once: int = setting(4, "Questions at once", "Fewer, if it is often too busy.", advanced=True, ge=1, le=64)
        patience: float = setting(
            120.0, "Patience", "Seconds until an answer has to be there.", advanced=True, gt=0, le=3600
        )
        score_teacher: bool = setting(
            False,
            "Score the service, too",
            "Held-out prompts are asked as well, so that the result can be held beside the service's own answers.",
            advanced=True,
        )

        @field_validator("service")
        @classmethod
        def _is_an_address(cls, value: str) -> str:
            return addresses.checked(value.strip().rstrip("/"), OPENAI)

        @field_validator("model")
        @classmethod
        def _is_a_name(cls, value: str) -> str:
            return value.strip()

    class Settled(Settings):
        """With what the rows come to."""

        expected: Any = Field(exclude=True)

    def addresses(self, settings: Any) -> list[tuple[str, str]]:
        return [(settings.service, "The address of the service (objective.service)")]

    def settled(self, settings: Any, model_folder: Path, examples: list[Example]) -> Any:
        if not settings.model:
            raise SettingError(["The model of the service (objective.model) is not named."], "Name one it has.")
        _require_prices(settings)
        rows = [row for row in examples if row.split == "train"]
        if settings.score_teacher:
            rows += [row for row in examples if row.split == "test"] or [
                row for row in examples if row.split != "train"
            ]
        require_plain(rows, addresses.host(settings.service))
        tokens = Tokens.load(model_folder)
        distinct = {key(row): row for row in rows}.values()
        asked = sum(len(tokens.encode_prompt(row.prompt)) for row in distinct)
        answers = sum(len(tokens.encode_bare(row.answer)[0]) for row in distinct)
        return self.Settled(**settings.model_dump(), expected=(len(distinct), asked, answers))

    def remarks(self, settings: Any) -> list[str]:
        if not isinstance(settings, self.Settled):
            return []
        rows, asked, _ = settings.expected
        told = (
            f"{settings.model} at {addresses.host(settings.service)} is asked {counted(rows, 'prompt', 'prompts')} of "
            f"about {asked:,} tokens in all, before training. Until it has answered, the plan counts with answers as "
            "long as the data's."
        )
        return [told, _cost(settings)]

    def teacher_of(self, job: Job) -> dict[str, Any]:
        names = ("service", "model", "answer_tokens", "temperature")
        return {name: getattr(job.objective_settings, name) for name in names}

    def asked_rows(self, job: Job) -> list[Example]:
        if not job.objective_settings.score_teacher:
            return job.examples["train"]
        _, scored = held_out(job)
        require_plain(scored, addresses.host(job.objective_settings.service))
        return [*job.examples["train"], *scored]

    def write(
        self,
        job: Job,
        answers: Answers,
        prompts: Mapping[str, Example],
        tell: Callable[[str], None],
        report: Report,
    ) -> None:
        settings = job.objective_settings
        service = Service(
            base=settings.service,
            model=settings.model,
            key=keys.of(settings.service),
            most_tokens=settings.answer_tokens,
            temperature=settings.temperature,
            patience=settings.patience,
            private=not access.is_visitors_process(),
        )
        tell(f"Asking {settings.model} at {service.name} for {counted(len(prompts), 'answer', 'answers')}.")
        prices = _prices(settings)
        try:
            Asking(service, prices, answers, settings.at_once).ask(prompts, tell, report)
        finally:
            if not prices.free:
                tell(f"${answers.spent:,.4f} are spent of the ${prices.most:,.2f} that may be.")

    def baselines(self, job: Job, model: Any, rows: list[Example], report: Report) -> dict[str, Scores]:
        """Beside those of chat, the service's, of the rows that it answered."""
        found = super().baselines(job, model, rows, report)
        if job.objective_settings.score_teacher:
            answers = Answers(job.folder, self.teacher_of(job))
            given = [(row, answer.text) for row in rows if (answer := answers.get(key(row))) is not None]
            if given:
                found[TEACHER] = self.of_answers(job, given)
        return found

    def of_answers(self, job: Job, given: list[tuple[Example, str]]) -> Scores:
        scored = [
            ScoredRow(row.row, self.asked(row)[0], row.answer, text, float(text.strip() == row.answer.strip()))
            for row, text in given
        ]
        return self._scores(job, [row for row, _ in given], scored, {})


def _require_prices(settings: Any) -> None:
    """All three or none of them; none on this machine alone."""
    names = ("price_asked", "price_answered", "most_spent")
    missing = [name for name in names if getattr(settings, name) is None]
    if not missing or (len(missing) == len(names) and addresses.is_here(addresses.host(settings.service))):
        return
    titles = {name: f"'{type(settings).model_fields[name].title}' (objective.{name})" for name in names}
    raise SettingError(
        [f"{titles[name]} is missing." for name in missing],
        "Give both prices, 0 where it costs nothing, and what may be spent at most. Only a service on this machine "
        "needs none of them.",
    )


def _prices(settings: Any) -> Prices:
    return Prices(settings.price_asked or 0.0, settings.price_answered or 0.0, settings.most_spent or 0.0)


def _cost(settings: Any) -> str:
    """What asking all rows comes to."""
    prices = _prices(settings)
    if prices.free:
        return "By the prices given it costs nothing."
    rows, asked, answers = settings.expected
    likely, most = prices.of(asked, answers), prices.of(asked, rows * settings.answer_tokens)
    told = (
        f"By the prices given it costs about ${likely:,.4f} where the answers are as long as the data's, and "
        f"${most:,.4f} where each is as long as it may be."
    )
    if most <= prices.most:
        return f"{told} At most ${prices.most:,.2f} are spent."
    return f"{told} It stops before ${prices.most:,.2f} are spent, which may be before all rows are answered."


METHOD = ImitateService()
