"""Step 2: which model, what it learns from, what of it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import gradio as gr

from engine import machine, objectives, offers, tuners
from engine.bases import catalog, lineage, model_search, models
from engine.bases.models import ModelFacts
from engine.errors import SettingError, UserError
from engine.method import Method
from engine.methods import recommend
from engine.methods.objective import Objective, pair_refusal
from engine.offers import Choice
from engine.planning import jobs, layer_picture, stacking
from engine.runs import stages
from engine.settings import Section
from engine.specs.sections import Evaluate, Launch, Model, Output, Training
from ui import chaining, form, layer_view, limits, method_cards, model_cards, own_choice, plan_words, sight, words
from ui.data_sets import About
from ui.door import door
from ui.form import Form
from ui.screens import mix, word_choice
from ui.screens.mix import Mix
from ui.screens.word_choice import Slot, WordChoice

COMMON: dict[str, type[Section]] = {
    "training": Training,
    "evaluation": Evaluate,
    "output": Output,
    "launch": Launch,
    "model": Model,
}
"""Sections of the spec that every run has, besides its data."""
Groups = list[tuple[str, str, gr.Row | gr.Column]]
"""Kind, name and inputs of each method that has settings."""
REGISTRIES = {"objective": objectives, "tuner": tuners}
RATE = "training.learning_rate"
GOES_ON = "model.continued"
"""Offered where the model is a run whose additions can go on learning."""
TEACHER = "teacher"
"""The setting of objectives that learn from another model."""
LONGEST_ID = 300
TAKEN = "(value) => { document.dispatchEvent(new CustomEvent('ts-chosen', { detail: { place: 'PLACE', value } })); }"
"""Lets the cards show what the input that keeps the choice says, whoever wrote it there (static/method.js)."""
PLACES = {"objective": method_cards.OBJECTIVE, "tuner": method_cards.TUNER}


@dataclass(frozen=True)
class MethodScreen:
    model: gr.Textbox
    objective: gr.Textbox
    tuner: gr.Textbox
    mix: Mix
    about: gr.Textbox
    """What is known of the data, as `ui.data_sets.About` writes it ("480 labelled 1")."""
    auto: gr.Textbox
    """Which of objective and tuner was chosen for the person, as `ui.own_choice` writes it."""
    chain: gr.Textbox
    """The stages that stand ready before this one, as `ui.chaining` writes them."""
    seen: gr.Textbox
    """Which of what depends on the choice is in sight, as `ui.sight` writes it."""
    forms: list[tuple[str, Form]] = field(repr=False)
    """With their place in the spec: "training", "tuner lora", …"""
    changed: gr.HTML = field(repr=False)
    """Says which settings differ from the defaults."""
    layers: gr.HTML = field(repr=False)
    """The picture of what learns."""
    proposals: WordChoice = field(repr=False)

    @property
    def slot(self) -> Slot:
        """What stands beside the settings of an objective that fills a slot."""
        return self.proposals.slot

    @property
    def inputs(self) -> list[Any]:
        chosen = [self.model, self.objective, self.tuner, self.mix.weights]
        return [*chosen, *(item for _, part in self.forms for item in part.inputs)]

    @property
    def longest(self) -> gr.Number:
        """The input of the longest row, which the plan's histogram sets, too."""
        return self.input("training", "max_tokens")

    def input(self, place: str, name: str) -> Any:
        """The input of a setting, such as "max_tokens" of "training"."""
        for own, part in self.forms:
            for setting, item in zip(part.settings, part.inputs, strict=True):
                if (own, setting.name) == (place, name):
                    return item
        raise LookupError(f"{place}.{name}")

    def values(self, given: Sequence[Any]) -> dict[str, Any]:
        """The spec's sections, all but data, from the inputs."""
        model, objective, tuner, weights, *rest = given
        found: dict[str, dict[str, Any]] = {}
        for place, part in self.forms:
            found.setdefault(place, {}).update(part.values(rest[: len(part.inputs)]))
            rest = rest[len(part.inputs) :]
        chosen = {**found["model"], "id": str(model or "").strip()[:LONGEST_ID]}
        if not (lineage.is_run(chosen["id"]) or stages.is_stage(chosen["id"])):  # then it is out of sight
            chosen["continued"] = False
        return {
            **{name: found[name] for name in COMMON},
            "model": chosen,
            "mixture": {**found["mixture"], "weights": mix.given(str(weights or ""))},
            "objective": {"name": objective, **found.get(f"objective {objective}", {})},
            "tuner": {"name": tuner, **found.get(f"tuner {tuner}", {})},
        }

    def show(self, spec: dict[str, Any]) -> list[Any]:
        """Updates of `inputs` that show a complete spec; `values` gives it back."""
        sections = {place: _section(spec, place) for place, _ in self.forms}
        updates = [item for place, part in self.forms for item in part.show(sections[place])]
        weights = mix.written((spec.get("mixture") or {}).get("weights") or [])
        chosen = (spec["model"]["id"], spec["objective"]["name"], spec["tuner"]["name"], weights)
        return [*(gr.update(value=value) for value in chosen), *updates]

    def told(self, *given: Any) -> tuple[str, str]:
        """What is said of the settings: which differ from the defaults, and what learns with them.

        given: the stages before, what is known of the data, and `inputs`.
        """
        chain, about, *rest = given
        return self.differing(*rest), self.picture(*rest, sets=About.read(about).sets, chain=chain)

    def differing(self, *given: Any) -> str:
        """Which settings differ from the defaults, as markup."""
        _, objective, tuner, weights, *rest = given
        told: list[str] = []
        ignores = tuners.get(tuner).ignores
        for place, part in self.forms:
            mine, rest = rest[: len(part.inputs)], rest[len(part.inputs) :]
            kind, _, name = place.partition(" ")
            if not name or name == {"objective": objective, "tuner": tuner}[kind]:
                unused = [setting.name for setting in part.settings if ignores(f"{place}.{setting.name}")]
                told += part.differing(mine, unused)
        told += [f"Weights {', '.join(f'{weight:g}' for weight in found)}"] if (found := mix.given(weights)) else []
        return f"<p class='ts-changed'>Changed from the defaults: {escape(', '.join(told))}.</p>" if told else ""

    def picture(self, *given: Any, sets: int = 1, chain: str = "") -> str:
        """What of the model learns with these settings, and what it costs, as markup."""
        values = self.values(given)
        facts, _ = _facts(values["model"]["id"], chain)
        if facts is None:
            return layer_view.missing("Once a model is chosen, its layers are shown here.")
        try:
            spec = offers.settled(values, sets)
            limits.require_models(spec)
            facts = models.kept(facts, spec.model)
            jobs.require_pair(spec, facts, _left(spec.model.id, chain))
            cost = offers.cost_of(spec, facts, machine.inspect())
        except SettingError as error:
            return layer_view.missing(" ".join(error.problems))
        except UserError as error:
            return layer_view.missing(error.problem)
        drawn = layer_picture.picture(facts, spec.objective, spec.tuner, spec.tuner_settings)
        return layer_view.shown(drawn, cost, spec.tuner.title)


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
            elem_id=model_cards.INPUT,
            max_lines=1,
            max_length=LONGEST_ID,
            min_width=280,
        )
    results = words.html()
    about, auto, chain = (
        gr.Textbox(visible=False),
        gr.Textbox(own_choice.PAIR, visible=False),
        gr.Textbox("", visible=False),
    )
    objective, tuner = (_kept(kind, label) for kind, label in method_cards.LABELS.items())
    objectives_shown, tuners_shown = words.html(), words.html()
    refusal = words.html(visible=False)
    forms: list[tuple[str, Form]] = []
    groups: Groups = []
    words.html("<h2>Settings</h2>")
    with gr.Row(elem_classes=["ts-fields"]):
        _methods("objective", form.basic, forms, groups)
        proposals = word_choice.build()
        groups.append(("objective", word_choice.OBJECTIVE, proposals.group))
        _methods("tuner", form.basic, forms, groups)
        forms += [(place, form.build(COMMON[place], form.basic(COMMON[place]))) for place in ("training", "evaluation")]
    teach = gr.Button(visible=False, elem_classes=["ts-narrow"], min_width=280)
    mixed = mix.build()
    forms.append(("mixture", mixed.form))
    changed = words.html()
    with gr.Accordion("More settings", open=False):
        with gr.Row(elem_classes=["ts-fields"]):
            for kind in REGISTRIES:
                _methods(kind, form.advanced, forms, groups)
            forms += [(place, form.build(section, form.advanced(section))) for place, section in COMMON.items()]
    words.html("<h2>What learns</h2>")
    layers = words.html()
    fields = _loop_fields(forms)
    changing = [*_always(forms), *(item for _, item in fields), *(group for _, _, group in groups)]
    seen = gr.Textbox(sight.text(bool(item.visible) for item in changing), visible=False)
    screen = MethodScreen(model, objective, tuner, mixed, about, auto, chain, seen, forms, changed, layers, proposals)
    moved = gr.Textbox(visible=False)
    shown = [advice, models_shown, objectives_shown, tuners_shown, seen, refusal, moved, *changing]
    looked = _connect(screen, shown, (groups, [name for name, _ in fields]), search, results)
    _connect_teacher(screen, teach)
    mixed.connect(about, dict(_placed(forms))["training.epochs"])
    looked.success(None, [moved, objective, tuner, auto], [objective, tuner, auto], js=own_choice.MOVES)
    return screen


def _kept(kind: str, label: str) -> gr.Textbox:
    """The input that keeps a choice of cards. It stays in the document, so that the cards' script can write to it."""
    return gr.Textbox(REGISTRIES[kind].DEFAULT, label=label, elem_id=PLACES[kind], visible="hidden")


def _connect(
    screen: MethodScreen, outputs: list[Any], chosen_by: tuple[Groups, list[str]], search: gr.Textbox, results: gr.HTML
) -> Any:
    """chosen_by: what is in sight depending on the choice, as `_look` takes it. Returns the event of such a look."""
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "trigger_mode": "always_last"}
    chosen = [screen.model, screen.objective, screen.tuner, screen.about, screen.auto, screen.chain, screen.seen]
    look = door(_look(*chosen_by))
    page = gr.context.Context.root_block
    # One listener for all: of several, an answer that was asked for earlier could come last.
    chosen_anew = [page.load, *(item.change for item in chosen[:4])]
    looked = gr.on(chosen_anew, look, chosen, outputs, concurrency_limit=8, **quiet)
    searched = [search, screen.model, screen.objective, screen.tuner, screen.about]
    places = (model_cards.INPUT, *PLACES.values())
    for place, item in zip(places, (screen.model, screen.objective, screen.tuner), strict=True):
        item.change(None, [item], None, js=TAKEN.replace("PLACE", place), show_progress="hidden")
    search.input(door(_search), searched, [results], concurrency_limit=4, **quiet)
    for leader, followers in (pair for _, part in screen.forms for pair in part.followers()):
        leader.change(door(form.following(len(followers))), [leader], followers, **quiet)
    told = [screen.chain, screen.about, *screen.inputs]
    inputs = [item for _, part in screen.forms for item in part.inputs]
    changed = [item.blur if isinstance(item, gr.Textbox) else item.change for item in inputs]
    gr.on(
        [*chosen_anew, *changed], door(screen.told), told, [screen.changed, screen.layers], concurrency_limit=4, **quiet
    )
    return looked


def _connect_teacher(screen: MethodScreen, button: gr.Button) -> None:
    """Of a plan of stages: a button by which what the newest one leaves becomes the teacher."""
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    placed = {name: item for name, item in _placed(screen.forms) if name.endswith(f".{TEACHER}")}
    chosen = [screen.objective, screen.chain]
    gr.on([item.change for item in chosen], door(teacher_offered), chosen, [button], **quiet)
    button.click(door(_taught(list(placed))), chosen, list(placed.values()), **quiet)


def teacher_offered(objective: str, chain: str) -> Any:
    """An update of the button that lets what the newest stage leaves teach; in sight where it can."""
    count = len(chaining.read(chain).specs)
    learns = TEACHER in objectives.get(objective).Settings.model_fields
    return gr.update(value=f"Learn from what stage {count} leaves", visible=count > 0 and learns)


def _taught(names: list[str]) -> Any:
    """A handler that names the newest stage as teacher. names: of all teachers' settings, whose inputs it updates."""

    def teach(objective: str, chain: str) -> Any:
        newest = f"{stages.PREFIX}{len(chaining.read(chain).specs)}"
        mine = f"objective {objective}.{TEACHER}"
        found = [gr.update(value=newest) if name == mine else gr.update() for name in names]
        return found[0] if len(found) == 1 else found

    return teach


def _look(groups: Groups, fields: Sequence[str] = ()) -> Any:
    """A handler for all that depends on model, objective and tuner: cards, advice, refusal, and which inputs show.

    fields: settings ("training.epochs") that not every tuner or model has a use for.
    """

    def look(
        model: str, objective: str, tuner: str, about: str, auto: str, chain: str = "", seen: str = ""
    ) -> list[Any]:
        facts, problem = _facts(model, chain)
        known = About.read(about)
        here = machine.inspect()
        held = known.rows, known.labelled, here, known.plain, known.marked
        advised = recommend.recommended(facts, *held) if facts else None
        found = own_choice.followed(objective, tuner, auto, advised)
        objective, tuner = found.objective, found.tuner
        goal, change = objectives.get(objective), tuners.get(tuner)
        problem = problem or pair_refusal(goal, change) or (goal.refuses(facts) if facts else None)
        problem = problem or (change.refuses(facts, change.defaults(known.sets)) if facts else None)
        problem = problem or _unlearnable(goal, known)
        rate = f"{change.rate_with(goal):g}"
        chosen: dict[str, str] = {"objective": objective, "tuner": tuner}
        choice = Choice(objective, tuner, known.sets)
        unused = _unused(goal, facts, known.sets)
        in_sight = [
            not change.ignores(RATE),
            facts is not None and _can_go_on(model, chain),
            *(not change.ignores(name) and name not in unused for name in fields),
            *(chosen[kind] == name for kind, name, _ in groups),
        ]
        rated, *changing = sight.updates(seen, in_sight)
        return [
            plan_words.advice(advised.reason) if advised and found.whole else "",
            model_cards.offered(str(model or "").strip(), choice, chain),
            method_cards.objectives_shown(objective, tuner, advised.objective if advised else ""),
            method_cards.tuners_shown(choice, advised.tuner if advised else "", facts),
            sight.text(in_sight),
            gr.update(value=words.refusal(problem) if problem else "", visible=bool(problem)),
            found.moved,
            {**rated, "placeholder": rate},
            *changing,
        ]

    return look


def _unlearnable(goal: Objective, known: About) -> str | None:
    """Why an objective can't learn from the data, as far as that is known."""
    if not known.good_for or goal.name in known.good_for:
        return None
    good = ", ".join(one.title.partition(" (")[0] for one in objectives.all() if one.name in known.good_for)
    return f"{goal.title} can't learn from this data: step 1 says what it misses. The data is good for: {good}."


def _search(query: str, model: str, objective: str, tuner: str, about: str) -> str:
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
    return model_cards.results(found, model, Choice(goal.name, str(tuner), About.read(about).sets))


def _facts(model: str, chain: str = "") -> tuple[ModelFacts | None, str | None]:
    """What is known of the model that is named, or why it can't be used."""
    name = str(model or "").strip()
    known = next((entry for entry in catalog.HUB if entry.id == name), None)
    if known is not None:
        return models.catalog_facts(known), None
    try:
        if stages.is_stage(name):
            return chaining.facts(chaining.read(chain), name), None
        section = Model(id=name)
        limits.require_model(section)
        return models.facts(section), None
    except UserError as error:
        return None, f"{error.problem} {error.fix}" if name else "Choose a model, or write the id of one."


def _section(spec: dict[str, Any], place: str) -> dict[str, Any]:
    """The part of a spec that a form stands for; nothing for a method that is not the spec's."""
    kind, _, name = place.partition(" ")
    section = spec.get(kind) or {}
    return dict(section) if not name or section.get("name") == name else {}


def _can_go_on(model: str, chain: str = "") -> bool:
    """Whether a model is a run or a stage whose additions can go on learning. It was looked at: it is the visitor's."""
    try:
        if stages.is_stage(model):
            return stacking.goes_on(chaining.left(chaining.read(chain), model)) is None
        return lineage.is_run(model) and stacking.goes_on(lineage.parent(model)) is None
    except UserError:
        return False


def _left(model: str, chain: str) -> stages.Planned | None:
    """What the model is yet to be the result of. Raises UserError."""
    return chaining.left(chaining.read(chain), model) if stages.is_stage(model) else None


def _always(forms: list[tuple[str, Form]]) -> list[Any]:
    """Inputs that depend on model and tuner in a way of their own: of the learning rate, and GOES_ON."""
    placed = dict(_placed(forms))
    return [placed[RATE], placed[GOES_ON]]


def _unused(goal: Objective, facts: ModelFacts | None, sets: int = 1) -> set[str]:
    """Settings of an objective that do nothing with this model and these data sets; of None those that do nothing with
    some."""
    return {f"objective {goal.name}.{name}" for name in goal.unused(facts, sets)}


def _loop_fields(forms: list[tuple[str, Form]]) -> list[tuple[str, Any]]:
    """Settings that some tuner or model has no use for, with their inputs; but for the learning rate, which has its
    own."""
    unused = {name for name, _ in _placed(forms) for tuner in tuners.all() if tuner.ignores(name)}
    unused |= {name for goal in objectives.all() for name in _unused(goal, None)}
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
