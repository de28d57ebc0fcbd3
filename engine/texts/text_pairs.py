"""Pairs of texts in a run: whether its model tells them apart, and how scripts and results say so. Needs no torch."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.bases import parts
from engine.files import read_json

if TYPE_CHECKING:
    from engine.methods.job import Job

READ = '''
def read(example):
    """Token ids of a row's text."""
    text = example.get("before", "") + example["text"]
    return {"ids": tokenizer(text, truncation=True, max_length=MAX_TOKENS)["input_ids"]}
'''
"""Of scripts of runs that read one text a row."""
SCRIPT = '''
# Two texts that are read together

FRAME, KINDS, TOLD_APART = {frame}, {kinds}, {told_apart}


{source}


def read(example):
    """Token ids of a row's texts, and of which text each is where the model tells them apart."""
    texts = example.get("before", "") + example["text"], example["second"]
    first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
    ids, kinds = together(first, second, FRAME, KINDS, MAX_TOKENS)
    return {{"ids": ids, "kinds": kinds}} if TOLD_APART else {{"ids": ids}}
'''


def told_apart(job: Job) -> bool:
    """Whether the model is told of which text each token is: it has an embedding for that, and no virtual tokens."""
    if not job.pairs or job.tuner.virtual_tokens(job.tuner_settings):
        return False
    return _kinds_known(job.model_folder) > 1


def described(job: Job) -> dict[str, Any]:
    """What a result keeps of how it reads two texts."""
    frame, kinds = job.tokens.pair_frame
    return {"frame": frame, "kinds": kinds, "told_apart": told_apart(job)}


def script(job: Job) -> str:
    """Python of a run that reads pairs: `read`, which encodes a row."""
    return SCRIPT.format(source=parts.source("texts.pair_tokens"), **described(job))


def of_result(result: Path) -> bool:
    """Whether a result reads two texts at a time."""
    return bool((read_json(result / "classifier.json") or {}).get("pair"))


@lru_cache(maxsize=8)
def _kinds_known(model_folder: Path) -> int:
    """How many kinds of texts the model has an embedding for. Asked for each row, so that it is remembered."""
    return int((read_json(model_folder / "config.json") or {}).get("type_vocab_size") or 0)
