"""Multitask prompt tuning: one prompt for all tasks, and for each a factor of low rank (Wang et al. 2023).

arXiv 2303.02861, section 3.2: a task's prompt is the shared one times, number by number, the product of two small
matrices of its own. The paper's first stage, which distils prompts that were learned for one task each, is left out:
all learn together. The tasks are the run's data sets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr

from engine.bases.models import ModelFacts
from engine.data import mixture
from engine.methods.prompt_tuner import PromptTuner, Worded
from engine.settings import setting
from engine.specs.sections import Data

if TYPE_CHECKING:
    from torch import nn

LEAST_TASKS = 2
TELL = '''

def tell(backbone, tasks):
    """Of which task each row is that comes next."""
    backbone.soft_prompt.tasks = tasks

'''


class MultitaskPrompt(PromptTuner):
    name = "multitask-prompt"
    title = "Multitask prompt tuning"
    help = (
        "Made-up words in front of every text learn, shared by several data sets; each bends them a little its own way."
    )
    choose = (
        "Choose it where several data sets, each a task of its own, are to help each other: one small file answers for "
        "all. Step 1 takes several: 'Add another data set'."
    )
    paper = "https://arxiv.org/abs/2303.02861"
    order = 56
    base_rate = 1e-1
    starts = "soft_prompt_start"

    class Settings(Worded):
        rank: int = setting(
            1,
            "Rank of a task",
            "How freely a task changes the shared words. The paper's is 1.",
            advanced=True,
            ge=1,
            le=64,
        )
        _tasks: list[str] = PrivateAttr(default_factory=list)

    def with_data(self, settings: Any, data: list[Data]) -> Any:
        found = settings.model_copy()
        found._tasks = mixture.names(data)
        return found

    def tasks(self, settings: Any) -> list[str]:
        return list(settings._tasks)

    def tell(self, backbone: nn.Module, tasks: list[int]) -> None:
        prompt: Any = getattr(backbone, "soft_prompt", None)
        if prompt is not None:
            prompt.tasks = tasks

    def given(self, settings: Any) -> dict[str, Any]:
        return {**settings.model_dump(), "tasks": self.tasks(settings)}

    def count(self, facts: ModelFacts, settings: Any) -> int:
        of_task = settings.rank * (settings.tokens + self.width(facts))
        return super().count(facts, settings) + len(self.tasks(settings)) * int(of_task)

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if len(self.tasks(settings)) < LEAST_TASKS:
            return (
                f"{self.title} needs at least {LEAST_TASKS} data sets, one for each task. With one, choose Prompt "
                "tuning."
            )
        return super().refuses(facts, settings)

    def script(self, settings: Any) -> str:
        return super().script(settings) + TELL


METHOD = MultitaskPrompt()
