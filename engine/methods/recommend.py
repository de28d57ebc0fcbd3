"""Which objective and tuner suit the data, the model and this machine, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine import objectives, offers, tuners
from engine.bases.models import ModelFacts
from engine.errors import UserError
from engine.machine import Machine
from engine.method import Wants
from engine.methods import measured
from engine.methods.objective import Objective, pair_refusal
from engine.methods.tuner import Tuner
from engine.offers import Choice

SMALL = 200_000_000
"""Weights up to which a whole model may learn on little memory and comes out as a small file."""
ENOUGH_ROWS = 500
"""Rows to learn from, from which on learning the whole of a small model is worth its memory."""
FEW_FOR_ADDITIONS = 50
COMFORTABLE = 0.5
"""Share of the free memory that a whole model may take."""


@dataclass(frozen=True)
class Recommendation:
    objective: str
    tuner: str
    reason: str
    """In a sentence or two."""


def recommended(
    facts: ModelFacts, rows: int, labelled: bool, here: Machine, plain: bool = False, marked: bool = False
) -> Recommendation:
    """rows: to learn from; 0 where they are not known yet. labelled: whether they are texts with labels; plain: whether
    they are texts by themselves; marked: whether words are marked in them."""
    objective, why = _objective(facts, labelled or marked, plain)
    if marked:
        why = _marking(facts, why)
    tuner, how = _tuner(objective, facts, rows, here, marked)
    return Recommendation(objective.name, tuner.name, f"{why} {how}")


def _objective(facts: ModelFacts, labelled: bool, plain: bool) -> tuple[Objective, str]:
    """The first by rank that works with this kind of model and data."""
    wanted: set[Wants] = {"text"} if plain else {"labelled", "messages"} if labelled else {"messages"}
    fitting = [objective for objective in objectives.all() if objective.refuses(facts) is None]
    if not fitting:
        usual = objectives.get(objectives.DEFAULT)
        return usual, f"This model is of the kind {facts.kind}, which can't be trained here."
    readable = [objective for objective in fitting if objective.wants in wanted]
    chosen = (readable or fitting)[0]
    if plain and readable and facts.kind == "encoder" and not facts.has_mlm_head:
        return chosen, (
            "The data is plain text, and this model could guess hidden words of it; but its files hold no head for "
            "that. 'Begin with a new head' makes one, which has to learn all words from your text."
        )
    if plain and readable:
        return chosen, "The data is plain text, without answers or labels, and this model can go on reading it."
    if not readable:
        return chosen, "This model reads and does not write, so it needs texts with labels; this data has none."
    if facts.kind == "encoder":
        return chosen, "This model reads and does not write, so it learns to choose a label."
    if labelled:
        return chosen, "This model writes, so it learns to answer with the label."
    return chosen, "The data holds answers, and this model writes them."


def _marking(facts: ModelFacts, why: str) -> str:
    if facts.kind == "encoder":
        return "This model reads and does not write, so it learns to mark words."
    if facts.kind == "decoder":
        return (
            "This model writes, so it learns to list what is marked. To mark words where they stand, choose Classify, "
            "and best a model that reads both ways, such as all-MiniLM."
        )
    return why


def _tuner(objective: Objective, facts: ModelFacts, rows: int, here: Machine, marked: bool) -> tuple[Tuner, str]:
    fitting = [
        tuner
        for tuner in tuners.all()
        if pair_refusal(objective, tuner) is None
        and tuner.refuses(facts, tuner.defaults()) is None
        and not (marked and tuner.kind == "fit")  # those are fitted to one vector for each text
    ]
    if not fitting:
        return tuners.get(tuners.DEFAULT), "No tuner that is there works with it."
    worth = [tuner for tuner in fitting if not measured.shortfall(objective.name, tuner.name)] or fitting
    usual = next((tuner for tuner in worth if tuner.recommended), None) or _best(objective, worth)
    whole = next((tuner for tuner in worth if tuner.trains_base), None)
    if whole is not None and facts.kind == "encoder" and facts.parameters <= SMALL and rows >= ENOUGH_ROWS:
        share = _share(lambda: offers.cost(facts, Choice(objective.name, whole.name), here))
        if share is not None and share <= COMFORTABLE:
            return whole, (
                f"The model is small and there are {rows:,} rows, so all of it can learn ({whole.title}) in "
                f"{_percent(share)} of the free memory."
            )
    found = None if usual.recommended else measured.figures(objective.name, usual.name)
    if found:
        return usual, f"{usual.title} did best where the usual tuners were measured. {measured.quoted(found)}."
    share = _share(lambda: offers.cost(facts, Choice(objective.name, usual.name), here))
    if share is None:
        return usual, f"{usual.title} is the usual choice."
    if share > 1:
        return usual, f"{usual.title} needs the least memory of what is usual, and even that is more than is free here."
    few = f", and {rows:,} rows are enough for it" if rows >= FEW_FOR_ADDITIONS else ""
    return usual, f"{usual.title} takes {_percent(share)} of the free memory{few}."


def _best(objective: Objective, worth: list[Tuner]) -> Tuner:
    """That of the usual ones which measured best; the first where none was measured."""
    usual = [tuner for tuner in worth if tuner.usual] or worth

    def score(tuner: Tuner) -> float:
        found = measured.figures(objective.name, tuner.name)
        return found.score if found else -1.0

    return max(usual, key=score)


def _share(cost: Callable[[], offers.Cost]) -> float | None:
    try:
        found = cost()
    except UserError:
        return None
    return found.bytes / max(1, found.available)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
