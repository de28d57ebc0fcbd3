"""Chat: the model learns to answer (supervised fine-tuning, SFT). Only the answers are learned, not the questions."""

from __future__ import annotations

from engine.methods.answer_objective import ENCODE, AnswerObjective
from engine.methods.job import Job
from engine.scripts.causal_script import LOAD, LOSSES
from engine.settings import Section


class Chat(AnswerObjective):
    name = "chat"
    title = "Chat (answer as in the examples)"
    help = (
        "The model learns to give the answers in your data: replies, labels in words, summaries, code. "
        "Questions are read but not learned."
    )
    paper = "https://arxiv.org/abs/2203.02155"
    order = 10
    recommended = True
    reads_beside = True

    class Settings(Section):
        pass

    def script(self, job: Job) -> str:
        return LOAD + ENCODE + LOSSES


METHOD = Chat()
