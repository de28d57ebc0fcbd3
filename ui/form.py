"""From declared settings to inputs and back: the only place that knows which type has which input."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from engine.settings import Section, Setting, describe

NUMBERS = ("integer", "number")
SHOWN = (*NUMBERS, "text", "switch", "choice", "choices")
"""Kinds that have an input. Sections within sections and mappings have a place of their own on the page."""
SHORT = 24
"""Letters that fit into an empty input."""
WIDTH = 200
"""Least width of an input in pixels; narrower, and they stand below each other."""


@dataclass(frozen=True)
class Form:
    """Inputs for some settings of a section, side by side with what they stand for."""

    section: type[Section]
    settings: list[Setting]
    inputs: list[Any] = field(repr=False)

    def values(self, given: Sequence[Any]) -> dict[str, Any]:
        """What the inputs say that differs from the defaults, by name. Nothing is checked here.

        An optional input left empty means the default; a required one, or a number, left empty is None, for the
        spec to refuse with the label that the person sees.
        """
        found = {}
        for setting, value in zip(self.settings, given, strict=True):
            value = _read(setting, value)
            if value is None and setting.optional and not setting.required:
                value = setting.default
            if value != setting.default or setting.required:
                found[setting.name] = value
        return found

    def written(self, values: Mapping[str, Any]) -> list[Any]:
        """What the inputs hold when they stand for these values, and for defaults besides: the inverse of `values`."""
        return [_written(setting, values.get(setting.name, setting.default)) for setting in self.settings]

    def show(self, values: Mapping[str, Any]) -> list[Any]:
        """Updates of the inputs that show these values."""
        shown = zip(self.settings, self.written(values), strict=True)
        return [gr.update(value=value, **_choices(setting, value)) for setting, value in shown]

    def followers(self) -> list[tuple[Any, list[Any]]]:
        """Each input without which others do nothing, and those others."""
        placed = {setting.name: item for setting, item in zip(self.settings, self.inputs, strict=True)}
        found: dict[str, list[Any]] = {}
        for setting in self.settings:
            if setting.only_with:
                found.setdefault(setting.only_with, []).append(placed[setting.name])
        return [(placed[name], items) for name, items in found.items()]

    def differing(self, given: Sequence[Any], untold: Container[str] = ()) -> list[str]:
        """Settings that differ from their defaults, with what they are ("Rank 8"), but for those `untold` by name."""
        told = []
        all_read = {setting.name: _read(setting, value) for setting, value in zip(self.settings, given, strict=True)}
        for setting in self.settings:
            read = all_read[setting.name]
            if setting.only_with and not all_read[setting.only_with]:
                continue
            if setting.name not in untold and read not in (setting.default, None, ""):
                shown = {True: "on", False: "off"}.get(read, read) if setting.kind == "switch" else read
                shown = ", ".join(map(str, shown)) if isinstance(shown, list) else shown
                told.append(f"{setting.title} {shown}".rstrip("."))  # the sentence that lists them ends with one
        return told


def basic(section: type[Section]) -> list[Setting]:
    """Settings that stand in sight."""
    return [setting for setting in describe(section) if _shown(setting) and not setting.advanced]


def advanced(section: type[Section]) -> list[Setting]:
    """Settings that stand under 'More settings'."""
    return [setting for setting in describe(section) if _shown(setting) and setting.advanced]


def named(section: type[Section], names: Iterable[str]) -> list[Setting]:
    """Settings by name, in that order."""
    known = {setting.name: setting for setting in describe(section)}
    return [known[name] for name in names]


def build(section: type[Section], settings: list[Setting]) -> Form:
    """Inputs for some of a section's settings, where the page stands."""
    defaults = {setting.name: setting.default for setting in settings}
    inputs = [_input(setting, not setting.only_with or bool(defaults[setting.only_with])) for setting in settings]
    return Form(section, settings, inputs)


def following(count: int) -> Callable[[Any], Any]:
    """A handler for a change of an input without which so many others do nothing: they are in sight while it is on."""

    def follow(leader: Any) -> Any:
        shown = [gr.update(visible=bool(leader)) for _ in range(count)]
        return shown[0] if count == 1 else shown

    return follow


def _shown(setting: Setting) -> bool:
    if setting.kind == "choices" and not setting.offered:
        return False
    return setting.kind in SHOWN and not (setting.kind == "choice" and len(setting.choices) == 1)


def _input(setting: Setting, visible: bool = True) -> Any:
    common: dict[str, Any] = {
        "visible": visible,
        "label": setting.title,
        "info": setting.help,
        "interactive": True,
        "min_width": WIDTH,
    }
    if setting.kind == "switch":
        return gr.Checkbox(value=bool(setting.default), **common)
    if setting.kind == "choice":
        return gr.Dropdown(choices=list(setting.offered), value=setting.default, **common)
    if setting.kind == "choices":
        return gr.CheckboxGroup(choices=list(setting.offered), value=list(setting.default or []), **common)
    if setting.kind in NUMBERS and not setting.optional:
        # Without limits: Gradio's refusal would not say which setting is meant. The spec's does.
        return gr.Number(value=setting.default, step=1 if setting.kind == "integer" else None, **common)
    # An optional number is text, since Gradio shows an empty number input as 0 and sends that 0, too.
    high = {"lines": setting.lines, "max_lines": max(3, 2 * setting.lines)}
    return gr.Textbox(value=_text(setting.default), placeholder=_when_empty(setting), **high, **common)


def _choices(setting: Setting, value: Any) -> dict[str, Any]:
    """Of a choice that can't be had on this machine: it is shown as it is, and refused with the reason in the plan."""
    if setting.kind != "choice" or value in setting.offered:
        return {}
    return {"choices": [*setting.offered, value]}


def _read(setting: Setting, value: Any) -> Any:
    """An input's value as the spec has it: no empty texts, numbers where the text is one."""
    if isinstance(value, str):
        value = value.strip() if setting.kind in NUMBERS else value
        if not value.strip():
            return None if setting.optional or setting.required or setting.kind in NUMBERS else ""
    if setting.kind in NUMBERS and value is not None and not isinstance(value, bool):
        try:
            number = float(value)
        except (TypeError, ValueError):
            return value
        return int(number) if number.is_integer() else number
    return value


def _when_empty(setting: Setting) -> str | None:
    """What an empty input means, in the words of the help where they are short."""
    found = re.search(r"[Ee]mpty means ([^.]+)\.", setting.help)
    if found and len(found[1]) <= SHORT:
        return found[1]
    return "automatic" if found else "none" if setting.kind in NUMBERS else None


def _written(setting: Setting, value: Any) -> Any:
    """A value as its input holds it."""
    if setting.kind in ("switch", "choice"):
        return value
    if setting.kind == "choices":
        return [item for item in value or [] if item in setting.offered]
    if setting.kind in NUMBERS and not setting.optional:
        return value
    return _text(value)


def _text(default: Any) -> str:
    return "" if default is None else str(default)
