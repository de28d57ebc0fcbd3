"""Base models to choose from, each with what it costs on this machine for an objective and a tuner.

Embedded ones, the small catalogue, folders of the home, whole models that runs left, and what a search found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from engine import home, machine
from engine.bases import catalog, lineage, models
from engine.bases.model_search import Found
from engine.bases.models import ModelFacts
from engine.errors import UserError
from engine.machine import Machine
from engine.planning import layout, planner, stacking
from engine.runs.store import Run
from engine.specs.sections import Model
from engine.specs.spec import RunSpec

TYPICAL_TOKENS = 256
"""Length of the rows that a cost is stated for, before anybody knows the data."""
MOST_OWN = 12
TRIED = "Well-known models of the Hub"
Basis = Literal["its shapes", "its size"]


@dataclass(frozen=True)
class Cost:
    """Peak memory of training. basis: what it follows from."""

    bytes: int
    available: int
    basis: Basis

    @property
    def fits(self) -> bool:
        return self.bytes <= self.available

    @property
    def is_tight(self) -> bool:
        return self.bytes > layout.TIGHT * self.available


@dataclass(frozen=True)
class Choice:
    """What is offered for: an objective and a tuner by name, and how many data sets are learned."""

    objective: str
    tuner: str
    sets: int = 1


@dataclass(frozen=True)
class Offer:
    id: str
    title: str
    kind: str
    """ "decoder" or "encoder"; "" where it is not known."""
    parameters: int | None
    license: str | None
    note: str
    gated: bool = False
    cost: Cost | None = None
    refusal: str | None = None
    """Why it doesn't go with the objective and the tuner."""
    goes_with: str = ""
    """The objective that it does go with, where it is not the chosen one."""


@dataclass(frozen=True)
class Group:
    title: str
    offers: list[Offer]


def groups(choice: Choice, runs: Sequence[Run] = (), folders: bool = False) -> list[Group]:
    """All that is offered. runs: whose whole models may be used. folders: whether those of the home may be, too."""
    here = machine.inspect()
    embedded = [
        _priced(_embedded(entry), models.embedded_facts(entry), choice, here) for entry in catalog.EMBEDDED.values()
    ]
    known = [_priced(_known(entry), _catalog_facts(entry.id), choice, here) for entry in catalog.HUB]
    own = [_of_folder(*item, choice, here) for item in _own(runs, folders)]
    found = [Group("Here already, no Hub needed", embedded), Group(TRIED, known), Group("Your own", own)]
    return [group for group in found if group.offers]


def found(results: Iterable[Found], choice: Choice) -> list[Offer]:
    """What a search found, with costs guessed from the number of parameters."""
    here = machine.inspect()
    offers = []
    for item in results:
        used = f"{item.downloads:,} downloads in 30 days." if item.downloads else ""
        offer = Offer(item.id, item.id, item.kind, item.parameters, item.license, used, item.gated)
        facts = _guessed(item)
        offers.append(_priced(offer, facts, choice, here, "its size") if facts else offer)
    return offers


def cost(facts: ModelFacts, choice: Choice, here: Machine, basis: Basis = "its shapes") -> Cost:
    """Peak memory with rows of `TYPICAL_TOKENS`, in the layout that the planner would choose. Raises UserError where
    the settings contradict each other."""
    values = {"model": {"id": facts.id}, "objective": choice.objective, "tuner": choice.tuner}
    return cost_of(settled(values, choice.sets), facts, here, basis)


def settled(values: Mapping[str, Any], sets: int = 1) -> RunSpec:
    """A spec of these values before its data sets are known, and whether it fits or not. Raises SettingError."""
    launch = {**values.get("launch", {}), "ignore_memory": True}
    return RunSpec.parse({**values, "data": [{"source": "-"}] * sets, "launch": launch})


def cost_of(spec: RunSpec, facts: ModelFacts, here: Machine, basis: Basis = "its shapes") -> Cost:
    """As `cost`, with settings of one's own."""
    spec = spec.on(facts)
    virtual = spec.tuner.virtual_tokens(spec.tuner_settings)
    typical = min(TYPICAL_TOKENS, spec.training.max_tokens)
    tokens = min(typical, max(1, facts.context - virtual) if facts.context else typical)
    rows = spec.training.batch_size
    plan = planner.make(spec, facts, [tokens] * rows, here, [tokens // 2] * rows)
    return Cost(plan.memory_bytes, plan.memory_available, basis)


def _priced(offer: Offer, facts: ModelFacts, choice: Choice, here: Machine, basis: Basis = "its shapes") -> Offer:
    from engine import objectives, tuners

    chosen, changes = objectives.get(choice.objective), tuners.get(choice.tuner)
    refusal = chosen.refuses(facts)
    if refusal:
        others = [other.title for other in objectives.all() if other.refuses(facts) is None]
        return replace(offer, refusal=refusal, goes_with=next(iter(others), ""))
    refusal = changes.refuses(facts, changes.defaults(choice.sets))
    if refusal:
        return replace(offer, refusal=refusal)
    try:
        return replace(offer, cost=cost(facts, choice, here, basis))
    except UserError as error:
        return replace(offer, refusal=error.problem)


def _embedded(entry: catalog.Embedded) -> Offer:
    return Offer(entry.id, entry.title, entry.kind, entry.parameters, entry.license, entry.note)


def _known(entry: catalog.Known) -> Offer:
    return Offer(entry.id, entry.title, entry.kind, entry.parameters, entry.license, entry.note, entry.gated)


@lru_cache(maxsize=64)
def _catalog_facts(id: str) -> ModelFacts:
    return models.catalog_facts(next(entry for entry in catalog.HUB if entry.id == id))


def _own(runs: Sequence[Run], folders: bool) -> list[tuple[str, str, str]]:
    """Id, title and note of whole models in the home's `models` and of what finished runs left."""
    found = []
    if folders:
        place = home.home() / "models"
        inside = sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
        found = [(str(path), path.name, "A folder of this home.") for path in inside if (path / "config.json").exists()]
    for run in runs:
        if run.state == "finished" and len(found) < MOST_OWN:
            note = _note(run)
            if note:
                found.append((f"{lineage.PREFIX}{run.id}", run.name, note))
    return found[:MOST_OWN]


def _note(run: Run) -> str:
    """What it means to start from a run's result; empty where nothing can."""
    try:
        left = lineage.parent(f"{lineage.PREFIX}{run.id}")
        if stacking.on_top(left) is None:
            return "The result of this run; training goes on from it."
        return "" if stacking.goes_on(left) else "What this run added can go on learning ('Go on with what was added')."
    except UserError:
        return ""


def _of_folder(id: str, title: str, note: str, choice: Choice, here: Machine) -> Offer:
    try:
        facts = models.facts(Model(id=id))
    except UserError as error:
        return Offer(id, title, "", None, None, note, refusal=error.problem)
    offer = Offer(id, title, facts.kind, facts.parameters, facts.license, note)
    return _priced(offer, facts, choice, here)


def _guessed(item: Found) -> ModelFacts | None:
    """Facts of a model of which only kind and size are known: those of the nearest one in the catalogue, scaled.

    Layers keep their number, and widths grow with the square root of the parameters.
    """
    if not item.parameters:
        return None
    like = [entry for entry in catalog.HUB if entry.kind == item.kind]
    near = min(like, key=lambda entry: abs(entry.parameters - (item.parameters or 0)))
    scale = (item.parameters / near.parameters) ** 0.5
    grown = {name: round(near.config[name] * scale) for name in ("hidden_size", "intermediate_size")}
    facts = _catalog_facts(near.id)
    wide = {name: (round(o * scale), round(i * scale)) for name, (o, i) in facts.linears.items()}
    weights = {name: models.TensorInfo(info.dtype, _scaled(info.shape, scale)) for name, info in facts.tensors.items()}
    return replace(
        facts,
        id=item.id,
        config={**facts.config, **grown},
        tensors=weights,
        parameters=item.parameters,
        hidden=grown["hidden_size"],
        linears=wide,
    )


def _scaled(shape: tuple[int, ...], scale: float) -> tuple[int, ...]:
    return tuple(max(1, round(size * scale)) for size in shape)
