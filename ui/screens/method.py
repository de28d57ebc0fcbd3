"""Step 2: which model, what it learns from, what of it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from engine import catalog, objectives, tuners
from engine.job import Method, pair_refusal
from engine.sections import Evaluate, Launch, Model, Output, Training
from engine.settings import Section
from ui import form, words
from ui.door import door
from ui.form import Form

COMMON: dict[str, type[Section]] = {
    "training": Training,
    "evaluation": Evaluate,
    "output": Output,
    "launch": Launch,
    "model": Model,
}
"""Sections of the spec that every run has, besides its data."""
REGISTRIES = {"objective": objectives, "tuner": tuners}


@dataclass(frozen=True)
class MethodScreen:
    model: gr.Dropdown
    objective: gr.Dropdown
    tuner: gr.Dropdown
    forms: list[tuple[str, Form]] = field(repr=False)
    """With their place in the spec: "training", "tuner lora", …"""

    @property
    def inputs(self) -> list[Any]:
        return [self.model, self.objective, self.tuner, *(item for _, part in self.forms for item in part.inputs)]

    def values(self, given: Sequence[Any]) -> dict[str, Any]:
        """The spec's sections, all but data, from the inputs."""
        model, objective, tuner, *rest = given
        found: dict[str, dict[str, Any]] = {}
        for place, part in self.forms:
            found.setdefault(place, {}).update(part.values(rest[: len(part.inputs)]))
            rest = rest[len(part.inputs) :]
        return {
            **{name: found[name] for name in COMMON},
            "model": {**found["model"], "id": str(model or "").strip()},
            "objective": {"name": objective, **found.get(f"objective {objective}", {})},
            "tuner": {"name": tuner, **found.get(f"tuner {tuner}", {})},
        }


def build() -> MethodScreen:
    words.html(
        words.heading(
            "Which model, and how?",
            "The settings below suit most data. Before anything starts you see what they cost.",
        )
    )
    model = gr.Dropdown(
        _models(),
        value=catalog.SMOLLM2.id,
        allow_custom_value=True,
        label="Base model",
        info="Choose one, or write a Hub id (owner/name) or a folder of this machine.",
    )
    with gr.Row(elem_classes=["ts-fields", "ts-wide"]):
        objective = _choice("objective", "What it learns")
        tuner = _choice("tuner", "What of it changes")
    refusal = words.html(visible=False)
    forms: list[tuple[str, Form]] = []
    groups: list[tuple[str, str, gr.Row]] = []
    with gr.Row(elem_classes=["ts-fields"]):
        for kind in REGISTRIES:
            _methods(kind, form.basic, forms, groups)
        forms += [(place, form.build(COMMON[place], form.basic(COMMON[place]))) for place in ("training", "evaluation")]
    with gr.Accordion("More settings", open=False):
        with gr.Row(elem_classes=["ts-fields"]):
            for kind in REGISTRIES:
                _methods(kind, form.advanced, forms, groups)
            forms += [(place, form.build(section, form.advanced(section))) for place, section in COMMON.items()]
    outputs = [refusal, objective, tuner, *(group for _, _, group in groups)]
    for choice in (objective, tuner):
        choice.change(
            door(_shown(groups)), [objective, tuner], outputs, show_progress="hidden", api_visibility="private"
        )
    return MethodScreen(model, objective, tuner, forms)


def _models() -> list[tuple[str, str]]:
    """Base models to choose from: what a person reads, and the id."""
    embedded = [
        (f"{entry.title}, {_millions(entry.parameters)} weights, needs no Hub", entry.id)
        for entry in catalog.EMBEDDED.values()
    ]
    return embedded + [
        (f"{entry.title}, {_millions(entry.parameters)} weights, from the Hub", entry.id) for entry in catalog.HUB
    ]


def _choice(kind: str, label: str) -> gr.Dropdown:
    registry = REGISTRIES[kind]
    return gr.Dropdown(
        [(method.title, method.name) for method in registry.all()],
        value=registry.DEFAULT,
        label=label,
        info=_help(registry.get(registry.DEFAULT)),
        min_width=280,
    )


def _methods(kind: str, which: Any, forms: list[tuple[str, Form]], groups: list[tuple[str, str, gr.Row]]) -> None:
    """A group of inputs for each method that has some; that of the chosen one is in sight."""
    methods: list[Method] = REGISTRIES[kind].all()
    for method in methods:
        settings = which(method.Settings)
        if settings:
            with gr.Row(visible=method.name == REGISTRIES[kind].DEFAULT) as group:
                forms.append((f"{kind} {method.name}", form.build(method.Settings, settings)))
            groups.append((kind, method.name, group))


def _shown(groups: list[tuple[str, str, gr.Row]]) -> Any:
    """A handler for what stands below the two choices: their help, their settings, and why they don't go together."""

    def shown(objective: str, tuner: str) -> list[Any]:
        reason = pair_refusal(objectives.get(objective), tuners.get(tuner))
        chosen: dict[str, Method] = {"objective": objectives.get(objective), "tuner": tuners.get(tuner)}
        return [
            gr.update(value=words.refusal(reason) if reason else "", visible=bool(reason)),
            *(gr.update(info=_help(method)) for method in chosen.values()),
            *(gr.update(visible=chosen[kind].name == name) for kind, name, _ in groups),
        ]

    return shown


def _help(method: Method) -> str:
    return f"Recommended. {method.help}" if method.recommended else method.help


def _millions(parameters: int) -> str:
    return f"{parameters / 1e9:.1f} billion" if parameters >= 1e9 else f"{parameters / 1e6:.0f} million"
