"""How several data sets are mixed, as markup: a bar of what a pass takes, and each set with a weight to move."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from engine.data.mixture import Part
from ui import words

COLOURS = (0, 3, 1, 4, 2, 5, 6)
"""Of the style sheet's `ts-part-…`, in an order in which neighbours differ most."""
SCALE = (0.1, 0.2, 0.5, 1, 2, 3, 5, 10)
"""Weights that a slider can stand on; static/mix.js reads them from the markup."""


def sliders(parts: Sequence[Part], weights: Sequence[float], epochs: float) -> str:
    """With a slider for the weight of each."""
    scale = " ".join(f"{weight:g}" for weight in SCALE)
    lines = "".join(
        _line(number, part, epochs, _slider(number, part.title, weight))
        for number, (part, weight) in enumerate(zip(parts, weights, strict=True))
    )
    return f"<div class='ts-mix' data-scale='{scale}'>{_bar(parts)}<ol class='ts-mix-sets'>{lines}</ol></div>"


def shown(parts: Sequence[Part], epochs: float) -> str:
    """As it is; nothing where there are not several."""
    if not parts:
        return ""
    lines = "".join(_line(number, part, epochs, "") for number, part in enumerate(parts))
    return (
        "<h3>What a pass takes of each data set</h3>"
        f"<div class='ts-mix'>{_bar(parts)}<ol class='ts-mix-sets'>{lines}</ol></div>"
    )


def _bar(parts: Sequence[Part]) -> str:
    whole = max(1, sum(_measure(parts)))
    spans = "".join(
        f"<span class='ts-part-{COLOURS[number % len(COLOURS)]}' style='width:{100 * amount / whole:.2f}%'></span>"
        for number, amount in enumerate(_measure(parts))
    )
    return f"<div class='ts-memory' role='presentation'>{spans}</div>"


def _measure(parts: Sequence[Part]) -> list[int]:
    """What the bar is of: tokens where they are known, else rows."""
    return [part.tokens or part.taken for part in parts] if all(part.tokens for part in parts) else _taken(parts)


def _taken(parts: Sequence[Part]) -> list[int]:
    return [part.taken for part in parts]


def _line(number: int, part: Part, epochs: float, slider: str) -> str:
    tokens = f", {part.tokens:,} tokens" if part.tokens else ""
    passes = part.passes(epochs)
    read = f"each read {passes:.3g} times" if passes >= 1 else f"{100 * passes:.0f} % of them read at all"
    told = f"{part.taken:,} rows a pass{tokens}; it has {part.rows:,}, {read}"
    return (
        f"<li><p><i class='ts-part-{COLOURS[number % len(COLOURS)]}'></i><b>{escape(part.title)}</b> "
        f"<span class='ts-quiet'>{words.bound(escape(told))}</span></p>{slider}</li>"
    )


def _slider(number: int, title: str, weight: float) -> str:
    nearest = min(range(len(SCALE)), key=lambda place: abs(SCALE[place] - weight))
    name = f"Weight of {escape(title, quote=True)}"
    return (
        f"<label class='ts-weight'><span>Weight</span><input type='range' min='0' max='{len(SCALE) - 1}' step='1' "
        f"value='{nearest}' data-set='{number}' data-weight='{weight:g}' aria-label='{name}' "
        f"aria-valuetext='{weight:g} times'><output>{weight:g}</output></label>"
    )
