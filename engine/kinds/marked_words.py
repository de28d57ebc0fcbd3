"""Words of a text are marked, each mark with a label: names, places, amounts. Every token has a tag of the scheme BIO.

A softmax over the tags of each token, learned by its cross-entropy, as that of transformers' token classification.
All tokens of a word learn, the first B- (or I-) and the others I-, so that pipelines which join tokens find whole
words. The answer of a word is that of its first token.

A model that writes reads from left to right, and has not read a word before its end: there all tokens of a word have
the word's tag, and its answer is that of its last token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engine.bases import parts
from engine.bases.models import ModelFacts
from engine.data.example import Example
from engine.judging.scores import KNOWN_WORDS, Marked, Scores
from engine.kinds.base import Kind
from engine.method import KindName
from engine.methods.class_weights import Scheme
from engine.methods.job import Job, Losses, Report
from engine.methods.pooling import EACH_TOKEN
from engine.texts.entity_tags import first_tokens, last_tokens, tags_of, word_tags
from engine.texts.tokens import Encoded, Tokens

if TYPE_CHECKING:
    from torch import nn

AT_END = "answers_at_end"
"""How a result says that a word's answer is that of its last token."""
IGNORED = -100
"""In place of a class: nothing is learned of this token."""
READ = '''
# Marked words as tags of tokens

{source}


def read(example):
    """Token ids of a text, or of a part of a longer one, and the tag of each token; -100 where none is learned."""
    text = example["text"]
    found = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    places = places_of(text, found["offset_mapping"], found["special_tokens_mask"])
    tags = {tags}example["marks"], example.get("core"))
    return {{"ids": found["input_ids"], "tags": [-100 if tag is None else LABELS.index(tag) for tag in tags]}}
'''
SCRIPT = '''
def target(example, row):
    return row["tags"]


def row_losses(scores, targets):
    """Cross-entropy of each token that has a tag."""
    longest = scores.shape[1]
    tags = torch.tensor([tags + [-100] * (longest - len(tags)) for tags in targets], device=DEVICE)
    return torch.nn.functional.cross_entropy(scores[tags != -100], tags[tags != -100], reduction="none")
'''


def token_tags(
    job: Job,
    text: str,
    places: list[tuple[int, int]],
    spans: list[tuple[int, int, str]],
    core: tuple[int, int] | None,
) -> list[str | None]:
    """What a job's model learns of each token: its tag, None for nothing. Arguments as of `entity_tags.tags_of`."""
    return tags_of(places, spans, core) if _reads_both_ways(job) else word_tags(text, places, spans, core)


def answering_tokens(job: Job, words: list[tuple[int, int]], places: list[tuple[int, int]]) -> list[int]:
    """The token whose tag is each word's; -1 where there is none."""
    return (first_tokens if _reads_both_ways(job) else last_tokens)(words, places)


def _reads_both_ways(job: Job) -> bool:
    return job.facts.kind == "encoder"


class MarkedWords(Kind):
    name: ClassVar[KindName] = "marked words"
    title = "marked words"
    remark = (
        "Words are marked in each text (kind of answer), by a tag for each of its tokens. Where a text is longer than "
        "the longest row, it is read in windows that overlap, and no word is left out."
    )
    main_metric = "entity_f1"
    loss_unit = "nats a token"
    unweighable = "Class weights (objective.class_weights) are for labels of texts; marked words have none."
    alone = (
        "Heads for each data set (objective.heads) and task names before texts (objective.prefix) are for labels of "
        "texts; marked words have one head for all sets."
    )
    unfitted = (
        "{tuner} fits a classifier to one vector for each text; marked words (objective.kind) need an answer for each "
        "word. Choose another tuner, such as lora or top-layers."
    )
    divides = True
    marks_words = True
    positions = "sum(tag != -100 for tag in row['target'])"

    def weak_with(self, facts: ModelFacts) -> str | None:
        if facts.kind == "encoder":
            return None
        return (
            f"{facts.id} reads from left to right: when it marks a word, it does not know what follows. A model that "
            "reads both ways (an encoder), such as embedded:minilm, can use both sides."
        )

    def pooling(self, model_folder: Path) -> str:
        return EACH_TOKEN

    def labels(self, examples: Sequence[Example]) -> list[str]:
        """The tags: O, then B- and I- of each label."""
        found = sorted({label for example in examples for _, _, label in example.marks or []})
        return ["O", *(f"{prefix}-{label}" for label in found for prefix in "BI")]

    def weights(self, scheme: Scheme, labels: Sequence[str], train: Sequence[Example]) -> list[float] | None:
        return None

    def encode(self, example: Example, tokens: Tokens, max_tokens: int) -> Encoded:
        """Never cut: long texts come in parts."""
        encoded = tokens.encode_places(example.text)
        tags = tags_of(encoded.places, example.marks or [], example.core)
        return Encoded(encoded.ids, [tag is not None for tag in tags], encoded.full_length, places=encoded.places)

    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        numbers = {tag: number for number, tag in enumerate(job.labels)}
        tags = token_tags(job, example.text, encoded.places, example.marks or [], example.core)
        return {"labels": [IGNORED if tag is None else numbers[tag] for tag in tags]}

    def losses(self, job: Job) -> Losses:
        from engine.compute.marked import losses

        return losses

    def reading(self, job: Job) -> str:
        tags = "tags_of(places, " if _reads_both_ways(job) else "word_tags(text, places, "
        return READ.format(source=parts.source("texts.entity_tags"), tags=tags)

    def script(self, job: Job) -> str:
        return SCRIPT

    def score(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
        from engine.compute.marked import score

        return score(job, model, rows, report)

    def baselines(self, job: Job, rows: list[Example]) -> dict[str, Scores]:
        from engine.compute.marked import known_words

        return {KNOWN_WORDS: known_words(job, rows)}

    def told(self, job: Job, model: nn.Module, example: Example) -> list[tuple[str, float]]:
        raise NotImplementedError("It marks words; see `marks`.")

    def marks(self, job: Job, model: nn.Module, example: Example) -> list[Marked]:
        from engine.compute.marked import marks

        return marks(job, model, example)

    def kept(self, job: Job, model: nn.Module) -> dict[str, Any]:
        from engine.compute.marked import has_class

        both = _reads_both_ways(job)
        return {"kind": self.name, "pipeline": both and has_class(job, model), **({} if both else {AT_END: True})}

    def kept_whole(self, job: Job, model: nn.Module, folder: Path) -> None:
        from engine.compute.marked import save_whole

        if _reads_both_ways(job):
            save_whole(job, model, folder)

    def given(self, found: Sequence[tuple[str, float]], kept: Mapping[str, Any]) -> list[str]:
        return []

    def holds(self, kept: Mapping[str, Any]) -> str:
        return "How sure it is of a mark is the mean of its words' chances."

    def asked(self, kept: Mapping[str, Any]) -> list[str]:
        return []
