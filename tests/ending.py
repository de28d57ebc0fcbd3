"""What is said at the end of a test run: which combinations work, and which files took longest."""

from __future__ import annotations

from typing import Any

from tests import pairs, times


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A hook of pytest's."""
    reports = [report for some in terminalreporter.stats.values() for report in some]
    for line in (*pairs.told(terminalreporter.stats.get("passed", [])), *times.told(reports)):
        terminalreporter.write_line(line)
