"""Gradio's own endpoints between visitors: sessions, events and uploads belong to whoever used them first.

Gradio lets whoever knows a session's hash read its stream, and whoever knows an upload's address fetch it. This ASGI
middleware, behind `ui.sign_in`, refuses what belongs to somebody else, and what the page has no use for.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui import owner
from ui.sharing import page

MOST_BOUND = 50_000
MOST_BODY_BYTES = 64 * 2**20
"""Of a call with its inputs; pasted rows are the largest of them."""
API = "/gradio_api"
_UNUSED = ("proxy=", "deep_link", "vibe", "undo-vibe", "dev/", "profiling", "process_recording", "component_server")
CLOSED = ("/monitoring", *(f"{API}/{name}" for name in (*_UNUSED, "run-history", "runs")))
"""Beginnings of paths that Gradio answers and the page never asks for."""
NOT_YOURS = "There is nothing here under that name."
_IN_PATH = re.compile(rf"{API}/(?:heartbeat/|stream/)([^/]+)|{API}/call/(?:v2/)?[^/]+/([^/]+)")
_FILE = re.compile(rf"{API}/file[=/](.*)", re.DOTALL)
_GIVES_EVENT = re.compile(rf"{API}/(queue/join|call/)")
_NAMES = ("session_hash", "event_id", "upload_id")


class Sessions:
    """Refuses requests that name another visitor's session, event or upload."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.bound = Bound()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] == "http" and path.startswith(CLOSED):
            await _refused(404, NOT_YOURS)(scope, receive, send)
            return
        visitor = owner.of(Request(scope)) if scope["type"] == "http" and not page().is_own else None
        if visitor is None or not path.startswith(API):
            await self.app(scope, receive, send)
            return
        file = _FILE.fullmatch(path)
        if file and not self.bound.is_of(visitor.name, f"file {file[1]}"):
            await _refused(404, NOT_YOURS)(scope, receive, send)
            return
        body = b""
        if _has_json(scope):
            read = await _body(receive)
            if read is None:
                await _refused(413, f"A call takes at most {MOST_BODY_BYTES // 2**20} MB.")(scope, receive, send)
                return
            body = read
            receive = _again(body, receive)
        if not all(self.bound.take(visitor.name, name) for name in _named(scope, path, body)):
            await _refused(404, NOT_YOURS)(scope, receive, send)
            return
        if scope["method"] == "POST" and (_GIVES_EVENT.match(path) or path.rstrip("/") == f"{API}/upload"):
            send = self._binding(visitor.name, send)
        await self.app(scope, receive, send)

    def _binding(self, name: str, send: Send) -> Send:
        """Bind what a short JSON answer gives out: the id of an event, the addresses of uploads."""
        answer = b""

        async def sending(message: Message) -> None:
            nonlocal answer
            if message["type"] == "http.response.body":
                answer += message.get("body", b"")
                if not message.get("more_body"):
                    for found in _given(answer):
                        self.bound.take(name, found)
            await send(message)

        return sending


class Bound:
    """Which name belongs to which owner; the oldest are forgotten."""

    def __init__(self, most: int = MOST_BOUND) -> None:
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._most = most
        self._lock = threading.Lock()

    def take(self, owner: str, name: str) -> bool:
        """Whether `name` is this owner's; it becomes theirs where it was nobody's."""
        with self._lock:
            found = self._owners.setdefault(name, owner)
            self._owners.move_to_end(name)
            while len(self._owners) > self._most:
                self._owners.popitem(last=False)
        return found == owner

    def is_of(self, owner: str, name: str) -> bool:
        with self._lock:
            return self._owners.get(name) == owner


def _named(scope: Scope, path: str, body: bytes) -> Iterator[str]:
    """The sessions, events and uploads that a request names."""
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    for name in _NAMES:
        yield from (f"id {value}" for value in query.get(name, []))
    found = _IN_PATH.match(path)
    if found:
        yield f"id {found[1] or found[2]}"
    try:
        record: Any = json.loads(body) if body else {}
    except ValueError:  # Gradio refuses it
        record = {}
    if isinstance(record, dict):
        yield from (f"id {record[name]}" for name in _NAMES if isinstance(record.get(name), str))


def _given(answer: bytes) -> Iterable[str]:
    try:
        record = json.loads(answer)
    except ValueError:
        return []
    if isinstance(record, list):
        return [f"file {path}" for path in record if isinstance(path, str)]
    event = record.get("event_id") if isinstance(record, dict) else None
    return [f"id {event}"] if isinstance(event, str) else []


def _has_json(scope: Scope) -> bool:
    """Gradio reads a body without a type, or with a strange one, as JSON, too."""
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return scope["method"] in ("POST", "PUT", "PATCH", "DELETE") and not kind.startswith(b"multipart/form-data")


async def _body(receive: Receive) -> bytes | None:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(pieces)
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > MOST_BODY_BYTES:
            return None
        if not message.get("more_body"):
            return b"".join(pieces)


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body which was read, then what comes after it."""
    waiting = [body]

    async def receiving() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return receiving


def _refused(status: int, words: str) -> PlainTextResponse:
    return PlainTextResponse(words, status)
