"""What the Data step's scripts ask for: rows of a finding, data sets of the Hub by words, example files."""

from __future__ import annotations

import json
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from engine.data import hub_search
from engine.errors import DataError
from engine.settings import parse
from engine.specs.sections import Data
from ui import example_files, inspections, sources
from ui.door import guarded

MOST_WORDS = 100
_MEDIA = {"csv": "text/csv", "jsonl": "application/jsonl", "md": "text/markdown", "zip": "application/zip"}


def routes() -> list[BaseRoute]:
    return [
        Route("/tunesmith/data/rows", guarded(_rows)),
        Route("/tunesmith/data/search", guarded(_search)),
        Route("/tunesmith/data/examples/{name}", guarded(_example)),
    ]


def _rows(request: Request) -> Response:
    """Rows of a finding: `entry` as JSON, the finding's `name`, and how many rows came before (`start`)."""
    asked = request.query_params
    try:
        values = json.loads(asked.get("entry", ""))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise DataError("It is not clear which data is meant.", "Reload the page.")
    entry = parse(Data, values, "data")
    sources.require(entry.source)
    given = asked.get("start", "0")
    start = int(given) if given.isdecimal() and len(given) < 10 else 0
    return JSONResponse(inspections.inspect(entry).rows(asked.get("name", ""), start))


def _search(request: Request) -> Response:
    words = request.query_params.get("q", "").strip()[:MOST_WORDS]
    found = hub_search.search(words) if len(words) > 1 else []
    return JSONResponse([asdict(item) for item in found])


def _example(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in example_files.FILES:
        raise DataError("There is no such example.", f"There are {', '.join(example_files.FILES)}.")
    content = example_files.FILES[name].content
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=_MEDIA[name.rpartition(".")[2]], headers=headers)
