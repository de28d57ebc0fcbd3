"""Prints, at the end of a test run, which files took longest: seconds of all their tests, their fixtures included.

What processes that test at the same time took is added up, so that it can be more than the run itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

SHOWN = 20
SHORT_S = 120.0
"""A run of fewer seconds in all is not told of."""


def told(reports: Iterable[Any]) -> list[str]:
    """Lines for people. reports: pytest's, of set-up, call and teardown of each test."""
    seconds: Counter[str] = Counter()
    for report in reports:
        if hasattr(report, "duration") and hasattr(report, "nodeid"):
            seconds[report.nodeid.partition("::")[0]] += report.duration
    total = sum(seconds.values())
    if total < SHORT_S:
        return []
    files = [f"{taken:7.0f} s  {file}" for file, taken in seconds.most_common(SHOWN)]
    return [f"Where {total:,.0f} s of testing went:", *files]
