"""From declared settings to inputs and back: the only place that knows which type has which input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from engine.settings import Section, Setting, describe

NUMBERS = ("integer", "number")
SHOWN = ("integer", "number", "text", "switch", "choice")


@dataclass(frozen=True)
class Form:
    section: type[Section]
    settings: list[Setting]
    inputs: list[Any] = field(repr=False)

    def values(self, given: Sequence[Any]) -> dict[str, Any]:
        """What the inputs say, by name. An input left empty keeps its default; nothing is checked here."""
        found: dict[str, Any] = {}
        for setting, value in zip(self.settings, given, strict=True):
            if isinstance(value, str):
                value = value.strip()
            if value in (None, ""):
                if setting.required or (not setting.optional and setting.kind in NUMBERS):
                    found[setting.name] = None  # refused with its label when the spec is parsed
                continue
            found[setting.name] = _number(value) if setting.kind in NUMBERS else value
        return found


def basic(section: type[Section]) -> list[Setting]:
    return [setting for setting in describe(section) if setting.kind in SHOWN and not setting.advanced]


def advanced(section: type[Section]) -> list[Setting]:
    return [setting for setting in describe(section) if setting.kind in SHOWN and setting.advanced]


def build(section: type[Section], settings: list[Setting]) -> Form:
    """Inputs for some of a section's settings, where the page stands."""
    return Form(section, settings, [_input(setting) for setting in settings])


def _input(setting: Setting) -> Any:
    common: dict[str, Any] = {"label": setting.title, "info": setting.help, "interactive": True}
    if setting.kind in NUMBERS and setting.optional:
        # A number input shows 0 where nothing is chosen.
        return gr.Textbox(value="", placeholder="automatic", lines=1, max_lines=1, min_width=220, **common)
    if setting.kind in NUMBERS:
        # Limits are left to the spec, which names the setting when it refuses.
        whole = setting.kind == "integer"
        return gr.Number(value=setting.default, step=1 if whole else None, min_width=220, **common)
    if setting.kind == "switch":
        return gr.Checkbox(value=bool(setting.default), min_width=220, **common)
    if setting.kind == "choice":
        return gr.Dropdown(choices=list(setting.choices), value=setting.default, min_width=220, **common)
    return gr.Textbox(value=setting.default or "", lines=1, min_width=220, **common)


def _number(value: Any) -> Any:
    """A number where the text is one; else the text, for the spec to refuse. Whole numbers are ints."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return int(number) if number.is_integer() else number
