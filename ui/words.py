"""Findings, plans and rows as markup. Whatever comes from people or models is escaped here, once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from typing import Any

from engine.explain import Explanation
from engine.preview import PreviewRow

_SHOWN = 6


def found(report: dict[str, Any]) -> str:
    """What a data file holds, from engine.data.report.check."""
    parts = [f"<h2>{_count(report['rows'], 'row')}: {escape(report['title'])}</h2>", f"<p>{escape(report['why'])}</p>"]
    if report["error"]:
        parts.append(f"<p><strong>{escape(report['error']['problem'])}</strong> {escape(report['error']['fix'])}</p>")
    if report["splits"]:
        used = report["splits"]
        parts.append(
            f"<p>{used.get('train', 0):,} to learn from, {used.get('validation', 0):,} to watch progress, "
            f"{used.get('test', 0):,} to score before and after.</p>"
        )
    if report["examples"]:
        parts += ["<h3>A row as it is learned</h3>", _conversation(report["examples"][0])]
    if report["problems"]:
        parts.append("<h3>Rows with problems</h3>")
        parts.append(_list(_problem(group) for group in report["problems"][:_SHOWN]))
    notable = [finding for finding in report["findings"] if finding["count"]]
    if notable:
        parts.append("<h3>Worth knowing</h3>")
        parts.append(_list(f"{escape(f['title'])} ({f['count']:,}): {escape(f['help'])}" for f in notable[:_SHOWN]))
    if report["notices"]:
        parts.append(_list(escape(notice) for notice in report["notices"][:_SHOWN]))
    return f"<div class='ts-found'>{''.join(parts)}</div>"


def plan(explanation: Explanation) -> str:
    """What a run will do, its memory by part, and why."""
    made = explanation.plan
    total = max(made.memory_available, made.memory_bytes, 1)
    spans = "".join(
        f"<span style='width:{100 * part.bytes / total:.2f}%' title='{escape(part.name)}: {_size(part.bytes)}'></span>"
        for part in made.memory
    )
    legend = ", ".join(f"{escape(part.name)} {_size(part.bytes)}" for part in made.memory if part.bytes)
    label = f"Memory: {_size(made.memory_bytes)} of {_size(made.memory_available)}"
    notes = []
    if explanation.lengths.truncated:
        notes.append(f"{_count(explanation.lengths.truncated, 'row')} longer than allowed, cut at the end.")
    if explanation.lengths.unlearned:
        notes.append(f"In {_count(explanation.lengths.unlearned, 'row')} nothing is left to learn after the cut.")
    return (
        f"<p class='ts-plan'>{escape(explanation.sentence)}</p>"
        f"<div class='ts-memory' role='img' aria-label='{label}'>{spans}</div>"
        f"<p class='ts-quiet'>{legend}</p>{_list([*map(escape, notes), *map(escape, made.reasons)])}"
    )


def preview(rows: Sequence[PreviewRow]) -> str:
    """Rows as the model reads them; what is learned is marked."""
    shown = []
    for row in rows:
        if row.problem:
            shown.append(f"<p><strong>Row {row.row}:</strong> {escape(row.problem)}</p>")
            continue
        text = ""
        for learned, pieces in groupby(row.pieces, key=lambda piece: piece[1]):
            together = escape("".join(piece for piece, _ in pieces))
            text += f"<mark>{together}</mark>" if learned else together
        cut = ", cut at the end" if row.truncated else ""
        shown.append(f"<p class='ts-quiet'>Row {row.row}: {row.tokens} tokens, {row.learned} of them learned{cut}</p>")
        shown.append(f"<div class='ts-text'>{text}</div>")
    return "<h3>Rows as the model reads them; what it learns is marked</h3>" + "".join(shown)


def _conversation(example: dict[str, Any]) -> str:
    if "messages" not in example:
        return f"<div class='ts-text'>{escape(example['text'])}\n→ {escape(example['label'])}</div>"
    lines = [f"{escape(str(m['role']))}: {escape(str(m['content']))}" for m in example["messages"]]
    return f"<div class='ts-text'>{chr(10).join(lines)}</div>"


def _problem(group: dict[str, Any]) -> str:
    places = ", ".join(map(str, group.get("places", [])[:5]))
    where = f" ({escape(places)})" if places else ""
    return f"{_count(group.get('count', 1), 'row')}{where}: {escape(group['problem'])} {escape(group.get('fix', ''))}"


def _list(items: Iterable[str]) -> str:
    lines = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{lines}</ul>" if lines else ""


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
