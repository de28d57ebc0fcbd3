"""From declared settings to inputs and back: the only place that knows which type has which input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from engine.settings import Section, Setting, describe

SHOWN = ("integer", "number", "text", "switch", "choice")


@dataclass(frozen=True)
class Form:
    section: type[Section]
    settings: list[Setting]
    inputs: list[Any] = field(repr=False)

    def values(self, given: Sequence[Any]) -> dict[str, Any]:
        """What the inputs say, by name. An input left empty keeps its default; nothing is checked here."""
        found = {}
        for setting, value in zip(self.settings, given, strict=True):
            if value is None or (isinstance(value, str) and not value.strip()):
                if not setting.optional and setting.kind in ("integer", "number"):
                    found[setting.name] = None  # refused with its label when the spec is parsed
                continue
            found[setting.name] = int(value) if setting.kind == "integer" and float(value).is_integer() else value
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
    if setting.kind in ("integer", "number"):
        return gr.Number(
            value=setting.default,
            precision=0 if setting.kind == "integer" else None,
            step=1 if setting.kind == "integer" else None,
            minimum=setting.minimum,
            maximum=setting.maximum,
            placeholder="automatic" if setting.optional else None,
            min_width=220,
            **common,
        )
    if setting.kind == "switch":
        return gr.Checkbox(value=bool(setting.default), min_width=220, **common)
    if setting.kind == "choice":
        return gr.Dropdown(choices=list(setting.choices), value=setting.default, min_width=220, **common)
    return gr.Textbox(value=setting.default or "", lines=1, min_width=220, **common)
