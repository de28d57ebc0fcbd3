"""methods: every objective and tuner, and which pairs work."""

from __future__ import annotations

import json
from argparse import Namespace, _SubParsersAction
from typing import Any

from engine import objectives, tuners
from engine.bases import models
from engine.bases.models import ModelFacts
from engine.method import Method
from engine.methods.objective import Objective, pair_refusal
from engine.methods.tuner import Tuner
from engine.settings import describe
from engine.specs.sections import Model


def add(commands: _SubParsersAction[Any]) -> None:
    methods = commands.add_parser("methods", help="every objective and tuner, and which pairs work")
    methods.add_argument("--model", metavar="MODEL", help="say which pairs work with this model: a Hub id or a folder")
    methods.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    methods.set_defaults(call=_methods)


def record(facts: ModelFacts | None = None) -> dict[str, Any]:
    """All methods with their settings, and all pairs with the reason where one does not work.

    facts: of a model; the pairs are then judged with it, each method with its own defaults.
    """
    pairs = [
        {
            "objective": objective.name,
            "tuner": tuner.name,
            "models": sorted(objective.architectures),
            "works": not refusal,
            "reason": refusal,
        }
        for objective in objectives.all()
        for tuner in tuners.all()
        for refusal in [_refusal(objective, tuner, facts)]
    ]
    return {
        "objectives": [{**_described(method), "models": sorted(method.architectures)} for method in objectives.all()],
        "tuners": [
            {**_described(one), "idea": one.idea, "choose": one.choose, "loads": sorted(one.loads)}
            for one in tuners.all()
        ],
        "pairs": pairs,
    }


def _refusal(objective: Objective, tuner: Tuner, facts: ModelFacts | None) -> str | None:
    refusal = pair_refusal(objective, tuner)
    if refusal or facts is None:
        return refusal
    return objective.refuses(facts, objective.Settings()) or tuner.refuses(facts, tuner.Settings())


def _described(method: Method) -> dict[str, Any]:
    settings = [
        {"name": s.name, "title": s.title, "help": s.help, "kind": s.kind, "default": s.default}
        for s in describe(method.Settings)
    ]
    return {
        "name": method.name,
        "title": method.title,
        "help": method.help,
        "paper": method.paper,
        "settings": settings,
    }


def _methods(options: Namespace) -> int:
    found = record(models.facts(Model(id=options.model)) if options.model else None)
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
        return 0
    for kind in ("objectives", "tuners"):
        print(kind.capitalize())
        for method in found[kind]:
            print(f"  {method['name']:<12} {method['title']}. {method['help']}")
            if "choose" in method:
                print(f"  {'':<12}   {method['choose']}")
            for setting in method["settings"]:
                print(f"  {'':<12}   {setting['name']} = {setting['default']}: {setting['help']}")
    print("Pairs")
    for pair in found["pairs"]:
        kinds = "" if options.model else f" (kinds of models: {', '.join(pair['models'])})"
        print(f"  {pair['objective']} with {pair['tuner']}: {pair['reason'] or f'works{kinds}'}")
    working = sum(pair["works"] for pair in found["pairs"])
    print(f"{working} of {len(found['pairs'])} pairs work{f' with {options.model}' if options.model else ''}.")
    return 0
