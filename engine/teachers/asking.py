"""Has a service answer many prompts: several at once, patiently, and never for more than may be spent."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from engine.data.example import Example
from engine.data.rows import counted
from engine.errors import MachineError, UserError
from engine.methods.job import Report
from engine.teachers.chat_service import Busy, Garbage, Service, Usage, most_asked
from engine.teachers.teacher_answers import Answer, Answers

TRIES = 6
"""Times that a question is sent while the service is busy, before the run gives up."""
TRIES_AT_GARBAGE = 3
"""Times that a question is sent which brings no answer that can be learned."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
MILLION = 1_000_000
_LOOK_S = 0.2


@dataclass(frozen=True)
class Prices:
    """Dollars for a million tokens asked and answered, and the most that may be spent. Of what costs nothing: 0."""

    asked: float = 0.0
    answered: float = 0.0
    most: float = 0.0

    def of(self, asked: int, answered: int) -> float:
        return (asked * self.asked + answered * self.answered) / MILLION

    @property
    def free(self) -> bool:
        return not self.asked and not self.answered


class Asking:
    """The questions of one run to one service."""

    def __init__(self, service: Service, prices: Prices, answers: Answers, at_once: int = 4) -> None:
        self._service, self._prices, self._answers, self._at_once = service, prices, answers, at_once
        self._ended = threading.Event()
        self._pause = threading.Lock()
        self._paused_until = 0.0

    def ask(self, prompts: Mapping[str, Example], tell: Callable[[str], None], report: Report) -> None:
        """Answer these prompts, by their keys; each answer is kept as soon as it is there.

        Those that bring no answer that can be learned stay without one. Raises MachineError where the service can't go
        on, or more would be spent than may be; what `report` raises ends it, too, when what is on its way is there.
        """
        waiting, at_work, done, dear = list(prompts.items())[::-1], dict[Future[bool], str](), 0, 0
        report(0, len(prompts))
        pool = ThreadPoolExecutor(self._at_once, thread_name_prefix="asking")
        try:
            while waiting or at_work:
                while waiting and len(at_work) < self._at_once and self._reserved(*waiting[-1]):
                    key, row = waiting.pop()
                    at_work[pool.submit(self._answer, key, row)] = key
                if not at_work:
                    raise self._too_dear(len(waiting) + dear, len(prompts))
                finished, _ = wait(at_work, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                for future in finished:
                    del at_work[future]
                    dear += not future.result()
                    done += 1
                report(done, len(prompts))
            if dear:
                raise self._too_dear(dear, len(prompts))
        finally:
            self._ended.set()
            pool.shutdown(wait=True)
            if self._answers.unusable:
                tell(f"{self._service.name} gave what is no answer: {_listed(self._answers)}.")

    def _answer(self, key: str, row: Example) -> bool:
        """One row, until it has an answer or brought garbage too often; False where another try would be too dear.

        What the first try may cost is reserved.
        """
        tries = garbage = 0
        while True:
            self._rest()
            try:
                said = self._service.ask(row.prompt)
            except Busy as error:
                tries += 1
                self._answers.fail(key, "busy", self._most(row) if error.paid else 0.0)
                if tries == TRIES or self._ended.is_set():
                    raise self._gave_up(error, tries) from None
                self._wait(error.seconds, tries)
            except Garbage as error:
                garbage += 1
                self._answers.unusable[error.problem] += 1
                self._answers.fail(key, error.problem, self._cost(row, error.usage))
                if garbage == TRIES_AT_GARBAGE or self._ended.is_set():
                    return True
            except UserError:
                self._answers.fail(key, "refused")
                raise
            else:
                self._answers.keep(key, Answer(said.text, said.whole), self._cost(row, said.usage))
                return True
            if not self._reserved(key, row):
                return False

    def _wait(self, asked_for: float | None, tries: int) -> None:
        """Before the next try, all questions pause: a service that is busy is busy for all of them."""
        seconds = asked_for if asked_for is not None else FIRST_WAIT_S * 2 ** (tries - 1) * random.uniform(0.7, 1.3)
        with self._pause:
            self._paused_until = max(self._paused_until, time.monotonic() + min(seconds, LONGEST_WAIT_S))

    def _rest(self) -> None:
        while (left := self._paused_until - time.monotonic()) > 0 and not self._ended.is_set():
            self._ended.wait(min(left, _LOOK_S))

    def _most(self, row: Example) -> float:
        """Dollars that an answer costs at most."""
        return self._prices.of(most_asked(row.prompt), self._service.most_tokens)

    def _cost(self, row: Example, usage: Usage | None) -> float:
        """What a service that doesn't tell has used counts at its most."""
        return self._most(row) if usage is None else self._prices.of(usage.asked, usage.answered)

    def _reserved(self, key: str, row: Example) -> bool:
        """Set aside what asking costs at most; False where that would be more than may be spent."""
        return self._answers.reserve(key, self._most(row), None if self._prices.free else self._prices.most)

    def _gave_up(self, error: Busy, tries: int) -> MachineError:
        return MachineError(
            f"{error.problem} {counted(tries, 'try', 'tries')}, one after the other, ended so; "
            f"{counted(len(self._answers), 'answer is', 'answers are')} kept.",
            "Resume later: what is answered is not asked again. Fewer questions at once (objective.at_once) may help.",
        )

    def _too_dear(self, left: int, of: int) -> MachineError:
        return MachineError(
            f"The next answer of {self._service.name} might go beyond the ${self._prices.most:,.2f} that may be spent: "
            f"${self._answers.spent:,.4f} are, and {counted(left, 'prompt is', 'prompts are')} not answered yet, of "
            f"{of:,} that were to be asked.",
            "Start it again with a higher limit (objective.most_spent) or fewer rows: what is answered is kept and not "
            "paid for again while this run is there.",
        )


def _listed(answers: Answers) -> str:
    return ", ".join(f"{count} × {why}" for why, count in answers.unusable.most_common())
