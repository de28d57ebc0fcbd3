"""What a run's page asks for of the chain that the run is a stage of, and what can be done with all of it."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from engine.runs import alone, chains
from engine.runs.chains import Chain
from ui import limits
from ui.door import guarded
from ui.owner import own, own_chain


def routes() -> list[BaseRoute]:
    actions: dict[str, Callable[[Chain], object]] = {
        "stop": chains.stop,
        "resume": limits.resume_chain,
        "delete": chains.delete,
    }
    acts = [
        Route(f"/tunesmith/chains/{{chain}}/{name}", guarded(_action(act)), methods=["POST"])
        for name, act in actions.items()
    ]
    return [
        Route("/tunesmith/runs/{run}/chain", guarded(_chain)),
        Route("/tunesmith/runs/{run}/alone", guarded(_alone), methods=["POST"]),
        *acts,
    ]


def _chain(request: Request) -> Response:
    """The picture of the chain that a run is a stage of, or is compared with; null where there is none."""
    run = own(request.path_params["run"])
    found = chains.of(run.id) or chains.beside(run.id)
    return JSONResponse(chains.picture(found) if found else None)


def _alone(request: Request) -> Response:
    """Learn each data set of a run by itself, too."""
    run = own(request.path_params["run"])
    found = alone.singles(run)
    for one in found:
        limits.require_models(one.spec)
    limits.require_turn()
    limits.require_disk()
    chains.start(chains.create_singles(run, found))
    return JSONResponse({"done": True})


def _action(act: Callable[[Chain], object]) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        act(own_chain(request.path_params["chain"]))
        return JSONResponse({"done": True})

    return answer
