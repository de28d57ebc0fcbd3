"""Step 2: which model, what it learns from, what of it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from engine import catalog, objectives, tuners
from engine.job import pair_refusal
from engine.sections import Evaluate, Launch, Model, Split, Training
from ui import form
from ui.form import Form


@dataclass(frozen=True)
class MethodScreen:
    model: gr.Dropdown
    objective: gr.Radio
    tuner: gr.Radio
    forms: dict[str, list[Form]] = field(repr=False)
    """By place in the spec: "training", "tuner lora", …; the parts in sight and those under 'More settings'."""

    @property
    def inputs(self) -> list[Any]:
        found = [self.model, self.objective, self.tuner]
        for parts in self.forms.values():
            for part in parts:
                found += part.inputs
        return found

    def values(self, given: Sequence[Any]) -> dict[str, Any]:
        """The spec's sections (all but data) from the inputs."""
        model, objective, tuner, *rest = given
        found: dict[str, dict[str, Any]] = {}
        for place, parts in self.forms.items():
            found[place] = {}
            for part in parts:
                found[place] |= part.values(rest[: len(part.inputs)])
                rest = rest[len(part.inputs) :]
        return {
            "model": {**found["model"], "id": (model or "").strip()},
            "objective": {"name": objective, **found[f"objective {objective}"]},
            "tuner": {"name": tuner, **found[f"tuner {tuner}"]},
            "training": found["training"],
            "evaluation": found["evaluation"],
            "launch": found["launch"],
            "split": found["split"],
        }


def build() -> MethodScreen:
    embedded = [(f"{entry.title} (embedded)", f"embedded:{entry.name}") for entry in catalog.EMBEDDED.values()]
    known = [(f"{entry.title} (Hub, {entry.parameters / 1e9:.1f} billion weights)", entry.id) for entry in catalog.HUB]
    model = gr.Dropdown(
        embedded + known,
        value=embedded[0][1],
        allow_custom_value=True,
        label="Base model",
        info="The embedded ones need no Hub. Or write a Hub id (owner/name) or a folder of this machine.",
    )
    objective = gr.Radio(
        [(method.title, method.name) for method in objectives.all()],
        value=objectives.DEFAULT,
        label="What it learns from",
        info=objectives.get(objectives.DEFAULT).help,
    )
    tuner = gr.Radio(
        [(method.title, method.name) for method in tuners.all()],
        value=tuners.DEFAULT,
        label="What of it changes",
        info=tuners.get(tuners.DEFAULT).help,
    )
    refusal = gr.Markdown(visible=False)
    forms: dict[str, list[Form]] = {}
    groups: dict[str, list[gr.Group]] = {}
    for kind, registry, default in (("objective", objectives, objectives.DEFAULT), ("tuner", tuners, tuners.DEFAULT)):
        groups[kind] = []
        for method in registry.all():
            with gr.Row(visible=method.name == default) as group:
                forms[f"{kind} {method.name}"] = [form.build(method.Settings, form.basic(method.Settings))]
            groups[kind].append(group)
    with gr.Row():
        forms["training"] = [form.build(Training, form.basic(Training))]
    with gr.Row():
        forms["evaluation"] = [form.build(Evaluate, form.basic(Evaluate))]
        forms["split"] = [form.build(Split, form.basic(Split))]
    with gr.Accordion("More settings", open=False):
        for kind, registry in (("objective", objectives), ("tuner", tuners)):
            for number, method in enumerate(registry.all()):
                with gr.Row(visible=groups[kind][number].visible) as more:
                    forms[f"{kind} {method.name}"].append(form.build(method.Settings, form.advanced(method.Settings)))
                groups[kind].append(more)
        for place, section in (
            ("training", Training),
            ("evaluation", Evaluate),
            ("split", Split),
            ("launch", Launch),
            ("model", Model),
        ):
            with gr.Row():
                forms.setdefault(place, []).append(form.build(section, form.advanced(section)))
    outputs = [refusal, objective, tuner, *groups["objective"], *groups["tuner"]]
    for choice in (objective, tuner):
        choice.change(_shown, [objective, tuner], outputs, show_progress="hidden", api_visibility="private")
    return MethodScreen(model, objective, tuner, forms)


def _shown(objective: str, tuner: str) -> list[Any]:
    """What stands below the two choices: their help, their settings, and why they don't go together if they don't."""
    reason = pair_refusal(objectives.get(objective), tuners.get(tuner))
    updates: list[Any] = [
        gr.update(value=reason or "", visible=bool(reason)),
        gr.update(info=objectives.get(objective).help),
        gr.update(info=tuners.get(tuner).help),
    ]
    for registry, chosen in ((objectives, objective), (tuners, tuner)):
        # Twice: the settings in sight, and those under 'More settings'.
        updates += [gr.update(visible=method.name == chosen) for _ in range(2) for method in registry.all()]
    return updates
