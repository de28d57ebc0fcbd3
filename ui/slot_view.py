"""A row in the prompt of cloze, and how the model splits each label's word, as markup."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from engine.texts.slot_look import Filled, Look, Word
from ui import words

MOST_LETTERS = 240
"""Of a row's text."""
MOST_WORDS = 30
SLOT = "the label’s word"


def told(look: Look, known: bool) -> str:
    """What is read out after each change: one sentence. known: whether the model's tokens are."""
    if look.problems:
        rest = f" And {len(look.problems) - 1} more, below." if len(look.problems) > 1 else ""
        return f"<p class='ts-slot-problem'><b>To mend:</b> {escape(look.problems[0])}{rest}</p>"
    return f"<p class='ts-quiet'>{escape(_summary(look, known))}</p>"


def _summary(look: Look, known: bool) -> str:
    count = words.counted(len(look.words), "label")
    if not known:
        return f"{count}. How the words are split is shown once the model is on this machine: look at the plan first."
    several = sum(one.tokens > 1 for one in look.words)
    if several in (0, len(look.words)):
        return f"{count}, each with a word of {'several tokens' if several else 'one token'}."
    return f"{count}: {len(look.words) - several} with a word of one token, {several} of several."


def shown(look: Look) -> str:
    """The filled templates and the table of words."""
    problems = "".join(f"<li>{escape(one)}</li>" for one in look.problems[1:])
    parts = [f"<ul class='ts-slot-problems'>{problems}</ul>"] if problems else []
    parts += [_filled(one, number, len(look.filled)) for number, one in enumerate(look.filled, 1)]
    if look.words:
        parts.append(_table(look.words))
    if look.remark:
        parts.append(f"<p class='ts-quiet'>{escape(look.remark)}</p>")
    name = "The prompt with one of your rows"
    return f"<section class='ts-stack ts-slot-look' aria-label='{name}'>{''.join(parts)}</section>"


def _filled(one: Filled, number: int, count: int) -> str:
    name = f"Template {number}, with one of your rows" if count > 1 else "The prompt, with one of your rows"
    unread = f"<span class='ts-slot-unread'>{escape(one.unread)}</span>" if one.unread else ""
    if one.unread.strip(" ."):
        unread += "<span class='ts-cut'>What stands after the slot is not read by this model.</span>"
    text = f"<mark class='ts-slot'>{SLOT}</mark>".join(map(escape, one.parts)) + unread
    box = f"<div class='ts-text ts-slot-text' tabindex='0' role='region' aria-label='{name}'>{text}</div>"
    return f"<div><p class='ts-quiet'>{name}</p>{box}</div>"


def _table(found: Sequence[Word]) -> str:
    rows = "".join(map(_row, found[:MOST_WORDS]))
    rest = found[MOST_WORDS:]
    more = f"<p class='ts-quiet'>{words.counted(len(rest), 'label')} more.</p>" if rest else ""
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("Label", "Word", "Tokens"))
    return (
        "<div class='ts-scroll' tabindex='0' role='region' aria-label='Labels and their words'>"
        f"<table class='ts-slot-words'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}"
    )


def _row(one: Word) -> str:
    own = "<span class='ts-second-line'>the label’s own name</span>" if one.is_own_name else ""
    return f"<tr><th scope='row'>{escape(one.label)}</th><td>{escape(one.word)}{own}</td><td>{_split(one)}</td></tr>"


def _split(one: Word) -> str:
    note = f"<span class='ts-second-line'>{escape(one.note)}</span>" if one.note else ""
    if not one.tokens:
        return note or "–"
    pieces = "<span aria-hidden='true'> + </span>".join(f"<code>{escape(piece)}</code>" for piece in one.pieces)
    return (
        f"{words.counted(one.tokens, 'token')}{': ' if one.tokens > 1 else ''}{pieces if one.tokens > 1 else ''}{note}"
    )
