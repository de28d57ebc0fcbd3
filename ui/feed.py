"""What the page's scripts ask for: the list of runs, one run with its result, its events since last time, downloads."""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from engine import addresses, export, tuners
from engine.errors import RunError, SettingError, UserError
from engine.events import Evaluation, Event, Progress
from engine.planning import experience
from engine.runs import alone, chains, queue, store, view
from ui import bodies, history, limits, owner, result
from ui.door import guarded
from ui.owner import own

E = TypeVar("E", bound=Event)

AT_FIRST = (400, 300)
"""Most steps and most other events of one answer when much is new: a curve has no more pixels, a log no more lines."""
AT_ONCE = (8, 12)
"""The same for an answer in passing, once a second: it stays below a kilobyte."""
MOST_IN_RAIL = 30
MUCH_BYTES = 50_000
MOST_BYTES = 8_000_000


_RUN = "/tunesmith/runs/{run}"


def routes() -> list[BaseRoute]:
    actions: dict[str, Callable[[store.Run], object]] = {
        "stop": queue.stop,
        "end": lambda run: queue.stop(run, force=True),
        "delete": store.delete,
    }
    acts = [Route(f"{_RUN}/{name}", guarded(_action(act)), methods=["POST"]) for name, act in actions.items()]
    return [
        Route("/tunesmith/runs", guarded(_runs)),
        Route(_RUN, guarded(_run)),
        Route(f"{_RUN}/feed", guarded(_feed)),
        Route(f"{_RUN}/download/{{what}}", guarded(_download)),
        Route(f"{_RUN}/resume", guarded(_resume), methods=["POST"]),
        *acts,
    ]


def delta(run: store.Run, offset: int) -> dict[str, Any]:
    """A run's state, and what it told since byte `offset`.

    steps: [step, loss] of training. now: the newest step with all its figures, where there is a new one. events:
    everything else. left_out: how many lines of the log these are too few. left: seconds of training to come.
    estimate_seconds: of training, as planned before the start. fits: there where no weights of the model learn, so that
    there are no losses and no passes.
    """
    events, end = run.events(offset, MOST_BYTES)
    most_steps, most_others = AT_FIRST if end - offset > MUCH_BYTES or not offset else AT_ONCE
    trained = [event for event in events if isinstance(event, Progress) and event.phase == "train"]
    steps = [event for event in _thinned(trained, most_steps) if event.loss is not None]
    checks = [event for event in events if isinstance(event, Evaluation)]
    others = [event for event in events if not isinstance(event, (Progress, Evaluation))]
    shown = {id(event) for event in (*_thinned(checks, most_others), *others[-most_others:])}
    summary = view.summary(run)
    record = {
        "offset": end,
        "state": summary["state"],
        "phase": summary["phase"],
        "done": summary["phase_done"],
        "total": summary["phase_total"],
        "left": summary["eta_seconds"],
        "estimate_seconds": experience.planned(run.folder, "train"),
        "left_out": len(checks) + len(others) - len(shown),
        "steps": [[event.step, _short(event.loss)] for event in steps],
        "events": [_told(event) for event in events if id(event) in shown],
    }
    fits = _fits(run)
    if fits:
        record["fits"] = True
    newest = (trained if fits else steps)[-1:]
    if newest:
        record["now"] = {name: _short(value) for name, value in _told(newest[0]).items() if value is not None}
    return record


def _fits(run: store.Run) -> bool:
    try:
        return tuners.get(run.about.tuner).kind == "fit"
    except SettingError:  # settings of another version
        return False


def _runs(request: Request) -> Response:
    """The newest runs, and those at work."""
    mine = store.listed(owner=owner.current())
    shown = [*mine[:MOST_IN_RAIL], *(run for run in mine[MOST_IN_RAIL:] if run.state in store.ACTIVE)]
    stages = chains.places(owner.current())
    answer = JSONResponse([{**_line(run), "stage": history.stage(run, stages)} for run in shown])
    answer.headers["etag"] = tag = f'"{zlib.crc32(bytes(answer.body)):08x}"'
    # A page asks all the time, and mostly there is nothing new.
    return Response(status_code=304, headers={"etag": tag}) if request.headers.get("if-none-match") == tag else answer


def _line(run: store.Run) -> dict[str, Any]:
    """One line of the rail."""
    try:
        changed = (run.folder / "events.jsonl").stat().st_mtime_ns
    except OSError:
        changed = 0
    return _line_at(run, changed)


@lru_cache(maxsize=1000)
def _line_at(run: store.Run, changed: int) -> dict[str, Any]:
    summary = view.summary(run)
    line = {name: summary[name] for name in ("id", "name", "state", "percent", "before", "after", "unit")}
    return {**line, "percent": None if line["percent"] is None else round(line["percent"])}


def _run(request: Request) -> Response:
    run = own(request.path_params["run"])
    told = {"summary": view.summary(run), "result": result.result(run), "verdict": result.verdict(run)}
    return JSONResponse({**told, "waits": chains.waits(run), "service": _service(run), "alone": alone.could_be(run)})


def _service(run: store.Run) -> str | None:
    """The host of the service that a run turns to, which may want a key when it is resumed."""
    try:
        spec = run.spec()
    except (UserError, OSError):  # settings of another version
        return None
    return next((addresses.host(one) for one, _ in spec.objective.addresses(spec.objective_settings)), None)


def _resume(request: Request) -> Response:
    run = own(request.path_params["run"])
    limits.resume(run, bodies.text(bodies.read(request), "key") or "")
    return JSONResponse({"done": True})


def _feed(request: Request) -> Response:
    given = request.query_params.get("offset", "0")
    offset = int(given) if given.isdecimal() and len(given) < 16 else 0
    return JSONResponse(delta(own(request.path_params["run"]), offset))


def _action(act: Callable[[store.Run], object]) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        act(own(request.path_params["run"]))
        return JSONResponse({"done": True})

    return answer


def _download(request: Request) -> Response:
    run, what = own(request.path_params["run"]), request.path_params["what"]
    if what == "spec":
        return FileResponse(run.folder / "spec.yaml", filename=f"{run.id}.yaml", media_type="application/yaml")
    if what == "source" and (run.folder / "model" / "train.py").is_file():
        return FileResponse(run.folder / "model" / "train.py", media_type="text/plain")
    if what not in ("zip", "script", "source"):
        raise RunError("There is no such download.", "Use the links on the page.")
    place = Path(tempfile.mkdtemp(prefix="tunesmith-"))
    try:
        if what == "zip":
            made = export.export(run.folder, "zip", place / f"{run.id}.zip")
        else:
            folder = export.export(run.folder, "script", place / "script")
            made = Path(shutil.make_archive(str(place / f"{run.id}-script"), "zip", folder))
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    after = BackgroundTask(shutil.rmtree, place, ignore_errors=True)
    return FileResponse(made, filename=made.name, media_type="application/zip", background=after)


def _thinned(events: list[E], most: int) -> list[E]:
    """At most `most` of the events, evenly chosen, the newest among them."""
    stride = max(1, -(-len(events) // most))
    return events[::-1][::stride][::-1]


_UNSHOWN = {
    "finished": ("metrics",),  # the result is asked for by itself
    "progress": ("type", "phase", "grad_norm", "learning_rate"),
}


def _told(event: Event) -> dict[str, Any]:
    """An event without what the page doesn't show of it."""
    record = {"type": event.type, **asdict(event)}
    record["time"] = int(record["time"])
    for name in _UNSHOWN.get(event.type, ()):
        del record[name]
    return record


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) and abs(value) < 1e6 else value
