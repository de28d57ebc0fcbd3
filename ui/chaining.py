"""A chain that is put together on the page: its first stages stand ready while the next one is described.

They are kept as text by an input of the page, so that they outlive a restart of the server. What it holds comes from
anybody, so it is checked each time: settings by `Stages.parse`, files and models by whose they are.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from engine import addresses, objectives, tuners
from engine.bases.models import ModelFacts
from engine.data import history
from engine.errors import ModelError, SettingError
from engine.offers import Group, Offer
from engine.runs import chains, stages
from engine.runs.stages import Stages
from engine.specs.sections import Model
from engine.specs.spec import RunSpec
from engine.teachers import keys
from ui import limits, owner, sources, words

MOST = stages.MOST
MOST_LETTERS = 300_000
NOTHING = Stages([])


def read(text: str) -> Stages:
    """The stages that stand ready, from what `text` gave. Raises UserError for anything else, or what is not theirs."""
    if not text:
        return NOTHING
    try:
        if len(text) > MOST_LETTERS:
            raise ValueError(len(text))
        values = json.loads(text)
    except ValueError:
        raise SettingError(["The stages of this plan can't be read."], "Reload the page and begin anew.") from None
    plan = Stages.parse(values, fewest=0)
    for spec in plan.specs:
        require(spec)
    return plan


def text(plan: Stages) -> str:
    """For an input to keep; empty where no stage stands ready."""
    return json.dumps(plan.as_dict()) if plan.specs else ""


def require(spec: RunSpec) -> None:
    """Raises where a stage would use data or a model that is not the visitor's to use."""
    for entry in spec.data:
        sources.require(entry.source)
    limits.require_models(spec)


def joined(plan: Stages, spec: RunSpec, compare: bool = False) -> Stages:
    """The plan with one more stage. Raises SettingError where it names stages that are not before it."""
    values = {"stages": [*(one.as_dict() for one in plan.specs), spec.as_dict()], "compare": compare}
    return Stages.parse(values, fewest=1)


def facts(plan: Stages, name: str) -> ModelFacts:
    """What is known of a model that a stage is to leave. Raises UserError."""
    _require_there(plan, name)
    return plan.facts(Model(id=name))


def left(plan: Stages, name: str) -> stages.Planned:
    """As `facts`: what it will be for a run that goes on from it."""
    _require_there(plan, name)
    return plan.left(stages.number_of(name))


def offered(plan: Stages) -> list[Group]:
    """What the stages leave, the newest first, to begin with."""
    found = [
        Offer(
            f"{stages.PREFIX}{number}",
            f"What stage {number} leaves",
            "",
            None,
            None,
            f"{_what(spec)}: {_data(spec)}.",
        )
        for number, spec in enumerate(plan.specs, 1)
    ]
    return [Group("This plan", found[::-1])] if found else []


def services(plan: Stages) -> list[str]:
    """The hosts that its stages turn to, each once."""
    found = [one for spec in plan.specs for one, _ in spec.objective.addresses(spec.objective_settings)]
    return list(dict.fromkeys(map(addresses.host, found)))


def started(plan: Stages, key: str = "") -> chains.Chain:
    """Check all stages, make their runs and let the first one in.

    key: of the first service, for the runs that turn to it. One that needs another key asks for it when it is resumed.
    """
    keys.checked(key)
    for spec in plan.specs:
        require(spec)
    limits.require_turn()
    limits.require_disk()
    chain = chains.create(plan, plan.check(lambda told: None), owner.current())
    for run in filter(None, chains.runs(chain)):
        spec = run.spec()
        turned = [addresses.host(one) for one, _ in spec.objective.addresses(spec.objective_settings)]
        if turned and turned[0] == services(plan)[0]:
            keys.keep(run.folder, key)
    chains.start(chain)
    return chain


def shown(plan: Stages) -> str:
    """The stages as markup: those that stand ready, and the one that is described below."""
    if not plan.specs:
        return ""
    cards = [_card(number, _what(spec), _data(spec), "Ready") for number, spec in enumerate(plan.specs, 1)]
    here = len(plan.specs) + 1
    cards.append(_card(here, "Described below", "", "", here=True))
    return (
        "<section class='ts-chain' aria-label='Stages of this plan'><h2 tabindex='-1'>"
        f"A plan of {here} stages</h2><ol class='ts-stages'>{''.join(cards)}</ol></section>"
    )


def _card(number: int, what: str, data: str, state: str, here: bool = False) -> str:
    current = " aria-current='step'" if here else ""
    lines = [f"<span class='ts-stage-data'>{escape(data)}</span>"] if data else []
    lines += [f"<span class='ts-stage-state'>{escape(state)}</span>"] if state else []
    return (
        f"<li class='ts-stage'{current}><b>{escape(stages.title(number))}</b>"
        f"<span>{escape(what)}</span>{''.join(lines)}</li>"
    )


def _what(spec: RunSpec) -> str:
    return f"{chains.brief(spec.objective.title)}, {chains.brief(spec.tuner.title)}"


def _data(spec: RunSpec) -> str:
    first, *more = [history.title(entry.source) for entry in spec.data]
    return words.brief(first) + (f" and {len(more)} more" if more else "")


def _require_there(plan: Stages, name: str) -> None:
    number = stages.number_of(name)
    if not 1 <= number <= len(plan.specs):
        raise ModelError(f"There is no stage {number} before this one.", "Choose another model.")


def blank(plan: Stages) -> dict[str, Any]:
    """What the form shows at first for the stage after these: it begins with what the last one leaves."""
    model = {"id": f"{stages.PREFIX}{len(plan.specs)}"}
    chosen = {"objective": objectives.DEFAULT, "tuner": tuners.DEFAULT}
    return RunSpec.parse({"model": model, "data": [{"source": "-"}], **chosen}).as_dict()
