"""The line at which rows are cut, moved on the plan: the setting changes, and a fresh plan is made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import gradio as gr

from engine.errors import SettingError
from engine.settings import describe
from engine.specs.sections import Training
from ui.door import door
from ui.screens import findings
from ui.screens.method import MethodScreen
from ui.screens.start import StartScreen


def build(how: MethodScreen, last: StartScreen) -> None:
    """Take up where the line was put: the setting changes, and a fresh plan is made."""
    longest = next(
        item
        for place, form in how.forms
        for setting, item in zip(form.settings, form.inputs, strict=True)
        if place == "training" and setting.name == "max_tokens"
    )
    moved = findings.live("line", script="lengths.js")
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    put = moved.change(door(_chosen), None, [longest], **quiet)
    put.success(door(_without_waiting(last)), last.inputs, last.outputs, concurrency_limit=4, **quiet)


def _chosen(event: gr.EventData) -> int:
    """The value that the line stands for. Raises SettingError for one that the setting does not allow."""
    value = findings.asked(event).get("max_tokens")
    setting = next(setting for setting in describe(Training) if setting.name == "max_tokens")
    low, high = setting.minimum or 1, setting.maximum or math.inf
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise SettingError([f"{setting.title} can't be {value!r}."], f"Choose from {low:,.0f} to {high:,.0f} tokens.")
    return value


def _without_waiting(last: StartScreen) -> Any:
    """The plan made anew; the one before stays in sight until then."""

    def look(*given: Any) -> Iterator[tuple[Any, ...]]:
        for shown, *rest in last.look(*given):
            if "ts-lengths" in str(shown) or "role='alert'" in str(shown):
                yield (shown, *rest)

    return look
