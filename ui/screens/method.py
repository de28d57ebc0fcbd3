"""Step 2: which model, what it learns from, what of it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import gradio as gr

from engine import catalog, machine, model_search, models, objectives, recommend, tuners
from engine.errors import UserError
from engine.job import Method, pair_refusal
from engine.models import ModelFacts
from engine.recommend import Recommendation
from engine.sections import Evaluate, Launch, Model, Output, Training
from engine.settings import Section
from ui import choices, form, limits, model_cards, plan_words, words
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
Groups = list[tuple[str, str, gr.Row]]
"""Kind, name and inputs of each method that has settings."""
REGISTRIES = {"objective": objectives, "tuner": tuners}
OWN_CHOICE = "own"
"""What `auto` says once a person has chosen a pair: from then on nothing is chosen for them."""
RATE = "training.learning_rate"
LONGEST_ID = 300
MOST_UNFOLDED = 6
"""Methods that are all in sight; of more, only the usual ones are, and the others are folded by families."""
PLACES = {"model": "ts-model", "objective": "ts-objective", "tuner": "ts-tuner"}
"""elem_id of the inputs that keep a choice; the cards and their script go by them."""


@dataclass(frozen=True)
class MethodScreen:
    model: gr.Textbox
    objective: gr.Textbox
    tuner: gr.Textbox
    about: gr.Textbox
    """What is known of the data: how many rows, and whether they are texts with labels ("480 labelled")."""
    auto: gr.Textbox
    """The pair that was chosen for the person ("chat lora"), or OWN_CHOICE."""
    forms: list[tuple[str, Form]] = field(repr=False)
    """With their place in the spec: "training", "tuner lora", …"""
    changed: gr.HTML = field(repr=False)
    """Says which settings differ from the defaults."""

    @property
    def inputs(self) -> list[Any]:
        return [self.model, self.objective, self.tuner, *(item for _, part in self.forms for item in part.inputs)]

    @property
    def longest(self) -> gr.Number:
        """The input of the longest row, which the plan's histogram sets, too."""
        for place, part in self.forms:
            for setting, item in zip(part.settings, part.inputs, strict=True):
                if (place, setting.name) == ("training", "max_tokens"):
                    return item
        raise LookupError("training.max_tokens")

    def values(self, given: Sequence[Any]) -> dict[str, Any]:
        """The spec's sections, all but data, from the inputs."""
        model, objective, tuner, *rest = given
        found: dict[str, dict[str, Any]] = {}
        for place, part in self.forms:
            found.setdefault(place, {}).update(part.values(rest[: len(part.inputs)]))
            rest = rest[len(part.inputs) :]
        return {
            **{name: found[name] for name in COMMON},
            "model": {**found["model"], "id": str(model or "").strip()[:LONGEST_ID]},
            "objective": {"name": objective, **found.get(f"objective {objective}", {})},
            "tuner": {"name": tuner, **found.get(f"tuner {tuner}", {})},
        }

    def show(self, spec: dict[str, Any]) -> list[Any]:
        """Updates of `inputs` that show a complete spec; `values` gives it back."""
        sections = {place: _section(spec, place) for place, _ in self.forms}
        updates = [item for place, part in self.forms for item in part.show(sections[place])]
        chosen = (spec["model"]["id"], spec["objective"]["name"], spec["tuner"]["name"])
        return [*(gr.update(value=value) for value in chosen), *updates]

    def differing(self, *given: Any) -> str:
        """Which settings differ from the defaults, as markup."""
        _, objective, tuner, *rest = given
        told: list[str] = []
        ignores = tuners.get(tuner).ignores
        for place, part in self.forms:
            mine, rest = rest[: len(part.inputs)], rest[len(part.inputs) :]
            kind, _, name = place.partition(" ")
            if not name or name == {"objective": objective, "tuner": tuner}[kind]:
                unused = [setting.name for setting in part.settings if ignores(f"{place}.{setting.name}")]
                told += part.differing(mine, unused)
        return f"<p class='ts-changed'>Changed from the defaults: {escape(', '.join(told))}.</p>" if told else ""


def build() -> MethodScreen:
    words.html(
        words.heading(
            "Which model, and how?",
            "What is chosen below suits most data. Before anything starts you see what it costs.",
        )
    )
    advice = words.html()
    models_shown = words.html()
    with gr.Row(elem_classes=["ts-fields", "ts-wide"]):
        search = gr.Textbox(
            label="Search the Hub",
            info="Words of a model's name. Only models that can be trained here are shown.",
            placeholder="such as qwen 0.5b",
            elem_id="ts-search",
            max_lines=1,
            max_length=100,
            min_width=280,
        )
        model = gr.Textbox(
            catalog.SMOLLM2.id,
            label="Or name a model",
            info="A Hub id (owner/name) or a folder. A choice above writes its name here.",
            elem_id=PLACES["model"],
            max_lines=1,
            max_length=LONGEST_ID,
            min_width=280,
        )
    results = words.html()
    about, auto = gr.Textbox(visible=False), gr.Textbox(_pair(), visible=False)
    objective, tuner = (_kept(kind, label) for kind, label in _LABELS.items())
    objectives_shown, tuners_shown = words.html(), words.html()
    refusal = words.html(visible=False)
    forms: list[tuple[str, Form]] = []
    groups: Groups = []
    words.html("<h2>Settings</h2>")
    with gr.Row(elem_classes=["ts-fields"]):
        for kind in REGISTRIES:
            _methods(kind, form.basic, forms, groups)
        forms += [(place, form.build(COMMON[place], form.basic(COMMON[place]))) for place in ("training", "evaluation")]
    changed = words.html()
    with gr.Accordion("More settings", open=False):
        with gr.Row(elem_classes=["ts-fields"]):
            for kind in REGISTRIES:
                _methods(kind, form.advanced, forms, groups)
            forms += [(place, form.build(section, form.advanced(section))) for place, section in COMMON.items()]
    screen = MethodScreen(model, objective, tuner, about, auto, forms, changed)
    shown = [advice, models_shown, objectives_shown, tuners_shown, refusal, objective, tuner, auto, _rate(forms)]
    fields = _loop_fields(forms)
    changing = [*(item for _, item in fields), *(group for _, _, group in groups)]
    _connect(screen, [*shown, *changing], (groups, [name for name, _ in fields]), search, results)
    return screen


_LABELS = {"objective": "What it learns", "tuner": "What of it changes"}


def _kept(kind: str, label: str) -> gr.Textbox:
    """The input that keeps a choice of cards. It stays in the document, so that the cards' script can write to it."""
    return gr.Textbox(REGISTRIES[kind].DEFAULT, label=label, elem_id=PLACES[kind], visible="hidden")


def _connect(
    screen: MethodScreen, outputs: list[Any], chosen_by: tuple[Groups, list[str]], search: gr.Textbox, results: gr.HTML
) -> None:
    """chosen_by: what is in sight depending on the choice, as `_look` takes it."""
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "trigger_mode": "always_last"}
    chosen = [screen.model, screen.objective, screen.tuner, screen.about, screen.auto]
    look = door(_look(*chosen_by))
    page = gr.context.Context.root_block
    for event in (page.load, *(item.change for item in chosen[:4])):
        event(look, chosen, outputs, concurrency_limit=8, **quiet)
    searched = [search, screen.model, screen.objective, screen.tuner]
    search.input(door(_search), searched, [results], concurrency_limit=4, **quiet)
    for _, part in screen.forms:
        for item in part.inputs:
            event = item.blur if isinstance(item, gr.Textbox) else item.change
            event(door(screen.differing), screen.inputs, [screen.changed], **quiet)


def _look(groups: Groups, fields: Sequence[str] = ()) -> Any:
    """A handler for all that depends on model, objective and tuner: cards, advice, refusal, and which inputs show.

    fields: settings ("training.epochs") that not every tuner has a use for.
    """

    def look(model: str, objective: str, tuner: str, about: str, auto: str) -> list[Any]:
        facts, problem = _facts(model)
        advised = _advised(facts, about)
        if advised and auto != OWN_CHOICE and f"{objective} {tuner}" == auto:
            objective, tuner = advised.objective, advised.tuner
            auto = f"{objective} {tuner}"
        elif f"{objective} {tuner}" != auto:
            auto = OWN_CHOICE
        goal, change = objectives.get(objective), tuners.get(tuner)
        problem = problem or pair_refusal(goal, change) or (goal.refuses(facts) if facts else None)
        problem = problem or (change.refuses(facts, change.Settings()) if facts else None)
        rate = f"{change.base_rate * goal.rate_factor:g}"
        chosen: dict[str, str] = {"objective": objective, "tuner": tuner}
        return [
            plan_words.advice(advised.reason) if advised and auto != OWN_CHOICE else "",
            model_cards.offered(str(model or "").strip(), objective, tuner),
            _cards("objective", objective, advised, tuner),
            _cards("tuner", tuner, advised, objective),
            gr.update(value=words.refusal(problem) if problem else "", visible=bool(problem)),
            objective,
            tuner,
            auto,
            gr.update(placeholder=rate, visible=not change.ignores(RATE)),
            *(gr.update(visible=not change.ignores(name)) for name in fields),
            *(gr.update(visible=chosen[kind] == name) for kind, name, _ in groups),
        ]

    return look


def _search(query: str, model: str, objective: str, tuner: str) -> str:
    """Models of the Hub that can be trained so, or in one sentence why there are none."""
    query = str(query or "").strip()
    if len(query) < model_search.SHORTEST:
        return ""
    goal = objectives.get(str(objective))
    try:
        found = model_search.search(query, goal.architectures)
    except UserError as error:
        return words.waiting(f"{error.problem} {error.fix}")
    if not found:
        kinds = " or ".join(sorted(goal.architectures))
        return words.waiting(f"No model of the kind {kinds} with safetensors weights is found under these words.")
    return model_cards.results(found, model, goal.name, str(tuner))


def _facts(model: str) -> tuple[ModelFacts | None, str | None]:
    """What is known of the model that is named, or why it can't be used."""
    name = str(model or "").strip()
    known = next((entry for entry in catalog.HUB if entry.id == name), None)
    if known is not None:
        return models.catalog_facts(known), None
    try:
        section = Model(id=name)
        limits.require_model(section)
        return models.facts(section), None
    except UserError as error:
        return None, f"{error.problem} {error.fix}" if name else "Choose a model, or write the id of one."


def _advised(facts: ModelFacts | None, about: str) -> Recommendation | None:
    if facts is None:
        return None
    rows, _, kind = str(about or "").partition(" ")
    count = int(rows) if rows.isdecimal() and len(rows) < 12 else 0
    return recommend.recommended(facts, count, kind == "labelled", machine.inspect())


def _cards(kind: str, chosen: str, advised: Recommendation | None, other: str) -> str:
    """Objectives or tuners to choose from; `other` is the choice of the other kind."""
    best = getattr(advised, kind) if advised else None
    methods = REGISTRIES[kind].all()
    many = len(methods) > MOST_UNFOLDED
    by_family: dict[str, list[choices.Card]] = {"": []}
    for method in methods:
        card = choices.Card(
            method.name,
            method.title,
            method.help,
            mark="Recommended" if method.name == best else "",
            said=_goes_with(kind, method) if _refused(kind, method, other) else "",
        )
        by_family.setdefault("" if method.usual or not many else method.family, []).append(card)
    groups = [
        choices.Cards(family, cards, bool(family), ", ".join(card.title for card in cards) if family else "")
        for family, cards in by_family.items()
    ]
    return choices.fieldset(PLACES[kind], _LABELS[kind], groups, chosen)


def _refused(kind: str, method: Method, other: str) -> str | None:
    objective, tuner = (method.name, other) if kind == "objective" else (other, method.name)
    return pair_refusal(objectives.get(objective), tuners.get(tuner))


def _goes_with(kind: str, method: Method) -> str:
    """With which of the other kind a method goes; why it doesn't go with another is said where it is chosen."""
    others = REGISTRIES["tuner" if kind == "objective" else "objective"].all()
    return f"Goes with: {', '.join(one.title for one in others if not _refused(kind, method, one.name))}."


def _pair() -> str:
    return f"{objectives.DEFAULT} {tuners.DEFAULT}"


def _section(spec: dict[str, Any], place: str) -> dict[str, Any]:
    """The part of a spec that a form stands for; nothing for a method that is not the spec's."""
    kind, _, name = place.partition(" ")
    section = spec.get(kind) or {}
    return dict(section) if not name or section.get("name") == name else {}


def _rate(forms: list[tuple[str, Form]]) -> Any:
    """The input of the learning rate."""
    return dict(_placed(forms))[RATE]


def _loop_fields(forms: list[tuple[str, Form]]) -> list[tuple[str, Any]]:
    """Settings that some tuner has no use for, with their inputs; but for the learning rate, which has its own."""
    unused = {name for name, _ in _placed(forms) for tuner in tuners.all() if tuner.ignores(name)}
    return [(name, item) for name, item in _placed(forms) if name in unused and name != RATE]


def _placed(forms: list[tuple[str, Form]]) -> list[tuple[str, Any]]:
    """Every input with the dotted name of its setting."""
    return [
        (f"{place}.{setting.name}", item)
        for place, part in forms
        for setting, item in zip(part.settings, part.inputs, strict=True)
    ]


def _methods(kind: str, which: Any, forms: list[tuple[str, Form]], groups: Groups) -> None:
    """A group of inputs for each method that has some; that of the chosen one is in sight."""
    methods: list[Method] = REGISTRIES[kind].all()
    for method in methods:
        settings = which(method.Settings)
        if settings:
            with gr.Row(visible=method.name == REGISTRIES[kind].DEFAULT) as group:
                forms.append((f"{kind} {method.name}", form.build(method.Settings, settings)))
            groups.append((kind, method.name, group))
