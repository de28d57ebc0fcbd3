"""Choices as cards, of which one is taken: by pointing, or with the arrow keys, as native radio buttons are.

The choice itself is kept by a text input of Gradio's; `static/method.js` brings the two together. So a choice outlives
a restart of the server, and what it stands for is checked where it is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

Mood = Literal["good", "tight", "bad", "plain"]


@dataclass(frozen=True)
class Card:
    value: str
    title: str
    text: str
    """One sentence."""
    facts: tuple[str, ...] = ()
    mark: str = ""
    """What singles it out, such as 'Recommended'."""
    said: str = ""
    """A last line, with its mood: whether it fits, why it doesn't go together."""
    mood: Mood = "plain"
    more: tuple[str, ...] = ()
    """Further sentences below the text, each on a line of its own."""
    warning: str = ""
    """What speaks against it."""
    link: tuple[str, str] | None = None
    """Address and words of where to read on."""


@dataclass(frozen=True)
class Cards:
    title: str
    cards: Sequence[Card]
    folded: bool = False
    """Whether they are shown only when asked for, or when the choice is one of them."""
    told: str = ""
    """What stands beside the title of folded ones."""


@dataclass(frozen=True)
class Chapter:
    """Cards of one idea, with a title and a sentence beside them."""

    title: str
    text: str
    groups: Sequence[Cards]


def chapters(input_id: str, label: str, inside: Sequence[Chapter], chosen: str) -> str:
    """As `fieldset`, in chapters."""
    return _fieldset(input_id, label, "".join(_chapter(input_id, chapter, chosen) for chapter in inside))


def fieldset(input_id: str, label: str, groups: Sequence[Cards], chosen: str) -> str:
    """The cards as markup. input_id: elem_id of the text input that keeps the choice."""
    return _fieldset(
        input_id, label, "".join(_group(input_id, group, chosen, alone=len(groups) == 1) for group in groups)
    )


def _fieldset(input_id: str, label: str, inside: str) -> str:
    legend = f"<legend class='ts-legend-text'>{escape(label)}</legend>"
    return f"<fieldset class='ts-choices' data-for='{escape(input_id)}'>{legend}{inside}</fieldset>"


def _chapter(input_id: str, chapter: Chapter, chosen: str) -> str:
    place = _place(input_id, chapter.title)
    inside = "".join(_group(input_id, group, chosen, alone=not group.folded) for group in chapter.groups)
    return (
        f"<div class='ts-chapter' role='group' aria-labelledby='{place}'>"
        f"<div><p class='ts-chapter-title' id='{place}'>{escape(chapter.title)}</p>"
        f"<p class='ts-group'>{escape(chapter.text)}</p></div><div class='ts-chapter-cards'>{inside}</div></div>"
    )


def _place(input_id: str, value: str) -> str:
    return f"{input_id}-{hashlib.sha256(value.encode()).hexdigest()[:12]}"


def _group(input_id: str, group: Cards, chosen: str, alone: bool) -> str:
    cards = "".join(_card(input_id, card, card.value == chosen) for card in group.cards)
    cards = f"<div class='ts-cards'>{cards}</div>"
    if group.folded:
        told = f"<span>: {escape(group.told)}</span>" if group.told else ""
        opened = " open" if any(card.value == chosen for card in group.cards) else ""
        summary = f"<summary><div>{escape(group.title)}{told}</div></summary>"
        fold = f" data-fold='{_place(input_id, group.title)}'"
        return f"<details class='ts-more-cards'{fold}{opened}>{summary}{cards}</details>"
    title = f"<p class='ts-group'>{escape(group.title)}</p>" if group.title and not alone else ""
    return title + cards


def _card(input_id: str, card: Card, chosen: bool) -> str:
    """Called by its title; the rest describes it, so that a screen reader tells the two apart."""
    place = _place(input_id, card.value)
    mark = f" <span class='ts-badge'>{escape(card.mark)}</span>" if card.mark else ""
    facts = f"<span class='ts-card-facts'>{escape(', '.join(card.facts))}</span>" if card.facts else ""
    said = f"<span class='ts-card-said ts-{card.mood}'>{escape(card.said)}</span>" if card.said else ""
    more = "".join(f"<span class='ts-card-text'>{escape(sentence)}</span>" for sentence in card.more)
    warning = f"<span class='ts-card-said ts-tight'>{escape(card.warning)}</span>" if card.warning else ""
    link = ""
    if card.link:
        address, words = (escape(part, quote=True) for part in card.link)
        link = f"<a class='ts-card-link' href='{address}' target='_blank' rel='noopener'>{words}</a>"
    checked = " checked" if chosen else ""
    return (
        f"<label class='ts-card'><input type='radio' name='{escape(input_id)}-choice' "
        f"aria-labelledby='{place}' aria-describedby='{place}-more' "
        f"value='{escape(card.value, quote=True)}'{checked}>"
        f"<span class='ts-card-title' id='{place}'>{escape(card.title)}{mark}</span>"
        f"<span class='ts-card-more' id='{place}-more'>{facts}"
        f"<span class='ts-card-text'>{escape(card.text)}</span>{more}{said}{warning}</span>{link}</label>"
    )
