"""What was found in data, as markup: findings that open their rows, with the buttons that mend them.

The buttons and the rows are brought to life by static/data.js. Whatever comes from a file is escaped here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from engine.data import remedies, turns
from engine.data.example import Example
from engine.errors import DataError
from engine.specs.sections import Data
from ui import example_files, marking, words

MOST_PLACES = 5
MOST_LETTERS = 600
_SCRIPT = (
    "import(new URL('tunesmith/static/{}', document.baseURI).href)"
    ".then((script) => script.{}(element, trigger, watch));"
)


def live(part: str, script: str = "data.js") -> gr.HTML:
    """Markup that a part of a script in static/ looks after: it is given the element, `trigger` and `watch`."""
    return words.html(js_on_load=_SCRIPT.format(script, part))


def asked(event: gr.EventData) -> dict[str, Any]:
    """What a part of static/data.js says with an event. It comes from anybody, so nothing of it is taken on trust."""
    return event._data if isinstance(event._data, dict) else {}


def found(report: Mapping[str, Any], entry: Data, did: str = "") -> str:
    """What the data holds, from engine.data.report. did: what was just done to it."""
    parts = [f"<p class='ts-did' role='status' tabindex='-1'>{escape(did)}</p>"] if did else []
    parts += [
        f"<h2>{words.counted(report['rows'], 'row')}: {escape(report['title'])}</h2>",
        _origin(report),
    ]
    if report["splits"]:
        parts.append(f"<p>{_split(report['splits'])}</p>")
    if report["error"]:
        parts.append(words.failure(DataError(report["error"]["problem"], report["error"]["fix"])))
    parts.append(_suits(report["suits"]))
    if report["problems"]:
        parts.append(_problems(report["problems"]))
    listed = [finding for finding in report["findings"] if finding["count"]]
    if listed:
        parts += ["<h3>Worth a look</h3>", _list(map(_finding, listed))]
    elif not report["problems"] and not report["error"]:
        parts.append(
            "<p>Nothing to mend: no repeats, no empty rows, no labels at odds, and nothing that looks like "
            "personal data.</p>"
        )
    if report["notices"]:
        parts += ["<h3>How it was read</h3>", words.listing(map(escape, report["notices"]))]
    values = escape(json.dumps(entry.model_dump(mode="json")))
    return f"<section class='ts-stack ts-found' data-entry='{values}'>{''.join(parts)}</section>"


def example(made: Example, row: Mapping[str, Any], further: Sequence[Example] = ()) -> str:
    """The first row as it stands, and beside it what becomes of it. further: rows of which only that is shown."""
    cells = "".join(
        f"<dt>{escape(str(name))}</dt><dd>{escape(_cut(turns.shown(value)))}</dd>" for name, value in row.items()
    )
    return (
        "<section class='ts-example' aria-label='The first row'><div><h3>The first row, as it stands</h3>"
        f"<dl class='ts-asked'>{cells}</dl></div><div><h3>As it is learned</h3>{_conversation(made)}"
        f"{''.join(map(_conversation, further))}"
        "<p class='ts-quiet'>What is coloured is learned. The rest is read.</p></div></section>"
    )


def columns(report: Mapping[str, Any]) -> str:
    """All columns with what they hold, folded."""
    lines = "".join(
        f"<tr><th scope='row'>{escape(column['name'])}</th><td>{escape(column['kind'])}</td>"
        f"<td>{column['distinct']:,}</td><td class='ts-words'>{escape(words.brief(column['example']))}</td></tr>"
        for column in report["columns"]
    )
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("Column", "Holds", "Different values", "For example"))
    return (
        f"<details><summary>{words.counted(len(report['columns']), 'column')}, and what they hold</summary>"
        "<div class='ts-scroll' tabindex='0' role='region' aria-label='Columns'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div></details>"
    )


def first_rows(file: str, rows: Sequence[Sequence[tuple[str, str]]]) -> str:
    """Rows of a Hub data set before it is read."""
    shown = "".join(
        "<dl class='ts-asked ts-row'>"
        + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in row)
        + "</dl>"
        for row in rows
    )
    return f"<section class='ts-stack'><h3>The first rows of {escape(file)}</h3>{shown}</section>"


def _origin(report: Mapping[str, Any]) -> str:
    if not report["history"]:
        return f"<p><span class='ts-quiet'>{escape(report['source'])}.</span> {escape(report['why'])}</p>"
    steps = "".join(f"<li>{escape(step)}</li>" for step in [report["title_of_first"], *report["history"]])
    return (
        f"<div class='ts-history'><ol aria-label='What was done'>{steps}</ol>"
        "<button type='button' class='ts-button' data-undo>Undo the last step</button></div>"
        "<p><span class='ts-quiet'>Your file is as it was; this is a version beside it.</span> "
        f"{escape(report['why'])}</p>"
    )


def _suits(suits: Sequence[Mapping[str, Any]]) -> str:
    """What can be learned from the data, and, folded, what the other objectives miss in it."""
    if not suits:
        return ""
    good: dict[str, list[str]] = {}
    rest: dict[str, list[str]] = {}
    for one in suits:
        into, why = (rest, one["missing"]) if one["missing"] else (good, one["how"])
        into.setdefault(str(why), []).append(f"<b>{escape(str(one['title']))}</b>")
    each = [", ".join(titles) + (f" ({escape(how)})" if how else "") for how, titles in sorted(good.items())]
    told = f"<p>Good for: {'; '.join(each)}.</p>" if good else "<p><b>No objective can learn from it as it is.</b></p>"
    lines = "".join(f"<li>{', '.join(titles)}: {escape(why)}</li>" for why, titles in rest.items())
    summary = "What the others miss in it" if good else "What each misses in it"
    more = f"<details><summary>{summary}</summary><ul>{lines}</ul></details>" if lines else ""
    if good:
        return told + more
    return f"{told}{more}<div><p>Examples of what can be learned from:</p>{example_files.links()}</div>"


def _split(counts: Mapping[str, int]) -> str:
    parts = [f"{counts.get('train', 0):,} to learn from"]
    parts += [f"{counts['validation']:,} to watch the training by"] if counts.get("validation") else []
    parts += [f"{counts['test']:,} to score the model on, before and after"] if counts.get("test") else []
    return ", ".join(parts) + "."


def _problems(groups: Sequence[Mapping[str, Any]]) -> str:
    count = sum(group["count"] for group in groups)
    help = "They stand in the way of the start: mend them, in the file or here, or leave them out."
    every = _button(remedies.get(remedies.DROP_PROBLEMS), f"{words.counted(count, 'row')} with problems")
    return (
        f"<div class='ts-findings-head'><div><h3>{words.counted(count, 'row')} with problems</h3>"
        f"<p class='ts-quiet'>{help}</p></div>{every}</div>{_list(map(_problem, groups))}"
    )


def _problem(group: Mapping[str, Any]) -> str:
    places = [*map(str, group["places"][:MOST_PLACES]), *(["…"] if group["count"] > MOST_PLACES else [])]
    where = f" ({escape(', '.join(places))})" if places else ""
    return _item(group, f"{escape(group['problem'])}{where}", group["problem"], escape(group["fix"]))


def _finding(finding: Mapping[str, Any]) -> str:
    return _item(finding, escape(finding["title"]), finding["title"], escape(finding["help"]))


def _item(item: Mapping[str, Any], title: str, plain: str, help: str) -> str:
    """A finding that opens its rows, and the buttons that do something about it."""
    buttons = "".join(_button(remedies.get(name), plain) for name in item["remedies"])
    body = f"<p>{help}</p>" + ("<div data-rows></div>" if item["rows"] else "")
    return (
        f"<li class='ts-finding'><details data-finding='{escape(item['name'])}'>"
        f"<summary><span class='ts-count'>{item['count']:,}</span> <span>{title}</span></summary>{body}</details>"
        f"<div class='ts-finding-acts'>{buttons}</div></li>"
    )


def _button(remedy: remedies.Remedy, about: str) -> str:
    return (
        f"<button type='button' class='ts-button' data-remedy='{escape(remedy.name)}' title='{escape(remedy.help)}' "
        f"aria-label='{escape(remedy.title)}: {escape(about)}'>{escape(remedy.title)}</button>"
    )


def _list(items: Iterable[str]) -> str:
    return f"<ul class='ts-findings'>{''.join(items)}</ul>"


def _conversation(made: Example) -> str:
    if made.marks is not None:
        none = "" if made.marks else "\n<span class='ts-turn'>(nothing is marked)</span>"
        return f"<div class='ts-text'>{marking.marked(made.text, made.marks, MOST_LETTERS)}{none}</div>"
    said = [(str(turn["role"]), str(turn["content"])) for turn in made.messages]
    texts = [("text", made.text), *([("second text", made.second)] if made.second else [])]
    name = "label" if made.labels is None and made.number is None else "number" if made.labels is None else "labels"
    answer = made.label or ("none" if made.labels is not None else "")
    said = said or [*texts, *([(name, answer)] if answer else [])]
    lines = []
    for role, text in said:
        shown = escape(_cut(text))
        learned = role in ("assistant", "label", "labels", "number") or len(said) == 1  # a text by itself
        lines.append(f"<span class='ts-turn'>{escape(role)}:</span> {f'<mark>{shown}</mark>' if learned else shown}")
    return f"<div class='ts-text'>{chr(10).join(lines)}</div>"


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"
