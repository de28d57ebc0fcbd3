"""Text: the model goes on reading raw text, as in its pre-training (domain-adaptive and task-adaptive pre-training).

Models that write learn the next token; those that only read (encoders) guess words that are hidden.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.bases.models import ModelFacts
from engine.data.example import Example
from engine.judging.scores import Scores
from engine.methods.causal_objective import CausalObjective
from engine.methods.job import Job, Report
from engine.methods.masked_objective import NEW_HEAD, MaskedObjective, no_head, only_reads
from engine.methods.objective import Objective
from engine.scripts.causal_script import LOAD, LOSSES
from engine.settings import Section, setting
from engine.texts import general
from engine.texts.tokens import Encoded, Tokens

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


class Reading(Section):
    replay: float = setting(
        0.0,
        "General text mixed in",
        "Share of what is read that is general text (Wikipedia, English) in place of yours. A tenth or so keeps "
        "the model from forgetting; 0 mixes in none.",
        ge=0,
        le=0.9,
    )
    masked_share: float = setting(
        0.15,
        "Share hidden",
        "For models that read and do not write (such as BERT): the share of the tokens that are hidden and guessed, "
        "other ones in each pass. Models that write learn every token.",
        advanced=True,
        ge=0.01,
        le=0.8,
    )
    whole_words: bool = setting(
        True,
        "Hide whole words",
        "For models that read and do not write: all tokens of a word are hidden, or none. Otherwise tokens are hidden "
        "each by itself, which is easier to guess.",
        advanced=True,
    )
    new_head: bool = setting(
        False,
        "Begin with a new head",
        "For models that read and whose files hold no head that guesses words (such as all-MiniLM): begin with one "
        "that knows nothing and learns from your text alone. It shares the model's word embeddings, and is saved "
        "with the result.",
        advanced=True,
    )


class _Text(Objective):
    """Of both kinds of models."""

    name = "text"
    title = "Text (go on reading)"
    help = (
        "The model reads your documents as it read the text of its pre-training: it learns their subject, words and "
        "style, and no task. A stage before a task of the same field."
    )
    paper = "https://arxiv.org/abs/2004.10964"
    order = 30
    wants = "text"

    Settings = Reading

    def divides(self, settings: Any) -> bool:
        return True

    def parts(self, row: Example, tokens: Tokens, most: int) -> list[Example]:
        return [replace(row, text=part) for part in tokens.divided(row.text, most)]

    def mixed_in(self, settings: Any, train: list[Example], seed: int) -> list[Example]:
        return general.replayed(settings.replay, train, seed) if settings.replay else []


class Masked(_Text, MaskedObjective):
    """For models that read and do not write."""


class Text(_Text, CausalObjective):
    architectures = frozenset({"decoder", "encoder"})
    main_metric = "bits_per_byte"

    def of(self, facts: ModelFacts) -> Objective:
        return MASKED if facts.kind == "encoder" else self

    def refuses(self, facts: ModelFacts, settings: Any = None) -> str | None:
        if settings is not None and settings.new_head and (facts.kind == "decoder" or facts.has_mlm_head):
            return f"{facts.id} has a head that knows its words; switch {NEW_HEAD} off."
        if facts.kind == "encoder" and not facts.has_mlm_head and not (settings is None or settings.new_head):
            return no_head(self.title, facts)
        return super().refuses(facts, settings)

    def unused(self, facts: ModelFacts | None, sets: int = 1) -> frozenset[str]:
        hidden = frozenset({"masked_share", "whole_words", "new_head"})
        if facts is None or facts.kind == "decoder":
            return hidden
        return frozenset({"new_head"}) if facts.has_mlm_head else frozenset()

    def remarks(self, settings: Any) -> list[str]:
        if (settings.masked_share, settings.whole_words) == (Reading().masked_share, Reading().whole_words):
            return []
        return [
            "Nothing is hidden: this model writes, and learns every token. The settings of hidden words do nothing."
        ]

    def scored_beside(self, settings: Any) -> list[Example]:
        return general.meter()

    def whole(self, facts: ModelFacts) -> bool:
        return facts.kind == "decoder"

    def beside_parameters(self, facts: ModelFacts) -> int:
        return MASKED.beside_parameters(facts) if facts.kind == "encoder" else 0

    def head_parameters(self, facts: ModelFacts, classes: int) -> int:
        return MASKED.head_parameters(facts, classes) if facts.kind == "encoder" else 0

    def leaves_words(self, facts: ModelFacts) -> int | None:
        return MASKED.leaves_words(facts) if facts.kind == "encoder" else None

    def encode(self, example: Example, tokens: Tokens, settings: Any, max_tokens: int) -> Encoded:
        if only_reads(tokens.folder):
            return MASKED.encode(example, tokens, settings, max_tokens)
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


MASKED = Masked()
METHOD = Text()
