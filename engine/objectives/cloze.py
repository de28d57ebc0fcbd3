"""Cloze: the model fills a slot in a prompt with the word that stands for a label (PET, LM-BFF)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from engine.bases import architecture, parts
from engine.bases.models import ModelFacts
from engine.data.example import Example
from engine.errors import ModelError, SettingError
from engine.judging.scores import Scores
from engine.methods.job import Job, Losses, Report
from engine.methods.objective import Objective
from engine.scripts.cloze_script import SCRIPT
from engine.settings import Section, setting
from engine.texts import label_words
from engine.texts.label_words import Prompt, Slot, Template
from engine.texts.tokenizer import read_json
from engine.texts.tokens import Encoded, Tokens

if TYPE_CHECKING:
    import torch
    from torch import nn

    from engine.compute.cloze import WordLosses

NAMED = 3


class Cloze(Objective):
    name = "cloze"
    title = "Fill in the label (prompt-based)"
    help = (
        "The text stands in a prompt with a slot, and the model learns which label's word belongs there. It uses what "
        "the model knows of the words, and chooses before any training."
    )
    paper = "https://arxiv.org/abs/2001.07676"
    order = 25
    wants = "labelled"
    architectures = frozenset({"encoder", "decoder"})
    gives = frozenset({"gradients", "class scores", "trainable base"})
    main_metric = "accuracy"
    fills_slot = True
    cut = "at the end of their text"

    class Settings(Section):
        template: str = setting(
            "{text}\nCategory: {label}.",
            "Template",
            "The prompt, with {text} for the row's text and one {label} for the slot. Several, with a line --- between "
            "them, take turns in training and judge together. A model that writes reads nothing after the slot.",
            lines=3,
        )
        label_words: str = setting(
            "",
            "Label words",
            "A line 'label = word' for each label whose own name is not the word. Words that the model knows well, one "
            "token each, work best. Empty means the labels' names.",
            lines=3,
        )
        few_shot_rows: int = setting(
            0, "Rows of each label", "Learn from so many rows of each label, drawn by the seed; 0 means all.", ge=0
        )
        length_normalised: bool = setting(
            True,
            "Fair to long words",
            "A word of several tokens is scored by their mean log-probability; otherwise by their sum, which is lower "
            "the more there are.",
            advanced=True,
        )

        @field_validator("template")
        @classmethod
        def _has_a_slot(cls, text: str) -> str:
            label_words.templates(text)
            return text

        @field_validator("label_words")
        @classmethod
        def _are_lines(cls, text: str) -> str:
            label_words.given(text)
            return text

        def templates(self, masked: bool) -> list[Template]:
            made = label_words.templates(self.template)
            return [one if masked else Template(one.left, one.gap, "") for one in made]

        def word(self, label: str) -> str:
            return label_words.word_of(label, label_words.given(self.label_words))

    class Settled(Settings):
        """With a word for every label."""

        notes: tuple[str, ...] = Field(exclude=True)
        readings: int = Field(exclude=True)
        beside: int = Field(exclude=True)

    def refuses(self, facts: ModelFacts, settings: Any = None) -> str | None:
        if facts.kind == "encoder" and not facts.has_mlm_head:
            return (
                f"{self.title} needs a head that guesses masked words; the files of {facts.id} hold none, and a new "
                "one would know no words."
            )
        return super().refuses(facts)

    def chosen(self, examples: list[Example], settings: Any, seed: int) -> list[Example]:
        """All where that is wanted; else some training rows of each label, and what is held out."""
        if not settings.few_shot_rows:
            return examples
        places: dict[str, list[int]] = {}
        for place, example in enumerate(examples):
            if example.split == "train":
                places.setdefault(example.label, []).append(place)
        drawn, generator = set(), random.Random(seed)
        for _, own in sorted(places.items()):
            drawn.update(generator.sample(own, min(settings.few_shot_rows, len(own))))
        return [e for place, e in enumerate(examples) if e.split != "train" or place in drawn]

    def settled(self, settings: Any, model_folder: Path, examples: list[Example]) -> Any:
        label_words.require_one_text(examples)
        tokens, masked = Tokens.load(model_folder), _is_masked(model_folder)
        if masked and tokens.mask_id is None:
            raise ModelError("This model's tokenizer has no mask token.", "Choose another model, or save it with one.")
        made = settings.templates(masked)
        if not masked and not all(template.text_first for template in made):
            raise SettingError(
                [f"{label_words.TEMPLATE}: {{text}} stands after {{label}}, and a model that writes reads forward."],
                "Put {text} before {label}, or choose a masked language model.",
            )
        labels = sorted({example.label for example in examples})
        words = label_words.resolved(tokens, made, label_words.given(settings.label_words), labels)
        slots = self._slots(tokens, masked, made, list(words.values()))
        readings = max(len(one.fillings if masked else label_words.grouped(one.fillings)) for one in slots)
        rows = sum(example.split == "train" for example in examples)
        return self.Settled(
            **settings.model_dump() | {"label_words": label_words.written(words)},
            notes=tuple(_notes(settings, words, tokens, made, readings, rows)),
            readings=readings,
            beside=0 if masked else max(label_words.beside(one.fillings) for one in slots),
        )

    def remarks(self, settings: Any) -> list[str]:
        return list(settings.notes) if isinstance(settings, self.Settled) else []

    def readings(self, settings: Any) -> tuple[int, int]:
        count = settings.readings if isinstance(settings, self.Settled) else 1
        return count, count * len(label_words.templates(settings.template))

    def tokens_beside(self, settings: Any) -> int:
        return settings.beside if isinstance(settings, self.Settled) else 0

    def whole(self, facts: ModelFacts) -> bool:
        return facts.kind == "decoder"

    def beside_parameters(self, facts: ModelFacts) -> int:
        return facts.mlm_head_parameters if facts.kind == "encoder" else 0

    def encode(self, example: Example, tokens: Tokens, settings: Any, max_tokens: int) -> Encoded:
        """The whole filled prompt, with the label's word learned. Templates take turns by the row's number."""
        masked = _is_masked(tokens.folder)
        made = settings.templates(masked)
        template = made[example.row % len(made)]
        word = label_words.word_ids(tokens, template, settings.word(example.label))
        begin, end = _frame(tokens, masked)
        prompt = self._prompt(tokens, settings, template, example, max_tokens)
        ids = [*begin, *prompt.left, *word, *prompt.right, *end]
        learned = [False] * len(ids)
        at = len(begin) + len(prompt.left)
        learned[at : at + len(word)] = [True] * len(word)
        return Encoded(ids, learned, prompt.full_length + len(begin) + len(end) + len(word))

    def load(self, job: Job) -> nn.Module:
        from engine.compute.cloze import load

        return load(job, _is_masked(job.model_folder))

    def backbone(self, model: nn.Module) -> nn.Module:
        return model.backbone if hasattr(model, "language_head") else model

    def set_backbone(self, model: nn.Module, backbone: nn.Module) -> nn.Module:
        if not hasattr(model, "language_head"):
            return backbone
        model.backbone = backbone
        model.tie()
        return model

    def trainer(self) -> tuple[type, type, dict[str, Any]]:
        from transformers import Trainer, TrainingArguments

        return Trainer, TrainingArguments, {}

    def script(self, job: Job) -> str:
        masked, settings = _is_masked(job.model_folder), job.objective_settings
        made = settings.templates(masked)
        values = {
            "LABELS_HERE": job.labels,
            "TEMPLATES_HERE": [(one.left, one.right) for one in made],
            "LONGEST_HERE": [_longest(job.tokens, settings.label_words, one) for one in made],
            "FRAME_HERE": _frame(job.tokens, masked),
            "SLOTS_HERE": [(slot.fillings, slot.targets) for slot in self._job_slots(job)],
            "FLAGS_HERE": (settings.length_normalised, masked),
        }
        text = SCRIPT.replace("SOURCE_HERE", parts.source("compute.label_scores"))
        for name, value in values.items():
            text = text.replace(name, repr(value))
        return text

    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        from engine.compute import tasks

        slot = encoded.learned.index(True)
        return {
            "input_ids": encoded.ids[:slot] + encoded.ids[slot + sum(encoded.learned) :],
            "slot": slot,
            "template": example.row % len(label_words.templates(job.objective_settings.template)),
            "labels": job.labels.index(example.label),
            **tasks.noted(job, example),
        }

    def batch(self, job: Job, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        from engine.compute.cloze import padded

        return padded(rows, job.tokens.pad_id or 0)

    def losses(self, job: Job) -> Losses:
        from engine.compute.tasks import told

        return told(job, self.losses_of(job))

    def losses_of(self, job: Job) -> WordLosses:
        """By which a run's labels are scored, with what asks the model for words."""
        from engine.compute.cloze import WordLosses

        return WordLosses(self._job_slots(job), job.objective_settings.length_normalised)

    def score(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
        from engine.compute.classifier import found_scores
        from engine.compute.cloze import predictions

        found = self._log_chances(job, model, rows, report)
        return found_scores(job, rows, *predictions(job, rows, found))

    def chances(self, job: Job, model: nn.Module, example: Example) -> list[tuple[str, float]]:
        found = self._log_chances(job, model, [example], lambda done, total: None)[0].exp().tolist()
        return sorted(zip(job.labels, found, strict=True), key=lambda one: -one[1])

    def save(self, job: Job, model: nn.Module, folder: Path) -> None:
        from engine.compute.cloze import save

        masked, settings = _is_masked(job.model_folder), job.objective_settings
        made = settings.templates(masked)
        about = {
            "labels": job.labels,
            "words": [settings.word(label) for label in job.labels],
            "template": settings.template,
            "templates": [[one.left, one.right] for one in made],
            "frame": _frame(job.tokens, masked),
            "slots": [[slot.fillings, slot.targets] for slot in self._job_slots(job)],
            "length_normalised": settings.length_normalised,
            "masked": masked,
        }
        save(job, model, about, folder)

    def _log_chances(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> torch.Tensor:
        from engine.compute.cloze import log_chances

        texts, losses = self.asked_rows(job, rows), self.losses_of(job)
        return log_chances(job, model, losses, texts, [row.source for row in rows], report)

    def asked_rows(self, job: Job, rows: Sequence[Example]) -> list[list[dict[str, Any]]]:
        """Of each row what is read of it for every template, without a word in its slot."""
        settings, masked = job.objective_settings, _is_masked(job.model_folder)
        begin, end = _frame(job.tokens, masked)
        texts: list[list[dict[str, Any]]] = []
        for row in rows:
            own: list[dict[str, Any]] = []
            for number, template in enumerate(settings.templates(masked)):
                prompt = self._prompt(job.tokens, settings, template, row, job.training.max_tokens)
                ids = [*begin, *prompt.left, *prompt.right, *end]
                own.append({"input_ids": ids, "slot": len(begin) + len(prompt.left), "template": number, "labels": 0})
            texts.append(own)
        return texts

    def _prompt(self, tokens: Tokens, settings: Any, template: Template, row: Example, max_tokens: int) -> Prompt:
        begin, end = _frame(tokens, _is_masked(tokens.folder))
        longest = _longest(tokens, settings.label_words, template)
        if row.label:  # its word may be a proposal that the settings don't hold yet
            longest = max(longest, len(label_words.word_ids(tokens, template, settings.word(row.label))))
        return label_words.prompt(tokens, template, row.text, max_tokens - len(begin) - len(end) - longest)

    def _job_slots(self, job: Job) -> list[Slot]:
        masked, settings = _is_masked(job.model_folder), job.objective_settings
        words = [settings.word(label) for label in job.labels]
        return self._slots(job.tokens, masked, settings.templates(masked), words)

    def _slots(self, tokens: Tokens, masked: bool, made: list[Template], words: list[str]) -> list[Slot]:
        mask = tokens.mask_id if masked else None
        return [label_words.slot([label_words.word_ids(tokens, one, word) for word in words], mask) for one in made]


@lru_cache(maxsize=64)
def _is_masked(model_folder: Path) -> bool:
    return architecture.kind(read_json(model_folder / "config.json")) == "encoder"


def _frame(tokens: Tokens, masked: bool) -> tuple[list[int], list[int]]:
    """Special tokens before the prompt and after it; a causal model goes on where its prompt ends."""
    begin, end = tokens.frame
    return begin, end if masked else []


@lru_cache(maxsize=64)
def _longest(tokens: Tokens, words: str, template: Template) -> int:
    """Most tokens of a label's word, as far as the setting holds them."""
    return max(
        (len(label_words.word_ids(tokens, template, one)) for one in label_words.given(words).values()), default=0
    )


def _notes(
    settings: Any, words: dict[str, str], tokens: Tokens, made: list[Template], readings: int, rows: int
) -> list[str]:
    """What follows from the label words, for people."""
    counts = {word: max(len(label_words.word_ids(tokens, one, word)) for one in made) for word in words.values()}
    split = Counter({word: count for word, count in counts.items() if count > 1})
    notes = []
    if settings.few_shot_rows:
        notes.append(
            f"{rows} rows are learned from, at most {settings.few_shot_rows} of each label; the other training rows "
            "are left out."
        )
    if split:
        named = ", ".join(f"{word!r} ({count})" for word, count in split.most_common(NAMED))
        more = f" and {len(split) - NAMED} more" if len(split) > NAMED else ""
        how = "the mean" if settings.length_normalised else "the sum"
        notes.append(
            f"{len(split)} of {len(words)} label words are several tokens of this model: {named}{more}. They are "
            f"scored by {how} of their tokens' log-probabilities."
        )
    if readings > 1:
        notes.append(f"Each row is read {readings} times for them; with words of one token each, it would be once.")
    return notes


METHOD = Cloze()
