"""What the page's scripts ask for: the list of runs, one run's state and result, its events since last time."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from engine import export
from engine.errors import RunError, UserError
from engine.events import Event, Finished, Progress
from engine.files import read_json
from engine.runs import queue, store, view
from ui.security import BROKEN, OWNER, own

log = logging.getLogger("tunesmith")
MOST_POINTS = 400
"""More points than a curve has pixels for are thinned out."""
MOST_LINES = 300
MOST_BYTES = 4_000_000
ROWS_SHOWN = 5


def routes() -> list[Route]:
    return [
        Route("/tunesmith/runs", _door(_runs)),
        Route("/tunesmith/runs/{run}", _door(_run)),
        Route("/tunesmith/runs/{run}/feed", _door(_feed)),
        Route("/tunesmith/runs/{run}/stop", _door(_act(lambda run: queue.stop(run))), methods=["POST"]),
        Route("/tunesmith/runs/{run}/end", _door(_act(lambda run: queue.stop(run, force=True))), methods=["POST"]),
        Route("/tunesmith/runs/{run}/resume", _door(_act(queue.resume)), methods=["POST"]),
        Route("/tunesmith/runs/{run}/delete", _door(_act(store.delete)), methods=["POST"]),
        Route("/tunesmith/runs/{run}/download/{what}", _door(_download)),
    ]


def thinned(events: list[Event]) -> list[Event]:
    """At most MOST_POINTS progress events and MOST_LINES others, the newest always among them."""
    steps = [number for number, event in enumerate(events) if isinstance(event, Progress) and event.phase == "train"]
    others = [number for number in range(len(events)) if number not in set(steps)]
    stride = max(1, -(-len(steps) // MOST_POINTS))
    kept = set(steps[::-1][::stride]) | set(others[-MOST_LINES:])
    return [event for number, event in enumerate(events) if number in kept]


def compact(event: Event) -> dict[str, Any]:
    """An event without what the page doesn't show."""
    record = {"type": event.type, **{name: value for name, value in asdict(event).items() if value is not None}}
    record.pop("time", None)
    if isinstance(event, Progress):
        record = {name: round(value, 5) if isinstance(value, float) else value for name, value in record.items()}
        record.pop("grad_norm", None)
    if isinstance(event, Finished):
        record.pop("metrics", None)  # the result is asked for by itself
    return record


def result(run: store.Run) -> dict[str, Any] | None:
    """Scores and rows of a finished run; None for another."""
    done = next((event for event in reversed(run.last_events()) if isinstance(event, Finished)), None)
    if done is None or run.state != "finished":
        return None
    record = asdict(done)
    before, after = (read_json(run.folder / "scores" / f"{name}.json") or {"rows": []} for name in ("before", "after"))
    earlier = {row["row"]: row for row in before["rows"]}
    rows = [{**row, "was": earlier.get(row["row"], {}).get("answer")} for row in after["rows"]]
    ordered = sorted(rows, key=lambda row: (row["score"], -(row["loss"] or 0)))
    record["worst"] = [row for row in ordered if row["score"] < 1][:ROWS_SHOWN]
    record["best"] = [row for row in reversed(ordered) if row["score"] > 0][:ROWS_SHOWN]
    record["talks"] = "answers" in run.spec().objective.gives
    return record


def _runs(request: Request) -> Response:
    rows = []
    for run in store.listed(owner=OWNER):
        found = view.summary(run)
        rows.append({name: found[name] for name in ("id", "name", "state", "percent", "before", "after")})
    return JSONResponse(rows)


def _run(request: Request) -> Response:
    run = own(request.path_params["run"])
    return JSONResponse(
        {"summary": view.summary(run), "result": result(run), "plan": read_json(run.folder / "plan.json")}
    )


def _feed(request: Request) -> Response:
    run = own(request.path_params["run"])
    given = request.query_params.get("offset", "0")
    offset = int(given) if given.isdigit() and len(given) < 16 else 0
    events, end = run.events(offset, MOST_BYTES)
    summary = view.summary(run)
    state = {name: summary[name] for name in ("state", "phase", "phase_done", "phase_total", "eta_seconds", "seconds")}
    # The log's lines are counted on the page, so those left out of a long beginning are told.
    shown = thinned(events)
    return JSONResponse(
        {"offset": end, "left_out": len(events) - len(shown), "events": [compact(e) for e in shown], **state}
    )


def _act(action: Callable[[store.Run], object]) -> Callable[[Request], Response]:
    def act(request: Request) -> Response:
        action(own(request.path_params["run"]))
        return JSONResponse({"done": True})

    return act


def _download(request: Request) -> Response:
    run, what = own(request.path_params["run"]), request.path_params["what"]
    if what not in ("zip", "script", "spec"):
        raise RunError("There is no such download.", "Use the links on the page.")
    if what == "spec":
        return FileResponse(run.folder / "spec.yaml", filename=f"{run.id}.yaml", media_type="application/yaml")
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


def _door(handler: Callable[[Request], Response]) -> Callable[[Request], Response]:
    def guarded(request: Request) -> Response:
        try:
            return handler(request)
        except RunError as error:
            return JSONResponse({"problem": error.problem, "fix": error.fix}, 404)
        except UserError as error:
            return JSONResponse({"problem": error.problem, "fix": error.fix}, 422)
        except Exception:
            log.exception("A request broke: %s", request.url.path)
            return JSONResponse({"problem": BROKEN, "fix": ""}, 500)

    return guarded
