"""Intervals of shares: what another set of rows like these would most likely show."""

from __future__ import annotations

import math

Z = 1.959964
"""Of a normal distribution, 95 % lie so many standard deviations around its middle."""


def wilson(share: float, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share of `rows` (Wilson 1927). It has a width also where all or none are right."""
    centre = (share + Z * Z / (2 * rows)) / (1 + Z * Z / rows)
    half = Z / (1 + Z * Z / rows) * math.sqrt(share * (1 - share) / rows + Z * Z / (4 * rows * rows))
    return max(0.0, centre - half), min(1.0, centre + half)
