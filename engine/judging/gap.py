"""How much of the distance to its teacher a model has closed, on the same held-out rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.data.rows import counted
from engine.judging import evidence, pairing
from engine.judging.evidence import Evidence
from engine.judging.measures import measure
from engine.judging.pairing import RESAMPLES, SEED
from engine.judging.scores import OWN_ANSWERS, TEACHER, ScoredRow


@dataclass(frozen=True)
class Gap:
    """Means over the rows that all three answered, and the share of the gap that is closed with its 95 % interval.

    share: (after - before) / (teacher - before); None where no gap is measurable.
    """

    rows: int
    before: float
    teacher: float
    after: float
    share: float | None = None
    low: float = 0.0
    high: float = 0.0


def closed(before: Sequence[float], teacher: Sequence[float], after: Sequence[float], lower_is_better: bool) -> Gap:
    """Scores or losses of the same rows, in the same order.

    The interval is a percentile bootstrap over rows (Efron and Tibshirani 1993). It reaches 0 wherever the paired
    difference of before and after does: what may be chance is no share of anything.
    """
    sign = -1.0 if lower_is_better else 1.0
    first, best, last = (np.asarray(values, dtype=float) for values in (before, teacher, after))
    found = Gap(len(first), float(first.mean()), float(best.mean()), float(last.mean()))
    apart = pairing.difference([sign * one for one in before], [sign * one for one in teacher])
    if apart.low <= 0:
        return found
    draws = np.random.default_rng(SEED).integers(0, len(first), (RESAMPLES, len(first)))
    gaps = (best - first)[draws].mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (last - first)[draws].mean(axis=1) / gaps
    usual = shares[sign * gaps > 0]  # few draws, if any, hold no gap
    low, high = map(float, np.percentile(usual, (2.5, 97.5)))
    if not pairing.difference(before, after).certain:
        low, high = min(low, 0.0), max(high, 0.0)
    share = (found.after - found.before) / (found.teacher - found.before)
    return Gap(found.rows, found.before, found.teacher, found.after, share, low, high)


def told(found: Evidence, name: str) -> Iterator[str]:
    """What the run came to beside its teacher, in sentences. name: of the measure by which the run was judged."""
    names = dict.fromkeys((name, "loss"))
    for one in names:
        gap = measured(found, one)
        if gap is not None:
            yield _sentence(gap, one)
    yield from _costs(found.metrics.get("models") or {})


def measured(found: Evidence, name: str) -> Gap | None:
    """The gap in a measure; None where it was not scored."""
    rows = found.baselines.get(TEACHER, [])
    asked = {(row.row, row.prompt, row.expected): row for row in rows}
    triples = [
        (value(a, name), value(asked[key], name), value(b, name))
        for a, b in evidence.paired(found.before, found.after)
        if (key := (b.row, b.prompt, b.expected)) in asked
    ]
    whole = [(a, t, b) for a, t, b in triples if a is not None and t is not None and b is not None]
    if not whole:
        return None
    before, teacher, after = zip(*whole, strict=True)
    return closed(before, teacher, after, measure(name).lower_is_better)


def value(row: ScoredRow, name: str) -> float | None:
    return row.loss if name == "loss" else row.score


def _sentence(gap: Gap, name: str) -> str:
    scale = measure(name)
    before, teacher, after = map(scale.written, (gap.before, gap.teacher, gap.after))
    what = "held-out loss, row by row," if name == "loss" else scale.title.lower()
    figures = (
        f"Teacher and model by {what} on the same {counted(gap.rows, 'row', 'rows')}: the teacher {teacher}, the model "
        f"{before} before and {after} after"
    )
    if gap.share is None:
        return (
            f"{figures}. The teacher is not measurably better than the model was before, so there is no gap to close."
        )
    between = f"95 % interval {_percent(gap.low)} to {_percent(gap.high)}"
    if gap.low > 1:
        return f"{figures}: all of the gap is closed and more, {_percent(gap.share)} % of it ({between})."
    if gap.low > 0:
        return f"{figures}: {_percent(gap.share)} % of the gap is closed ({between})."
    if gap.high < 0:
        return f"{figures}: the gap grew, by {_percent(-gap.share)} % ({between} of it closed)."
    return f"{figures}. How much of the gap is closed can't be told from nothing ({between})."


def own_told(metrics: dict[str, Any]) -> Iterator[str]:
    """Which share of the answers that it learned the model wrote itself, where it wrote some."""
    share = metrics.get(OWN_ANSWERS)
    if share:
        yield (
            f"Of the answers that it learned, it wrote {100 * float(share):.3g} % itself, anew each time, and its "
            "teacher judged them."
        )


def _costs(models: dict[str, Any]) -> Iterator[str]:
    """Size and speed of the teacher, and of the model before and after."""
    theirs, mine = models.get(TEACHER), models.get("after")
    if theirs and mine:
        told = f"The teacher has {theirs['parameters']:,} weights and the model {mine['parameters']:,}"
        three = [models.get(name) or {} for name in (TEACHER, "before", "after")]
        speeds = [float(one.get("tokens_per_second") or 0) for one in three]
        first, before, after = (f"{speed:,.0f}" for speed in speeds)
        read = (
            f"; the teacher read {first} tokens of held-out rows a second, the model {before} before and {after} after"
        )
        yield f"{told}{read if all(speeds) else ''}."


def _percent(share: float) -> str:
    text = f"{abs(100 * share):.0f}"
    return f"{'−' if share < 0 and text != '0' else ''}{text}"
