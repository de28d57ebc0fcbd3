"""demo, train, merge, compare, runs, show, log, stop, resume, delete."""

from __future__ import annotations

import json
from argparse import Namespace, _SubParsersAction
from pathlib import Path
from typing import Any

from engine import demo
from engine.bases import access
from engine.cli import following, telling
from engine.errors import UserError
from engine.events import Finished
from engine.planning import stacking
from engine.runs import chains, queue, store, view
from engine.runs.outcome import outcome
from engine.specs import presets
from engine.specs.spec import RunSpec
from engine.tuners.merge import KINDS


def add(commands: _SubParsersAction[Any]) -> None:
    sample = commands.add_parser("demo", help="run the main job on the embedded model and sample data")
    sample.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    sample.set_defaults(call=_demo)

    train = commands.add_parser("train", help="train a spec to its end")
    train.add_argument("spec", type=Path, metavar="SPEC.yaml")
    train.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting, such as tuner.rank=8"
    )
    train.add_argument("--preset", metavar="NAME", help="settings that hold where the spec says nothing; see preset")
    train.add_argument("--explain", action="store_true", help="print what would be done and why, and stop")
    train.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    train.set_defaults(call=_train)

    compare = commands.add_parser("compare", help="train several specs one after the other and print one table")
    compare.add_argument("specs", type=Path, nargs="+", metavar="SPEC.yaml")
    compare.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    compare.set_defaults(call=_compare)

    runs = commands.add_parser("runs", help="list the runs")
    runs.add_argument(
        "--search", default="", metavar="TEXT", help="only those with it in name, note, tags, id or model"
    )
    runs.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    runs.set_defaults(call=_runs)

    merge = commands.add_parser("merge", help="sum what several runs added to one base, and score the sum beside them")
    merge.add_argument("runs", nargs="+", metavar="RUN")
    merge.add_argument("--weights", default="", metavar="'W W'", help="one for each run; equal ones by default")
    merge.add_argument("--how", choices=KINDS, default="linear", help="linear is the exact sum; see the tuner merge")
    merge.add_argument("--density", type=float, default=0.5, help="share of each run's changes that ties and dare keep")
    merge.add_argument("--rank", type=int, help="of the result of svd, ties and dare")
    merge.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    merge.set_defaults(call=_merge)

    for name, call, help in (
        ("show", _show, "what a run or a chain is, does or did, and what that says"),
        ("log", _log, "everything a run told, from its beginning"),
        ("stop", _stop, "stop a run, or what is at work of a chain, at its next step, with a whole checkpoint"),
        ("resume", _resume, "go on with a run or a chain that was stopped or broke"),
        ("delete", _delete, "remove a run, or a chain with all its runs, and all files"),
    ):
        command = commands.add_parser(name, help=help)
        command.add_argument("run", metavar="RUN")
        command.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        command.set_defaults(call=call)


def _demo(options: Namespace) -> int:
    run = following.started(demo.spec(), options)
    if following.followed(run, options) != "finished":
        return 1
    _print_result(store.get(run.id), options)
    return 0


def _train(options: Namespace) -> int:
    changes = {}
    for item in options.set:
        name, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"--set {item} has no value.", "Write it as NAME=VALUE, such as --set tuner.rank=8.")
        changes[name.strip()] = value
    preset = presets.load(access.LOCAL, options.preset) if options.preset else None
    spec = RunSpec.load(options.spec, changes, preset)
    spec = following.beside(spec, options.spec)
    return _explain(spec, options) if options.explain else _trained(spec, options)


def _merge(options: Namespace) -> int:
    first, *_ = found = [store.get(run_id) for run_id in options.runs]
    settings = {"weights": options.weights, "how": options.how, "density": options.density, "rank": options.rank}
    return _trained(stacking.merge_of(first.spec(), [run.id for run in found], **settings), options)


def _trained(spec: RunSpec, options: Namespace) -> int:
    run = following.started(spec, options)
    state = following.followed(run, options)
    if state == "finished":
        _print_result(store.get(run.id), options)
    elif options.json:
        print(json.dumps(view.summary(store.get(run.id)), ensure_ascii=False))
    if not options.json:
        print(run.folder)
    return 0 if state == "finished" else 2


def _compare(options: Namespace) -> int:
    table = []
    # All are checked before the first starts.
    specs = [following.beside(RunSpec.load(path), path) for path in options.specs]
    for path, spec in zip(options.specs, specs, strict=True):
        following.say(f"{path.name}:", options)
        run = following.started(spec, options)
        following.followed(run, options)
        table.append({"spec": path.name, **view.summary(store.get(run.id))})
    if options.json:
        print(json.dumps({"runs": table}, ensure_ascii=False))
    else:
        print("\n" + telling.table(table))
    return 0 if all(row["state"] == "finished" for row in table) else 1


def _runs(options: Namespace) -> int:
    queue.reconcile()
    found = [view.summary(run) for run in store.listed(search=options.search)]
    none = "No run has that in it." if options.search else "No runs yet. Start one with: python -m engine demo"
    if options.json:
        print(json.dumps({"runs": found}, ensure_ascii=False))
    else:
        print(telling.table(found) if found else none)
    return 0


def _show(options: Namespace) -> int:
    queue.reconcile()
    if chains.is_chain(options.run):
        return following.show(chains.get(options.run), options)
    run = store.get(options.run)
    record, judged = view.summary(run), outcome(run)
    chain = chains.of(run.id)
    record |= {"chain": chain.id if chain else None}
    if options.json:
        print(json.dumps({**record, "verdict": judged.as_dict() if judged else None}, ensure_ascii=False))
        return 0
    for name, value in record.items():
        if value not in (None, "", []):
            print(f"{name.replace('_', ' ')}: {', '.join(value) if isinstance(value, list) else value}")
    for line in judged.lines() if judged else []:
        print(line)
    print(run.folder)
    return 0


def _log(options: Namespace) -> int:
    events, _ = store.get(options.run).events(0)
    if options.json:
        print(json.dumps({"events": [{"type": event.type, **vars(event)} for event in events]}, ensure_ascii=False))
    else:
        for event in events:
            for line in following.lines(event):
                print(line)
    return 0


def _stop(options: Namespace) -> int:
    if chains.is_chain(options.run):
        chains.stop(chains.get(options.run))
        return _told(options.run, "Stopping at the next step; what comes after it waits.", options)
    run = store.get(options.run)
    queue.stop(run)
    return _told(run.id, "Stopping at the next step." if store.get(run.id).state != "stopped" else "Stopped.", options)


def _resume(options: Namespace) -> int:
    if chains.is_chain(options.run):
        chain = chains.get(options.run)
        chains.resume(chain)
        return following.to_the_end(chain, options)
    run = store.get(options.run)
    queue.resume(run)
    state = following.followed(run, options)
    if state == "finished":
        _print_result(store.get(run.id), options)
    return 0 if state == "finished" else 1


def _delete(options: Namespace) -> int:
    if chains.is_chain(options.run):
        chains.delete(chains.get(options.run))
        return _told(options.run, f"Chain {options.run} is deleted with its runs.", options)
    run = store.get(options.run)
    store.delete(run)
    return _told(run.id, f"Run {run.id} is deleted.", options)


def _told(id: str, sentence: str, options: Namespace) -> int:
    print(json.dumps({"run": id, "message": sentence}) if options.json else sentence)
    return 0


def _explain(spec: RunSpec, options: Namespace) -> int:
    from engine.planning.explain import explain

    record = explain(spec)
    print(json.dumps(record.as_dict(), ensure_ascii=False) if options.json else "\n".join(record.lines()))
    return 0


def _print_result(run: store.Run, options: Namespace) -> None:
    record = view.summary(run)
    if options.json:
        print(json.dumps(record, ensure_ascii=False))
        return
    done = next(event for event in reversed(run.events(0)[0]) if isinstance(event, Finished))
    for line in telling.result_lines(run.id, done):
        print(line)
