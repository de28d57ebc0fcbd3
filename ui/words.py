"""Findings, plans and rows as markup. Whatever comes from people or models is escaped here, once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

import gradio as gr

from engine import catalog
from engine.errors import SettingError, UserError
from engine.explain import Explanation
from engine.preview import PreviewRow

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


def found(report: Mapping[str, Any]) -> str:
    """What a data file holds, from engine.data.report.check."""
    parts = [
        f"<h2>{counted(report['rows'], 'row')}: {escape(report['title'])}</h2>",
        f"<p><span class='ts-quiet'>{escape(report['source'])}.</span> {escape(report['why'])}</p>",
    ]
    if report["splits"]:
        parts.append(f"<p>{_split(report['splits'])}</p>")
    if report["error"]:
        error = report["error"]
        parts.append(
            f"<div class='ts-note ts-bad' role='alert'><p><strong>{escape(error['problem'])}</strong></p>"
            f"<p>{escape(error['fix'])}</p></div>"
        )
    if report["notices"]:
        parts.append(_list(map(escape, report["notices"])))
    if report["problems"]:
        parts += ["<h3>Rows with problems</h3>", _list(map(_problem, report["problems"]))]
    return f"<section class='ts-stack'>{''.join(parts)}</section>"


def details(report: Mapping[str, Any]) -> str:
    """What is worth knowing besides, the columns, and a row as it is learned."""
    parts = []
    findings = [finding for finding in report["findings"] if finding["count"]]
    if findings:
        parts += ["<h3>Worth knowing</h3>", _list(map(_finding, findings))]
    parts += ["<h3>Columns</h3>", _columns(report["columns"])]
    if report["examples"]:
        parts += ["<h3>The first row, as it is learned</h3>", _conversation(report["examples"][0])]
    return f"<section class='ts-stack'>{''.join(parts)}</section>"


def plan(explanation: Explanation) -> str:
    """What a run will do, its memory by part, and the reason for each choice."""
    made = explanation.plan
    total = max(made.memory_available, made.memory_bytes, 1)
    parts = [(number % 7, part) for number, part in enumerate(made.memory) if part.bytes]
    widths = [(number, 100 * part.bytes / total) for number, part in parts]
    spans = "".join(f"<span class='ts-part-{number}' style='width:{width:.2f}%'></span>" for number, width in widths)
    legend = "".join(
        f"<li><i class='ts-part-{number}'></i>{escape(part.name)} {size(part.bytes)}</li>" for number, part in parts
    )
    label = f"Memory: {size(made.memory_bytes)} of {size(made.memory_available)}"
    notes = list(made.reasons)
    if explanation.lengths.unlearned:
        notes.insert(0, f"In {counted(explanation.lengths.unlearned, 'row')} nothing is left to learn after the cut.")
    if explanation.lengths.truncated:
        notes.insert(0, f"{counted(explanation.lengths.truncated, 'row')} longer than allowed, cut at the end.")
    return (
        f"<section class='ts-stack'><h2>{escape(model_title(explanation.model))}</h2>"
        f"<p class='ts-lead'>{_bound(escape(explanation.sentence))}</p>"
        f"<div class='ts-memory' role='img' aria-label='{label}'>{spans}</div><ul class='ts-legend'>{legend}</ul>"
        f"<h3>Chosen for this machine and this data</h3>{_list(map(escape, notes))}</section>"
    )


def preview(rows: Sequence[tuple[PreviewRow, Mapping[str, Any]]]) -> str:
    """Rows as they stand in the data and as the model reads them; what is learned is marked."""
    shown = []
    for row, raw in rows:
        cells = "".join(f"<dt>{escape(str(name))}</dt><dd>{escape(_brief(value))}</dd>" for name, value in raw.items())
        cut = ", cut at the end" if row.truncated else ""
        figures = f"{row.tokens:,} tokens, {row.learned:,} of them learned{cut}"
        problem = f"<p><strong>{escape(row.problem)}</strong></p>" if row.problem else ""
        shown.append(f"<h3>Row {row.row}: {figures}</h3>{problem}<dl class='ts-asked'>{cells}</dl>{_pieces(row)}")
    return (
        "<section class='ts-stack'><h2>The first rows, as the model will read them</h2>"
        "<p class='ts-quiet'>Above, the row in your data. Below, the text that it becomes, with the marks that this "
        f"model knows. Only what is coloured is learned.</p>{''.join(shown)}</section>"
    )


def counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def model_title(id: str) -> str:
    """An embedded model's title; other models are called by their id."""
    return catalog.embedded(id).title if id.startswith(catalog.PREFIX) else id


def _bound(text: str) -> str:
    """Figures stay on one line with their units."""
    return re.sub(r"(?<=\d) (?=%|[MG]B)", "\u00a0", text)


def _split(counts: Mapping[str, int]) -> str:
    parts = [f"{counts.get('train', 0):,} to learn from"]
    parts += [f"{counts['validation']:,} to watch the training by"] if counts.get("validation") else []
    parts += [f"{counts['test']:,} to score the model on, before and after"] if counts.get("test") else []
    return ", ".join(parts) + "."


def _columns(columns: Sequence[Mapping[str, Any]]) -> str:
    lines = "".join(
        f"<tr><th scope='row'>{escape(column['name'])}</th><td>{escape(column['kind'])}</td>"
        f"<td>{column['distinct']:,}</td><td class='ts-words'>{escape(_brief(column['example']))}</td></tr>"
        for column in columns
    )
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("Column", "Holds", "Different values", "For example"))
    return (
        "<div class='ts-scroll' tabindex='0' role='region' aria-label='Columns'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _pieces(row: PreviewRow) -> str:
    """The text of a row; what is learned of it is marked in one piece."""
    text = ""
    for learned, pieces in groupby(row.pieces, key=lambda piece: piece[1]):
        together = escape("".join(piece for piece, _ in pieces))
        text += f"<mark>{together}</mark>" if learned else together
    return f"<div class='ts-text'>{text}</div>"


def _conversation(example: Mapping[str, Any]) -> str:
    turns = [(turn["role"], turn["content"]) for turn in example.get("messages", [])]
    turns = turns or [("text", example.get("text", "")), ("label", example.get("label", ""))]
    lines = [f"<span class='ts-turn'>{escape(str(role))}:</span> {escape(str(content))}" for role, content in turns]
    return f"<div class='ts-text'>{chr(10).join(lines)}</div>"


def _problem(group: Mapping[str, Any]) -> str:
    places = [*map(str, group["places"][:5]), *(["…"] if group["count"] > 5 else [])]
    where = f" ({escape(', '.join(places))})" if places else ""
    return f"{counted(group['count'], 'row')}{where}: {escape(group['problem'])} {escape(group['fix'])}"


def _finding(finding: Mapping[str, Any]) -> str:
    return f"{finding['count']:,} {escape(_lower(finding['title']))}. {escape(finding['help'])}"


def _list(items: Iterable[str]) -> str:
    lines = [f"<li>{item}</li>" for item in items]
    more = f"<li>and {len(lines) - MOST_SHOWN:,} more</li>" if len(lines) > MOST_SHOWN else ""
    return f"<ul>{''.join(lines[:MOST_SHOWN])}{more}</ul>" if lines else ""


def _brief(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]
