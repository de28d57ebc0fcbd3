"""Text: the model goes on reading raw text, as in its pre-training (domain-adaptive and task-adaptive pre-training)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine import general
from engine.causal_objective import CausalObjective
from engine.causal_script import LOAD, LOSSES
from engine.data.example import Example
from engine.job import Job, Report
from engine.scores import Scores
from engine.settings import Section, setting
from engine.tokens import Encoded, Tokens

if TYPE_CHECKING:
    from torch import nn

SHOWN_WORDS = 25
"""Of a held-out passage, to go on from, and as many to compare with."""
SAMPLE_TOKENS = 48

ENCODE = '''
def encode(example):
    """Token ids; all are learned but the first, which nothing comes before."""
    ids = tokenizer(example["text"], truncation=True, max_length=MAX_TOKENS)["input_ids"]
    return {"ids": ids, "labels": [-100, *ids[1:]]}
'''


class Text(CausalObjective):
    name = "text"
    title = "Text (go on reading)"
    help = (
        "The model reads your documents as it read the text of its pre-training: it learns their subject, words and "
        "style, and no task. A stage before a task of the same field."
    )
    paper = "https://arxiv.org/abs/2004.10964"
    order = 30
    wants = "text"
    divides = True
    main_metric = "bits_per_byte"

    class Settings(Section):
        replay: float = setting(
            0.0,
            "General text mixed in",
            "Share of what is read that is general text (Wikipedia, English) in place of yours. A tenth or so keeps "
            "the model from forgetting; 0 mixes in none.",
            ge=0,
            le=0.9,
        )

    def mixed_in(self, settings: Any, train: list[Example], seed: int) -> list[Example]:
        return general.replayed(settings.replay, train, seed) if settings.replay else []

    def scored_beside(self, settings: Any) -> list[Example]:
        return general.meter()

    def encode(self, example: Example, tokens: Tokens, settings: Any, max_tokens: int) -> Encoded:
        encoded = tokens.encode_text(example.text, max_tokens)
        return Encoded(encoded.ids, [place > 0 for place in range(len(encoded.ids))], encoded.full_length)

    def script(self, job: Job) -> str:
        return LOAD + ENCODE + LOSSES

    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        from engine.compute import tasks

        return {"input_ids": encoded.ids, "labels": [-100, *encoded.ids[1:]], **tasks.noted(job, example)}

    def asked(self, example: Example) -> tuple[str, str]:
        words = example.text.split(" ")
        return " ".join(words[:SHOWN_WORDS]), " ".join(words[SHOWN_WORDS : 2 * SHOWN_WORDS])

    def sample(self, job: Job, model: nn.Module, example: Example) -> str | None:
        from engine.compute.language import answers

        beginning = job.tokens.encode_text(self.asked(example)[0], job.training.max_tokens).ids
        return answers(job, model, [beginning], SAMPLE_TOKENS, of_tasks=[example.source])[0]

    def score(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
        from engine.compute.reading import scores

        return scores(job, model, rows, self.scored_beside(job.objective_settings), report)


METHOD = Text()
