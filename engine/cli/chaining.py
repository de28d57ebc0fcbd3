"""chain, alone, chains: several runs as one plan."""

from __future__ import annotations

import json
from argparse import Namespace, _SubParsersAction
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.cli import following
from engine.runs import alone, chains, queue, store
from engine.runs.stages import Stages, title


def add(commands: _SubParsersAction[Any]) -> None:
    chain = commands.add_parser(
        "chain",
        help="train several specs as stages of one plan, each from what an earlier one leaves",
        description=(
            "FILE.yaml has a list `stages:` of specs. A stage's model can be `stage:1`, what the first one leaves; a "
            "stage that names no model begins with what the one before it leaves. With `compare: true` the first task "
            "after reading (or with a number, that stage) is learned a second time without the stages before it, and "
            "both are compared on the same held-out rows. Data, models and methods of all stages are checked before "
            "anything starts."
        ),
    )
    chain.add_argument("file", type=Path, metavar="FILE.yaml")
    chain.add_argument("--explain", action="store_true", help="print what each stage would do and why, and stop")
    chain.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    chain.set_defaults(call=_chain)

    single = commands.add_parser(
        "alone",
        help="learn each data set of a run by itself, too, and compare: do they help each other?",
        description=(
            "For a run on several data sets. Makes one run for each set alone, with the same settings, rows and split, "
            "and compares each with the run on all of them, on the held-out rows of that set that both answered. They "
            "are a chain: show, stop, resume and delete take its id."
        ),
    )
    single.add_argument("run", metavar="RUN")
    single.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    single.set_defaults(call=_alone)

    listed = commands.add_parser("chains", help="list the chains; show, stop, resume and delete take their ids, too")
    listed.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    listed.set_defaults(call=_chains)


def _chain(options: Namespace) -> int:
    plan = Stages.load(options.file)
    plan = replace(plan, specs=[following.beside(spec, options.file) for spec in plan.specs])
    queue.reconcile()
    prepared = plan.check(lambda text: following.say(text, options))
    if options.explain:
        return _explain(plan, options)
    chain = chains.create(plan, prepared)
    chains.start(chain)
    following.say(f"Chain {chain.id}", options)
    return following.to_the_end(chain, options)


def _alone(options: Namespace) -> int:
    queue.reconcile()
    run = store.get(options.run)
    chain = chains.create_singles(run, alone.singles(run))
    chains.start(chain)
    following.say(f"Chain {chain.id}", options)
    return following.to_the_end(chain, options)


def _explain(plan: Stages, options: Namespace) -> int:
    from engine.planning.explain import explain

    found = [explain(plan.stand_in(number)) for number in range(1, len(plan.specs) + 1)]
    if options.json:
        print(json.dumps({"stages": [one.as_dict() for one in found]}, ensure_ascii=False))
        return 0
    for number, one in enumerate(found, 1):
        print("\n".join([f"{title(number)}:", *(f"  {line}" for line in one.lines())]))
    return 0


def _chains(options: Namespace) -> int:
    queue.reconcile()
    found = [chains.picture(chain) for chain in chains.listed()]
    if options.json:
        print(json.dumps({"chains": found}, ensure_ascii=False))
        return 0
    for one in found:
        print(f"{one['id']}  {one['state']}  {one['name']}: {one['says']}")
    if not found:
        print("No chains yet. Start one with: python -m engine chain FILE.yaml")
    return 0
