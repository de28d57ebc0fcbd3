"""Routes of the settings view: what is stored of whoever asks, how to delete it; for the host, everybody's runs."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from engine import home
from engine.errors import RunError
from engine.runs import queue, store
from ui import limits, owner, retention, sharing, sign_in
from ui.door import guarded
from ui.sharing import page

MOST_RUNS = 200
_OWNER = re.compile(r"[\w-]{1,80}")
_SHORT = 8


def routes() -> list[BaseRoute]:
    return [
        Route("/tunesmith/settings", guarded(_settings)),
        Route("/tunesmith/settings/delete", guarded(_delete), methods=["POST"]),
        Route("/tunesmith/host/stop/{run}", guarded(_stop), methods=["POST"]),
        Route("/tunesmith/host/delete/{owner}", guarded(_delete_theirs), methods=["POST"]),
    ]


def facts() -> dict[str, Any]:
    """What the settings view shows to whoever is being answered."""
    who, shared = owner.visitor(), not page().is_own
    bound = limits.apply()
    return {
        "shared": shared,
        "host": who.is_host and shared,
        "signed_in": who.token is not None,
        "can_sign_in": sharing.can_sign_in(),
        "runs": len(store.listed(owner=who.name)),
        "runs_bytes": sum(limits.size_of(run.folder) for run in store.listed(owner=who.name)),
        "files_bytes": limits.size_of(limits.folder_of(who.name)),
        "most_bytes": limits.DISK.value * limits.GB if bound else None,
        "free_bytes": limits.free_bytes() if who.is_host else None,
        "home": str(home.home()) if who.is_host else None,
        "recovery": sign_in.recovery_path(who.name) if sign_in.VISITOR.fullmatch(who.name) else None,
        "keep_days": retention.days() if bound else None,
        "outlives_restarts": sharing.outlives_restarts(),
        "limits": [{"title": one.title, "text": str(one), "help": one.help} for one in limits.LIMITS] if bound else [],
        "visitors": _visitors() if who.is_host else [],
    }


def _visitors() -> list[dict[str, Any]]:
    """Everybody but the host, with their runs, newest first."""
    runs = [run for run in store.listed() if run.owner != owner.LOCAL]
    found = []
    for name in limits.owners():
        if name != owner.LOCAL and _OWNER.fullmatch(name):
            theirs = [run for run in runs if run.owner == name][:MOST_RUNS]
            found.append(
                {
                    "owner": name,
                    "short": name[:_SHORT],
                    "bytes": limits.usage.of(name),
                    "runs": [
                        {"id": run.id, "name": run.name, "state": run.state, "active": run.state in store.ACTIVE}
                        for run in theirs
                    ],
                }
            )
    return sorted(found, key=lambda one: max([run["id"] for run in one["runs"]], default=""), reverse=True)


def _settings(request: Request) -> Response:
    return JSONResponse(facts(), headers={"cache-control": "no-store"})


def _delete(request: Request) -> Response:
    return JSONResponse({"left": retention.delete_all(owner.current())})


def _stop(request: Request) -> Response:
    _require_host()
    queue.stop(store.get(request.path_params["run"]))
    return JSONResponse({"done": True})


def _delete_theirs(request: Request) -> Response:
    _require_host()
    name = request.path_params["owner"]
    if not _OWNER.fullmatch(name) or name not in limits.owners():
        raise RunError("There is no such visitor.", "Reload the page.")
    return JSONResponse({"left": retention.delete_all(name)})


def _require_host() -> None:
    if not owner.visitor().is_host:
        raise RunError("Only the host can do that.", "Ask whoever shares this page.")
