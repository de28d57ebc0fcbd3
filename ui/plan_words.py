"""What a run will do and cost, as markup."""

from __future__ import annotations

from html import escape

from engine.planning.explain import Explanation, span
from engine.planning.plan import Plan
from ui import lengths, mix_view, words

PHASES = {
    "load": "Loading",
    "score before": "Scoring before",
    "score baseline": "Second baseline",
    "answers": "The teacher writes",
    "teacher": "Asking the teacher",
    "features": "Computing features",
    "train": "Training",
    "score after": "Scoring after",
}
"""Parts of a run's time, as they are called on the page."""
MEASURING = "Measuring how fast this machine is, once; some 15 seconds…"


def plan(explanation: Explanation) -> str:
    """What will happen, in a sentence; what to beware of; memory and time by part."""
    cautions = "".join(f"<p>{escape(caution)}</p>" for caution in explanation.cautions)
    noted = f"<div class='ts-note ts-caution'>{cautions}</div>" if cautions else ""
    measuring = f" <span role='status'>{MEASURING}</span>" if explanation.measuring else ""
    return (
        f"<section class='ts-stack'><h2>{escape(words.model_title(explanation.model))}</h2>"
        f"<p class='ts-lead'>{words.bound(escape(explanation.sentence))}</p>"
        f"<p class='ts-quiet'>{words.bound(escape(explanation.learning))}{measuring}</p>{noted}"
        f"<h3>Memory at its peak: {_amount(explanation.plan)}</h3>{_memory(explanation.plan)}"
        f"{mix_view.shown(explanation.mix, explanation.epochs)}{lengths.picture(explanation.lengths)}</section>"
    )


def reasons(explanation: Explanation) -> str:
    """Time by part, and a sentence for each choice that was made for the person."""
    told = [reason for reason in explanation.plan.reasons if reason not in explanation.cautions]
    return (
        f"<section class='ts-stack'>{_times(explanation.plan)}"
        f"<h3>Chosen for this machine and this data</h3>{words.listing(map(escape, told))}</section>"
    )


def advice(reason: str) -> str:
    return f"<p class='ts-advice'><strong>Recommended for your data.</strong> {escape(reason)}</p>" if reason else ""


def _amount(made: Plan) -> str:
    return f"{words.size(made.memory_bytes)} of {words.size(made.memory_available)}"


def _memory(made: Plan) -> str:
    total = max(made.memory_available, made.memory_bytes, 1)
    parts = [(number % 7, part) for number, part in enumerate(made.memory) if part.bytes]
    widths = [(number, 100 * part.bytes / total) for number, part in parts]
    spans = "".join(f"<span class='ts-part-{number}' style='width:{width:.2f}%'></span>" for number, width in widths)
    legend = "".join(
        f"<li><i class='ts-part-{number}'></i>{escape(part.name)} {words.size(part.bytes)}</li>"
        for number, part in parts
    )
    bar = f"<div class='ts-memory' role='img' aria-label='Memory: {_amount(made)}'>{spans}</div>"
    return f"{bar}<ul class='ts-legend'>{legend}</ul>"


def _times(made: Plan) -> str:
    if not made.seconds:
        return ""
    lines = "".join(
        f"<div><dt>{escape(PHASES.get(part.name, part.name))}</dt><dd>{escape(span(part.seconds))}</dd></div>"
        for part in made.seconds
    )
    like = {
        1.5: "From the speed of this machine alone: it may take half as long again, or less.",
        1.35: "From the speed of this machine and earlier runs on it.",
    }.get(made.seconds_within, "From earlier runs like this one on this machine.")
    return f"<h3>Time</h3><dl class='ts-times'>{lines}</dl><p class='ts-quiet'>{like}</p>"
