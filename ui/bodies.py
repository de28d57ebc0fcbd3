"""What a request to one of our routes brings along: a small JSON object, read with care."""

from __future__ import annotations

import json
from typing import Any

import anyio.from_thread
from starlette.requests import Request

from engine.errors import SettingError

MOST_BYTES = 40_000


def read(request: Request) -> dict[str, Any]:
    """The JSON object of a request. Routes are called in a thread; the body is read where the request is served."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > MOST_BYTES:
        raise SettingError(["That is too much at once."], "Send less.")
    try:
        record = json.loads(anyio.from_thread.run(request.body) or b"{}")
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise SettingError(["The request is no JSON object."], "Reload the page and try again.")
    return record


def text(asked: dict[str, Any], name: str) -> str | None:
    """A text by its name, None where it is not there."""
    value = asked.get(name)
    if value is not None and not isinstance(value, str):
        raise SettingError([f"{name} should be a text."], "Write it anew.")
    return value


def texts(asked: dict[str, Any], name: str) -> list[str] | None:
    """A list of texts by its name, None where it is not there."""
    value = asked.get(name)
    if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise SettingError([f"{name} should be a list of texts."], "Write it anew.")
    return value
