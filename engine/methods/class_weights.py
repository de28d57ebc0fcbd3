"""By how much the rows of each label count while a classifier learns, so that frequent labels don't drown rare ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

Scheme = Literal["none", "balanced", "square root"]
POWERS: dict[Scheme, float] = {"balanced": 1.0, "square root": 0.5}
"""A label's weight falls with this power of its rows: at 1 all labels count alike together, at 0 all rows do."""


def weights(scheme: Scheme, labels: Sequence[str], learned: Sequence[str]) -> list[float] | None:
    """A weight for each of `labels`, 1 on average over the rows; None where all rows count alike.

    learned: the label of each row to learn from. One without any rows has the weight 1, which nothing uses.
    """
    if scheme == "none":
        return None
    counts = Counter(learned)
    bare = {label: count ** -POWERS[scheme] for label, count in counts.items()}
    mean = sum(counts[label] * bare[label] for label in sorted(counts)) / len(learned)
    return [bare[label] / mean if label in bare else 1.0 for label in labels]


def of_each(scheme: Scheme, labels: Sequence[str], learned: Sequence[Sequence[str]]) -> list[float] | None:
    """As much as having each of `labels` counts where a row may have several, beside not having it.

    learned: the labels of each row to learn from. 'balanced' makes the rows with a label count as much as those without
    (BCEWithLogitsLoss's `pos_weight`). A label that all rows have, or none, has the weight 1.
    """
    if scheme == "none":
        return None
    counts = Counter(label for own in learned for label in own)
    rows = len(learned)
    return [
        ((rows - counts[label]) / counts[label]) ** POWERS[scheme] if 0 < counts[label] < rows else 1.0
        for label in labels
    ]
