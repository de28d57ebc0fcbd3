"""Marked words: the loss of each token, what a model marks in texts of any length, scores, and the whole model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForTokenClassification

from engine.bases.lineage import WHOLE
from engine.compute import tasks
from engine.compute.classifier import on_device, padded
from engine.compute.precision import autocast
from engine.compute.score import mark_scores
from engine.data.example import Example
from engine.data.marks import told
from engine.errors import DataError
from engine.judging.scores import Marked, ScoredRow, Scores
from engine.kinds.marked_words import answering_tokens, token_tags
from engine.methods.job import Job, Report
from engine.planning.memory import rows_at_once
from engine.texts import entity_windows
from engine.texts.entity_tags import marks_of, tags_of, words_of
from engine.texts.tokens import Encoded

MAIN = "entity_f1"
IGNORED = -100
NOTHING = "(nothing)"
"""How a row without marks is written."""


def losses(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of each token that has a tag, and the row of each."""
    tagged = inputs["labels"] != IGNORED
    scores = model(inputs["input_ids"], inputs["attention_mask"])[tagged].float()
    found = nn.functional.cross_entropy(scores, inputs["labels"][tagged], reduction="none")
    return found, tagged.nonzero()[:, 0]


@dataclass(frozen=True)
class _Part:
    """A window of a row: where its text begins in that, its text and tokens, and where words count in the row."""

    row: int
    begin: int
    text: str
    encoded: Encoded
    core: tuple[int, int]


@dataclass
class _Seen:
    """What a model says of a row. words: those that count; chances: of each tag, (words, tags); nats: of its tokens."""

    words: list[tuple[int, int]]
    chances: list[torch.Tensor]
    nats: list[float]


def score(job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
    """Mark held-out rows and score the marks: right are those with begin, end and label as expected."""
    seen = _read(job, model, rows, report)
    found = [
        _scored(row, [(begin, end, label) for label, _, begin, end in _marks(job, one)], sum(one.nats) / len(one.nats))
        if one.nats
        else _scored(row, [], 0.0)
        for row, one in zip(rows, seen, strict=True)
    ]
    nats = [nat for one in seen for nat in one.nats]
    return _scores(job, rows, found, {"loss": sum(nats) / len(nats)} if nats else {})


def known_words(job: Job, rows: list[Example]) -> Scores:
    """What it comes to that each word gets the tag which it mostly had in the training rows; new words get none."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in job.examples["train"]:
        words = _counted(row, words_of(row.text))
        for (begin, end), tag in zip(words, tags_of(words, row.marks or []), strict=True):
            counts[row.text[begin:end]][tag or "O"] += 1
    # Among equals the first by alphabet.
    usual = {word: min(own, key=lambda tag: (-own[tag], tag)) for word, own in counts.items()}
    found = []
    for row in rows:
        words = _counted(row, words_of(row.text))
        tags = [usual.get(row.text[begin:end], "O") for begin, end in words]
        found.append(_scored(row, [mark[:3] for mark in marks_of(words, tags)], None))
    return _scores(job, rows, found, {})


def marks(job: Job, model: nn.Module, example: Example) -> list[Marked]:
    """What the model marks in a text. Raises DataError where it is given two."""
    if example.second:
        raise DataError("This run reads one text at a time.", "Leave the second text out.")
    (seen,) = _read(job, model, [example], lambda done, total: None, tell=False)
    return _marks(job, seen)


def has_class(job: Job, model: nn.Module) -> bool:
    """Whether body and head can be one of transformers' own class for tagging tokens, whose head is one layer as ours.

    Pipelines of transformers read such a model.
    """
    return bool(_head_names(model, _tagging(job, model.config.__class__.from_dict(model.config.to_dict()))))


def save_whole(job: Job, model: nn.Module, folder: Path) -> None:
    """Where a folder holds the whole body: body and head as that class; else the head stays in its own file alone."""
    if not any((folder / name).exists() for name in WHOLE):
        return
    config = _tagging(job, AutoConfig.from_pretrained(folder, local_files_only=True))
    names = _head_names(model, config)
    if not names:
        return
    whole = AutoModelForTokenClassification.from_pretrained(folder, config=config, local_files_only=True)
    own = dict(model.head.named_parameters())
    with torch.no_grad():
        for name, parameter in whole.named_parameters():
            if name in names:
                parameter.copy_(own[names[name]])
    for file in folder.glob("model*.safetensors*"):
        file.unlink()
    whole.save_pretrained(folder)


def _tagging(job: Job, config: Any) -> Any:
    """A model's config with the tags as its labels."""
    config.id2label = dict(enumerate(job.labels))
    config.label2id = {label: number for number, label in enumerate(job.labels)}
    return config


def _head_names(model: nn.Module, config: Any) -> dict[str, str]:
    """What the parameters of that class's head are called, and those of ours that they are; none where it differs."""
    try:
        with torch.device("meta"):
            shaped = AutoModelForTokenClassification.from_config(config)
    except ValueError:  # no such class for this architecture
        return {}
    body = f"{shaped.base_model_prefix}."
    theirs = {name: parameter for name, parameter in shaped.named_parameters() if not name.startswith(body)}
    own = dict(model.head.named_parameters())
    found = {name: name.rpartition(".")[2] for name in theirs}
    fits = sorted(found.values()) == sorted(own) and all(
        theirs[name].shape == own[end].shape for name, end in found.items()
    )
    return found if fits else {}


def _read(job: Job, model: nn.Module, rows: Sequence[Example], report: Report, tell: bool = True) -> list[_Seen]:
    """Rows in windows, each word in that in which it counts. tell: of which task each row is."""
    model.eval()
    found = [_Seen(_counted(row, words_of(row.text)), [], []) for row in rows]
    parts = [part for number, row in enumerate(rows) for part in _parts(job, number, row)]
    chances: dict[tuple[int, int], torch.Tensor] = {}
    order = sorted(parts, key=lambda part: len(part.encoded.ids))
    size = rows_at_once(max((len(part.encoded.ids) for part in parts), default=1))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        if tell:
            tasks.tell(job, model, [rows[part.row].source for part in chosen])
        batch = padded([{"input_ids": part.encoded.ids, "labels": 0} for part in chosen], job.tokens.pad_id or 0)
        with torch.no_grad(), autocast(job.plan):
            scores = model(*on_device(batch, next(model.parameters()).device)).float().log_softmax(dim=-1).cpu()
        for part, logs in zip(chosen, scores, strict=True):
            row = rows[part.row]
            found[part.row].nats += _nats(job, row, part, logs)
            words = [word for word in found[part.row].words if part.core[0] <= word[0] < part.core[1]]
            inside = [(begin - part.begin, end - part.begin) for begin, end in words]
            for word, token in zip(words, answering_tokens(job, inside, part.encoded.places), strict=True):
                chances[part.row, word[0]] = logs[token].exp() if token >= 0 else _outside(job)
        report(min(start + size, len(order)), len(order))
    for number, one in enumerate(found):
        one.chances = [chances[number, begin] for begin, _ in one.words]
    return found


def _parts(job: Job, number: int, row: Example) -> list[_Part]:
    found = []
    for one in entity_windows.windows(job.tokens, row.text, job.training.max_tokens):
        text = row.text[one.begin : one.end]
        found.append(_Part(number, one.begin, text, job.tokens.encode_places(text), one.core))
    return found


def _counted(row: Example, words: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of a part of a longer text, those that count."""
    return words if row.core is None else [word for word in words if row.core[0] <= word[0] < row.core[1]]


def _nats(job: Job, row: Example, part: _Part, logs: torch.Tensor) -> list[float]:
    """The loss of each token that counts; of a tag that the model never saw that of its least likely one."""
    shifted = [(begin - part.begin, end - part.begin, label) for begin, end, label in row.marks or []]
    core = (part.core[0] - part.begin, part.core[1] - part.begin)
    if row.core is not None:
        core = (max(core[0], row.core[0] - part.begin), min(core[1], row.core[1] - part.begin))
    numbers = {tag: number for number, tag in enumerate(job.labels)}
    tags = token_tags(job, part.text, part.encoded.places, shifted, core)
    return [
        float(-own[numbers[tag]] if tag in numbers else -own.min())
        for own, tag in zip(logs, tags, strict=False)
        if tag is not None
    ]


def _outside(job: Job) -> torch.Tensor:
    """Chances of a word that no token stands for."""
    return torch.tensor([float(tag == "O") for tag in job.labels])


def _marks(job: Job, seen: _Seen) -> list[Marked]:
    best = [own.max(dim=-1) for own in seen.chances]
    tags = [job.labels[int(one.indices)] for one in best]
    return [
        Marked(label, sum(float(best[place].values) for place in inside) / len(inside), begin, end)
        for begin, end, label, inside in marks_of(seen.words, tags)
    ]


def _scored(row: Example, given: list[tuple[int, int, str]], nats: float | None) -> ScoredRow:
    """A row with its own F1 as its score: 1 where nothing is expected and nothing given."""
    expected = [mark for mark in row.marks or [] if row.core is None or row.core[0] <= mark[0] < row.core[1]]
    whole = len(expected) + len(given)
    right = 2 * len(set(expected) & set(given)) / whole if whole else 1.0
    wanted, said = (told(row.text, found) or NOTHING for found in (expected, given))
    return ScoredRow(row.row, row.text, wanted, said, right, nats, marks={"expected": expected, "given": given})


def _scores(job: Job, rows: Sequence[Example], found: list[ScoredRow], more: dict[str, float]) -> Scores:
    metrics = {**mark_scores([row.marks or {} for row in found]), **more}
    for task, name in enumerate(job.sets):
        own = [one.marks or {} for one, row in zip(found, rows, strict=True) if row.source == task]
        if own:
            named = {key: value for key, value in mark_scores(own).items() if key.startswith(MAIN)}
            metrics |= {key.replace(MAIN, f"{MAIN}, task {name}"): value for key, value in named.items()}
    return Scores(MAIN, metrics, found)
