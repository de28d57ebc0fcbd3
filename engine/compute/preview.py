"""The child that renders templates, colours learned tokens and counts them. Starts without torch, works within limits.

Run by `engine.texts.preview` as `python -m engine.compute.preview`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from engine import objectives
from engine.children import Record, serve
from engine.data.example import Example
from engine.errors import UserError
from engine.methods.objective import Objective
from engine.settings import Section, parse
from engine.texts import label_words
from engine.texts.label_words import Template
from engine.texts.tokens import Encoded, Tokens

UNCUT = 2**31 - 1


class Preview:
    """Answers requests; keeps the tokenizer that was used last."""

    def __init__(self) -> None:
        self._kept: tuple[str, str, Tokens] | None = None

    def handle(self, request: Record, send: Callable[[Any], None], cancelled: Callable[[], bool]) -> None:
        tokens = self._tokens(request["folder"], request["fingerprint"])
        if request["ask"] == "note":
            send(tokens.template_note)
            return
        if request["ask"] == "words":
            send(split_words(tokens, request["templates"], request["words"], request["labels"], request["masked"]))
            return
        objective = objectives.get(request["objective"])
        settings = parse(objective.Settings, request["settings"], "objective")
        rows = request["ask"] == "rows"
        # Lengths are counted before the cut, so that they hold wherever a person puts it.
        encoded = self._encodings(request, objective, settings, tokens, request["max_tokens"] if rows else UNCUT)
        send([shown(item, tokens) if rows else counted(item, objective.fills_slot) for item in encoded])

    def _tokens(self, folder: str, fingerprint: str) -> Tokens:
        if self._kept is None or self._kept[:2] != (folder, fingerprint):
            self._kept = (folder, fingerprint, Tokens.load(Path(folder)))
        return self._kept[2]

    def _encodings(
        self, request: Record, objective: Objective, settings: Section, tokens: Tokens, max_tokens: int
    ) -> list[Encoded | UserError]:
        """Each example encoded as the worker will, or why it can't be."""
        found: list[Encoded | UserError] = []
        for values in request["examples"]:
            example = Example(**values)
            try:
                if objective.divides(settings) and max_tokens < UNCUT:
                    example = objective.parts(example, tokens, max_tokens)[0]
                found.append(objective.encode(example, tokens, settings, max_tokens))
            except UserError as error:
                found.append(error)
        return found


def shown(encoded: Encoded | UserError, tokens: Tokens) -> Record:
    """A row as a person looks at it."""
    if isinstance(encoded, UserError):
        return {"problem": str(encoded)}
    return {
        "pieces": tokens.pieces(encoded),
        "tokens": len(encoded.ids),
        "full_length": encoded.full_length,
        "learned": sum(encoded.learned),
    }


def split_words(
    tokens: Tokens, templates: list[str], words: dict[str, str], labels: list[str], masked: bool
) -> list[list[Record]]:
    """Of each template (a bare slot if there is none), each label's word as tokens (`slot_look.Split`)."""
    made = [one for text in templates for one in label_words.templates(text)]
    made = [one if masked else replace(one, right="") for one in made] or [Template("", " ", "")]
    chosen = label_words.completed(tokens, made, words, labels)
    return [[_split(tokens, one, label, word) for label, word in chosen.items()] for one in made]


def _split(tokens: Tokens, template: Template, label: str, word: str) -> Record:
    ids = label_words.word_ids(tokens, template, word)
    pieces = tokens.pieces(Encoded(list(ids), [True] * len(ids), len(ids)))
    return {
        "label": label,
        "word": word,
        "ids": ids,
        "pieces": [text.strip() for text, _ in pieces if text.strip()],
        "known": bool(ids) and tokens.unknown_id not in ids,
    }


def counted(encoded: Encoded | UserError, kept: bool) -> list[Any] | str:
    """Tokens before the cut, and where tokens are learned as [begin, end]; or the problem.

    kept: whether no cut reaches what is learned, which is then told as if it stood first.
    """
    if isinstance(encoded, UserError):
        return str(encoded)
    if kept:
        return [encoded.full_length, [[0, sum(encoded.learned)]]]
    spans, place = [], 0
    for learned, run in groupby(encoded.learned):
        end = place + sum(1 for _ in run)
        if learned:
            spans.append([place, end])
        place = end
    return [encoded.full_length, spans]


if __name__ == "__main__":
    serve(Preview().handle)
