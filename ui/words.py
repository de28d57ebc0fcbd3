"""Problems, plans and rows as markup. Whatever comes from people or models is escaped here, once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

import gradio as gr

from engine.bases import catalog
from engine.data import turns
from engine.errors import SettingError, UserError
from engine.texts.preview import PreviewRow

MOST_SHOWN = 8
MOST_LETTERS = 160


def html(value: str = "", **options: Any) -> gr.HTML:
    """Markup in the page's own style, without Gradio's for prose."""
    return gr.HTML(value, apply_default_css=False, **options)


def heading(title: str, text: str) -> str:
    return f"<h1>{escape(title)}</h1><p class='ts-quiet'>{escape(text)}</p>"


def waiting(text: str) -> str:
    return f"<p class='ts-quiet' role='status'>{escape(text)}</p>"


def failure(error: UserError) -> str:
    """A problem and what to do about it, in place of what would have stood here."""
    problems = error.problems if isinstance(error, SettingError) else [error.problem]
    told = "".join(f"<p><strong>{escape(problem)}</strong></p>" for problem in problems)
    return f"<div class='ts-note ts-bad' role='alert'>{told}<p>{escape(error.fix)}</p></div>"


def refusal(reason: str) -> str:
    return f"<div class='ts-note ts-bad' role='alert'><p><strong>{escape(reason)}</strong></p></div>"


def preview(rows: Sequence[tuple[PreviewRow, Mapping[str, Any]]], answers: bool = True) -> str:
    """Rows as they stand in the data and as the model reads them; what is learned is marked.

    answers: whether it learns to write; else it learns to name a label for all that it reads.
    """
    shown = []
    for row, raw in rows:
        shown_cells = ((str(name), brief(turns.shown(value))) for name, value in raw.items())
        cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in shown_cells)
        cut = ", cut at the end" if row.truncated else ""
        figures = f"{row.tokens:,} tokens{f', {row.learned:,} of them learned' if answers else ''}{cut}"
        problem = f"<p><strong>{escape(row.problem)}</strong></p>" if row.problem else ""
        asked = f"<dl class='ts-asked'>{cells}</dl>" if cells else ""
        shown.append(f"<h3>Row {row.row}: {figures}</h3>{problem}{asked}{_pieces(row)}")
    learned = (
        "It reads all of it; <mark class='ts-key'>what is coloured</mark> is what it learns to write."
        if answers
        else "It reads all that is coloured, and learns which label goes with it."
    )
    if any(row.example.marks is not None for row, _ in rows):
        learned = "It reads all that is coloured, and learns of each token whether it is marked, and as what."
    above = (
        "Above, the row in your data. Below, the text that it becomes, with the marks that this model knows. "
        if any(raw for _, raw in rows)
        else ""
    )
    return (
        "<section class='ts-stack'><h2>The first rows, as the model will read them</h2>"
        f"<p class='ts-quiet'>{above}{learned}</p>{''.join(shown)}</section>"
    )


def counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def size(count: int) -> str:
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"


def model_title(id: str) -> str:
    """An embedded model's title; other models are called by their id."""
    return catalog.embedded(id).title if id.startswith(catalog.PREFIX) else id


def bound(text: str) -> str:
    """Figures stay on one line with their units."""
    return re.sub(r"(?<=\d) (?=%|[MG]B)", "\u00a0", text)


def _pieces(row: PreviewRow) -> str:
    """The text of a row; what is learned of it is marked in one piece."""
    text = ""
    for learned, pieces in groupby(row.pieces, key=lambda piece: piece[1]):
        together = escape("".join(piece for piece, _ in pieces))
        text += f"<mark>{together}</mark>" if learned else together
    if row.truncated:
        text += "<span class='ts-cut'>The rest of this row is cut, and never seen.</span>"
    return f"<div class='ts-text ts-long' tabindex='0' role='region' aria-label='Row {row.row}'>{text}</div>"


def listing(items: Iterable[str]) -> str:
    """A list of markup, its first items."""
    lines = [f"<li>{item}</li>" for item in items]
    more = f"<li>and {len(lines) - MOST_SHOWN:,} more</li>" if len(lines) > MOST_SHOWN else ""
    return f"<ul>{''.join(lines[:MOST_SHOWN])}{more}</ul>" if lines else ""


def brief(value: Any) -> str:
    """A text on one line, its beginning where it is long."""
    text = " ".join(str(value).split())
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"
