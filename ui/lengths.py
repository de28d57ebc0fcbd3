"""How long rows are in tokens, and the line at which they are cut: a picture whose line can be moved.

Drawn by static/lengths.js, which counts in the browser and tells the page where the line was put.
"""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Callable, Sequence
from html import escape

from engine.settings import describe
from engine.specs.sections import Training
from engine.texts.preview import Lengths

MOST_STOPS = 96
"""Places where the line can stand: each is a few pixels wide."""
_LONG_TAIL = 8
"""Longest row over median from which on the axis grows with the root, so that the many short rows can be told apart."""


def picture(lengths: Lengths) -> str:
    """The place of the picture with what it is drawn from; "" where no row has a length."""
    full = sorted(length for length in lengths.full if length)
    if not full:
        return ""
    stops = _stops(full[-1], full[len(full) // 2], lengths.max_tokens)
    first = [place for place in lengths.first_learned if place is not None]
    drawn = {
        "stops": stops,
        "rows": _binned(full, stops, bisect.bisect_left),
        # A row has lost its answer where the line stands at the answer's first token or before it.
        "answers": _binned(first, stops, bisect.bisect_right),
        "total": len(full),
        "max_tokens": lengths.max_tokens,
    }
    half = full[(len(full) - 1) // 2]
    told = f"Half of the rows have at most {half:,} tokens, the longest has {full[-1]:,}."
    return (
        f"<h3>How long the rows are</h3><figure class='ts-lengths' data-lengths='{escape(json.dumps(drawn))}'>"
        f"<figcaption><span class='ts-quiet'>{told} Rows are cut at the line; move it to change 'Longest row'. "
        "Across: tokens; up: how many rows.</span></figcaption></figure>"
    )


def _stops(longest: int, median: int, max_tokens: int) -> list[int]:
    """Lengths at which the line can stand, from the least that the setting allows to one that cuts nothing."""
    least = int(next(setting.minimum or 1 for setting in describe(Training) if setting.name == "max_tokens"))
    top = max(longest, least + 1)
    rooted = longest > _LONG_TAIL * median
    ends = (math.sqrt(least), math.sqrt(top)) if rooted else (float(least), float(top))
    found = {top, least}
    for number in range(MOST_STOPS + 1):
        at = ends[0] + (ends[1] - ends[0]) * number / MOST_STOPS
        found.add(_round(at * at if rooted else at, (top - least) / MOST_STOPS))
    if least <= max_tokens < top:
        found.add(max_tokens)
    return sorted(stop for stop in found if least <= stop <= top)


def _round(value: float, step: float) -> int:
    """To 8 tokens where stops are that far apart: a number that people would choose."""
    return round(value / 8) * 8 if step >= 8 and value > 64 else round(value)


def _binned(values: Sequence[int], stops: list[int], side: Callable[[Sequence[int], int], int]) -> list[int]:
    """How many values lie before each stop and after the one before; what lies beyond the last is counted there."""
    counts = [0] * len(stops)
    for value in values:
        counts[min(side(stops, value), len(stops) - 1)] += 1
    return counts
