"""What the Runs view asks for: all runs of the owner, what is said of one, presets, and two runs side by side."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from engine.errors import SettingError, UserError
from engine.judging.measures import measure
from engine.runs import chains, queue, store, view
from engine.runs.comparison import compare
from engine.runs.store import Run
from engine.specs import presets
from engine.tuners.merge import COMBINED
from ui import bodies, owner
from ui.door import guarded
from ui.owner import own

PAGE = 50
"""Runs of one answer."""
MOST_AT_ONCE = 200
LONGEST_SEARCH = 200
_TOLD = (
    *("id", "name", "state", "created", "percent", "model", "objective", "tuner", "data", "before", "after"),
    *("main", "unit", "seconds", "memory_bytes", "artifact_bytes", "tags", "note"),
)
SORTS = ("name", "state", "model", "data", "after", "seconds", "memory_bytes", "artifact_bytes", "created")
Plans = Mapping[str, tuple[chains.Chain, int]]
"""Runs that are stages of plans, as `chains.places` gives them."""
_OF_INDEX = ("name", "state", "created")
"""What can be sorted by without looking into each run."""


def routes() -> list[BaseRoute]:
    run = "/tunesmith/runs/{run}"
    return [
        Route("/tunesmith/history", guarded(_history), methods=["GET"]),
        Route("/tunesmith/history/delete", guarded(_delete), methods=["POST"]),
        Route("/tunesmith/history/stop", guarded(_stop), methods=["POST"]),
        Route("/tunesmith/compare", guarded(_compare), methods=["GET"]),
        Route("/tunesmith/presets", guarded(_presets), methods=["GET"]),
        Route("/tunesmith/presets/delete", guarded(_delete_preset), methods=["POST"]),
        Route(f"{run}/said", guarded(_say), methods=["POST"]),
        Route(f"{run}/preset", guarded(_save_preset), methods=["POST"]),
    ]


def _history(request: Request) -> Response:
    """One page of the runs that were asked for. With `of`, the runs of these ids alone: a look in passing.

    mark: changes with the list of runs; whoever has an older one asks anew.
    """
    asked = request.query_params
    mine, stages = store.listed(owner=owner.current()), chains.places(owner.current())
    if "of" in asked:
        ids = set(asked["of"].split(",")[:PAGE])
        return JSONResponse({"runs": [_line(run, stages) for run in mine if run.id in ids], "mark": _mark(mine)})
    search = asked.get("search", "")[:LONGEST_SEARCH]
    state, tag = asked.get("state", ""), asked.get("tag", "").casefold()
    found = store.listed(owner=owner.current(), search=search) if search.strip() else mine
    found = [run for run in found if state in ("", run.state) and (not tag or tag in map(str.casefold, run.tags))]
    if asked.get("plan"):
        found = [run for run in found if run.id in stages and stages[run.id][0].id == asked["plan"]]
    found = _sorted(found, asked.get("sort", "created"), asked.get("order", "desc") == "desc")
    given = asked.get("page", "0")
    page = min(int(given) if given.isdecimal() and len(given) < 7 else 0, max(0, (len(found) - 1) // PAGE))
    return JSONResponse(
        {
            "runs": [_line(run, stages) for run in found[page * PAGE : (page + 1) * PAGE]],
            "page": page,
            "pages": max(1, -(-len(found) // PAGE)),
            "found": len(found),
            "total": len(mine),
            "states": Counter(run.state for run in mine),
            "tags": _tags(mine),
            "mark": _mark(mine),
        }
    )


def _sorted(runs: list[Run], by: str, descending: bool) -> list[Run]:
    """Runs that lack the figure stand last, whichever way it is sorted."""
    if by not in SORTS:
        raise SettingError(["Runs can't be sorted so."], "Reload the page.")

    def key(run: Run) -> Any:
        value = getattr(run, by) if by in _OF_INDEX else view.summary(run)[by]
        return value.casefold() if isinstance(value, str) else value

    known = [(found, run) for run in runs if (found := key(run)) not in (None, "")]
    known.sort(key=lambda pair: pair[0], reverse=descending)
    placed = {run.id for _, run in known}
    return [*(run for _, run in known), *(run for run in runs if run.id not in placed)]


def _line(run: Run, stages: Plans) -> dict[str, Any]:
    found = view.summary(run)
    line = {name: found[name] for name in _TOLD}
    merges = run.state == "finished" and run.about.tuner in COMBINED
    main = measure(found["main"]).title if found["main"] else None
    return {**line, "main": main, "merges": merges, "stage": stage(run, stages)}


def stage(run: Run, stages: Plans) -> dict[str, Any] | None:
    """Of a run that is a stage of a plan: which one, of how many runs, and the plan; None of one by itself."""
    if run.id not in stages:
        return None
    chain, place = stages[run.id]
    named = {"title": chain.links[place].title, "place": place + 1, "count": len(chain.links)}
    return {**named, "plan": chain.id, "name": chain.name}


def _tags(runs: Sequence[Run]) -> list[str]:
    """All tags, the most used first."""
    every = Counter(tag.casefold() for run in runs for tag in run.tags)
    written = {tag.casefold(): tag for run in reversed(runs) for tag in run.tags}
    return [written[tag] for tag, _ in every.most_common()]


def _mark(runs: Sequence[Run]) -> str:
    told = "\n".join(f"{run.id} {run.state} {run.name} {run.tags} {run.note}" for run in runs)
    return f"{zlib.crc32(told.encode(errors='replace')):08x}"


def _delete(request: Request) -> Response:
    """Delete several runs; those that can't be are told with the reason."""
    # The newest first: of several stages, none needs those after it.
    kept, ids = _each(request, store.delete)
    return JSONResponse({"deleted": len(ids) - len(kept), "kept": kept})


def _stop(request: Request) -> Response:
    """Stop several runs at their next step, of a plan whatever of it is at work, so that nothing after it starts."""
    stopped: set[str] = set()

    def stop(run: Run) -> None:
        chain = chains.of(run.id)
        if chain is None:
            queue.stop(run)
        elif chain.id not in stopped:
            chains.stop(chain)
            stopped.add(chain.id)

    kept, ids = _each(request, stop)
    return JSONResponse({"stopped": len(ids) - len(kept), "kept": kept})


def _each(request: Request, act: Callable[[Run], object]) -> tuple[list[dict[str, str]], list[str]]:
    """Do something with the runs that were asked for, the newest first; those with which it can't be done, and all."""
    ids = (bodies.texts(bodies.read(request), "runs") or [])[:MOST_AT_ONCE]
    order = {run.id: number for number, run in enumerate(store.listed(owner=owner.current()))}
    kept = []
    for run_id in sorted(ids, key=lambda one: order.get(one, len(order))):
        try:
            act(own(run_id))
        except UserError as error:
            kept.append({"id": run_id, "problem": error.problem, "fix": error.fix})
    return kept, ids


def _say(request: Request) -> Response:
    run, asked = own(request.path_params["run"]), bodies.read(request)
    said = store.annotate(run, bodies.text(asked, "name"), bodies.text(asked, "note"), bodies.texts(asked, "tags"))
    return JSONResponse({"name": said.name, "note": said.note, "tags": list(said.tags)})


def _compare(request: Request) -> Response:
    ids = request.query_params.get("runs", "").split(",")
    if len(ids) != 2 or ids[0] == ids[1]:
        raise SettingError(["Two different runs are compared."], "Check two in the list of runs.")
    first, second = map(own, ids)
    return JSONResponse(compare(first, second).as_dict())


def _presets(request: Request) -> Response:
    return JSONResponse([preset.as_dict() for preset in presets.listed(owner.current())])


def _save_preset(request: Request) -> Response:
    run = own(request.path_params["run"])
    name = bodies.text(bodies.read(request), "name") or ""
    return JSONResponse(presets.save(owner.current(), name, run.spec()).as_dict())


def _delete_preset(request: Request) -> Response:
    presets.delete(owner.current(), bodies.text(bodies.read(request), "name") or "")
    return JSONResponse({"done": True})
