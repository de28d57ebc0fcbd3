"""Texts with marked words, as markup: each mark with its label in words beside it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from engine.data.example import Mark


def marked(text: str, marks: Iterable[Mark], most: int | None = None) -> str:
    """most: characters that are shown; a mark that is cut goes with the rest."""
    end_of = len(text) if most is None or len(text) <= most else most
    parts, at = [], 0
    for begin, end, label in marks:
        if end > end_of:
            end_of = min(end_of, begin)
            break
        parts += [escape(text[at:begin]), one(text[begin:end], label)]
        at = end
    return "".join(parts) + escape(text[at:end_of]) + ("…" if end_of < len(text) else "")


def one(words: str, label: str) -> str:
    """Words with their label, which a screen reader says as well."""
    return f"<mark class='ts-marked'>{escape(words)} <b>{escape(label)}</b></mark>"
