"""Prints, at the end of a test run, how many combinations of objective, tuner and kind of model work.

A test that holds a combination to its contract notes what became of it: `note`. Notes travel with the tests' reports, so
that they arrive from every process that tests. A combination whose test failed counts as neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

NOTE = "combination"


def note(record_property: Callable[[str, object], None], pair: tuple[str, str, str], reason: str | None) -> None:
    """reason: why the combination is refused, or None where it works."""
    record_property(NOTE, [*pair, reason])


def told(passed: Iterable[Any]) -> list[str]:
    """Lines for people. passed: pytest's reports of tests that passed."""
    return summary([value for report in passed for name, value in report.user_properties if name == NOTE])


def summary(noted: list[list[str | None]]) -> list[str]:
    """Lines for people. noted: [objective, tuner, kind of model, reason or None] of each combination that was tried."""
    if not noted:
        return []
    reasons = Counter(reason for *_, reason in noted if reason)
    working = len(noted) - reasons.total()
    first = f"{working} of {len(noted)} combinations of objective, tuner and kind of model work"
    if not reasons:
        return [f"{first}."]
    told = [f"  {count} × {reason}" for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))]
    return [f"{first}; the rest are refused with the reason:", *told]
