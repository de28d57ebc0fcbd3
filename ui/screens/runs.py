"""All runs, and two of them side by side. The scripts `ui/static/runs.js` and `compare.js` draw both."""

from __future__ import annotations

from ui import words


def build() -> None:
    words.html("<div id='ts-runs'><p class='ts-quiet' role='status'>Opening the runs…</p></div>")


def build_comparison() -> None:
    words.html("<div id='ts-compare'><p class='ts-quiet' role='status'>Comparing the two runs…</p></div>")
