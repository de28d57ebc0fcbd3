"""Objectives and tuners as cards: what each is, when to choose it, and what it costs with the chosen model here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from engine import machine, objectives, offers, tuners
from engine.bases.models import ModelFacts
from engine.errors import UserError
from engine.machine import Machine
from engine.method import Method
from engine.methods import ideas, measured
from engine.methods.objective import Objective, pair_refusal
from engine.methods.tuner import Tuner
from engine.offers import Choice
from engine.planning.layer_picture import picture
from ui import choices, model_cards, words
from ui.choices import Card, Cards, Chapter

OBJECTIVE, TUNER = "ts-objective", "ts-tuner"
"""elem_id of the inputs that keep a choice; the cards and their script go by them."""
LABELS = {"objective": "What it learns", "tuner": "What of it changes"}
SAVED_BYTES = 4
"""Of a number in a result, which is kept in float32."""


def objectives_shown(chosen: str, tuner: str, best: str) -> str:
    """best: the recommended one, or nothing."""
    other = tuners.get(tuner)
    families: dict[str, list[Objective]] = {}
    for one in objectives.all():
        families.setdefault(one.family, []).append(one)

    def card(one: Objective) -> Card:
        said = _goes_with([(own, pair_refusal(one, own)) for own in tuners.all()]) if pair_refusal(one, other) else ""
        return Card(one.name, one.title, one.help, mark=_mark(one, best), said=said)

    groups = [
        Cards(family, [card(one) for one in inside], folded=bool(family), told=_listed(inside) if family else "")
        for family, inside in sorted(families.items(), key=lambda item: bool(item[0]))
    ]
    return choices.fieldset(OBJECTIVE, LABELS["objective"], groups, chosen)


def tuners_shown(choice: Choice, best: str, facts: ModelFacts | None) -> str:
    """By their ideas; the usual ones are in sight, all others folded. facts: of the chosen model, where it is known."""
    goal, here = objectives.get(choice.objective), machine.inspect()
    if facts and goal.refuses(facts):
        facts = None  # what doesn't learn together costs nothing; why not is said where the pair is told

    def cards(of: Sequence[Tuner]) -> list[Card]:
        return [_tuner(tuner, facts, replace(choice, tuner=tuner.name), here, _mark(tuner, best)) for tuner in of]

    shown = []
    for chapter in ideas.chapters(tuners.all()):
        folded = [
            Cards(family, cards(inside), folded=True, told=", ".join(tuner.title for tuner in inside))
            for family, inside in chapter.families.items()
        ]
        in_sight = [Cards("", cards(chapter.usual))] if chapter.usual else []
        shown.append(Chapter(chapter.title, chapter.text, [*in_sight, *folded]))
    return choices.chapters(TUNER, LABELS["tuner"], shown, choice.tuner)


def _tuner(tuner: Tuner, facts: ModelFacts | None, choice: Choice, here: Machine, mark: str) -> Card:
    objective = objectives.get(choice.objective)
    said: tuple[str, choices.Mood] = ("", "plain")
    more = [tuner.choose]
    if pair_refusal(objective, tuner):
        said = _goes_with([(goal, pair_refusal(goal, tuner)) for goal in objectives.all()]), "plain"
    elif facts:
        reason = tuner.refuses(facts, tuner.defaults(choice.sets))
        if reason:
            said = reason, "bad"
        else:
            more.append(_size(tuner, facts, choice))
            said = _memory(facts, choice, here)
    found = measured.figures(objective.name, tuner.name)
    if found:
        more.append(f"Measured. {measured.quoted(found)}.")
    host = urlsplit(tuner.paper).netloc
    return Card(
        tuner.name,
        tuner.title,
        tuner.help,
        mark=mark,
        said=said[0],
        mood=said[1],
        more=tuple(more),
        warning=measured.shortfall(objective.name, tuner.name),
        link=(tuner.paper, f"Paper on {tuner.title} ({host})") if tuner.paper else None,
    )


def _size(tuner: Tuner, facts: ModelFacts, choice: Choice) -> str:
    """How much learns, and how large the result is."""
    settings = tuner.defaults(choice.sets)
    if tuner.kind != "gradient":
        return tuner.learning(facts)
    found = picture(facts, objectives.get(choice.objective), tuner, settings)
    if not found.learned:
        return "How much learns depends on its settings."
    saved = words.size(SAVED_BYTES * tuner.saved_parameters(facts, settings))
    if found.learned == found.total:
        return f"All {found.total:,} weights learn; the result takes about {saved}."
    share = f"{100 * found.learned / found.total:.2g} %"
    return f"{found.learned:,} weights learn ({share} of all); the result takes about {saved}."


def _memory(facts: ModelFacts, choice: Choice, here: Machine) -> tuple[str, choices.Mood]:
    try:
        return model_cards.cost(offers.cost(facts, choice, here))
    except UserError as error:
        return error.problem, "bad"


def _listed(methods: Sequence[Method]) -> str:
    """By their titles, without what these say in brackets."""
    return ", ".join(method.title.partition(" (")[0] for method in methods)


def _mark(method: Method, best: str) -> str:
    return "Recommended" if method.name == best else ""


def _goes_with(refusals: Sequence[tuple[Method, str | None]]) -> str:
    """With which of the other kind a method goes; why it doesn't go with another is said where it is chosen."""
    others = [other.title for other, refusal in refusals if refusal]
    if len(others) * 2 < len(refusals):
        return f"Goes with all but: {', '.join(others)}."
    return f"Goes with: {', '.join(other.title for other, refusal in refusals if not refusal)}."
