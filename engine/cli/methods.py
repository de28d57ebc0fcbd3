"""methods: every objective and tuner, and which pairs work."""

from __future__ import annotations

import json
from argparse import Namespace, _SubParsersAction
from typing import Any

from engine import objectives, tuners
from engine.job import Method, pair_refusal
from engine.settings import describe


def add(commands: _SubParsersAction[Any]) -> None:
    methods = commands.add_parser("methods", help="every objective and tuner, and which pairs work")
    methods.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    methods.set_defaults(call=_methods)


def record() -> dict[str, Any]:
    """All methods with their settings, and all pairs with the reason where one does not work."""
    pairs = [
        {"objective": objective.name, "tuner": tuner.name, "works": not refusal, "reason": refusal}
        for objective in objectives.all()
        for tuner in tuners.all()
        for refusal in [pair_refusal(objective, tuner)]
    ]
    return {
        "objectives": [_described(method) for method in objectives.all()],
        "tuners": [_described(method) for method in tuners.all()],
        "pairs": pairs,
    }


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
    found = record()
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
        return 0
    for kind in ("objectives", "tuners"):
        print(kind.capitalize())
        for method in found[kind]:
            print(f"  {method['name']:<12} {method['title']}. {method['help']}")
            for setting in method["settings"]:
                print(f"  {'':<12}   {setting['name']} = {setting['default']}: {setting['help']}")
    print("Pairs")
    for pair in found["pairs"]:
        print(f"  {pair['objective']} with {pair['tuner']}: {pair['reason'] or 'works'}")
    return 0
