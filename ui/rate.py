"""How fast and how much a visitor may ask: requests a minute, bytes of uploads. ASGI middleware behind `ui.sign_in`."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui import limits, owner
from ui.limits import MB
from ui.sharing import page

UPLOAD = "/gradio_api/upload"
HEAD_BYTES = 10_000
"""What a form has around a file."""
MOST_KEYS = 10_000
_FREE = ("/assets/", "/static/", "/tunesmith/static/", "/theme.css", "/favicon.ico")
"""Files of the page itself, of which it loads a hundred at once."""


@dataclass
class _Level:
    left: float
    at: float


class Buckets:
    """Token buckets by name: each holds `size` and fills up again within `seconds`. The oldest are forgotten."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._levels: OrderedDict[str, _Level] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: str, amount: float, size: float) -> float:
        """Take an amount; 0 where it was there, else the seconds until it is (and nothing is taken)."""
        with self._lock:
            now = self._clock()
            level = self._levels.pop(name, None) or _Level(size, now)
            left = min(size, level.left + (now - level.at) * size / self._seconds)
            short = amount - left
            self._levels[name] = _Level(left - amount if short <= 0 else left, now)
            while len(self._levels) > MOST_KEYS:
                self._levels.popitem(last=False)
        return max(0.0, short * self._seconds / size)


class Rate:
    """Refuses, in words, what is asked too fast and what is too large."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.requests = Buckets(60.0)
        self.uploads = Buckets(3600.0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or page().is_own or path.startswith(_FREE):
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        visitor = owner.of(request)
        if visitor is not None and visitor.is_host:
            await self.app(scope, receive, send)
            return
        # Whoever comes without a cookie is made a new visitor each time, so these are counted by address.
        is_known = visitor is not None and not scope.get(owner.IS_NEW)
        name = visitor.name if visitor is not None and is_known else _address(request)
        most = limits.REQUESTS.value
        wait = self.requests.take(name, 1, most)
        if wait:
            told = f"That were more than {most:g} requests in a minute, the most for one visitor of this page."
            await _refused(429, told, "Close some tabs, and wait a minute.", wait)(scope, receive, send)
            return
        if path.rstrip("/") == UPLOAD and scope["method"] == "POST":
            await self._uploaded(request, name, scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _uploaded(self, request: Request, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        given = request.headers.get("content-length", "")
        if not given.isdecimal():
            await _refused(411, "An upload has to say how large it is.", "Use the page to upload.")(
                scope, receive, send
            )
            return
        if int(given) > limits.FILE.value * MB + HEAD_BYTES:
            fix = "Give fewer rows, or a part of the file."
            await _refused(413, limits.too_large(), fix)(scope, receive, send)
            return
        wait = self.uploads.take(name, int(given), limits.UPLOADS.value * MB)
        if wait:
            told = f"On this shared page each visitor may upload {limits.UPLOADS.value:g} MB in an hour."
            fix = f"Wait {int(wait / 60) + 1} minutes, or give a smaller file."
            await _refused(429, told, fix, wait)(scope, receive, send)
            return
        await self.app(scope, _measured(receive, int(given)), send)


def _measured(receive: Receive, most: int) -> Receive:
    """A `receive` that ends with what was announced: what comes after it was not counted."""
    got = 0

    async def receiving() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        return {"type": "http.disconnect"} if got > most else message

    return receiving


def _address(request: Request) -> str:
    return f"address {request.client.host}" if request.client else "address"


def _refused(status: int, problem: str, fix: str, wait: float = 0.0) -> JSONResponse:
    headers = {"retry-after": str(int(wait) + 1)} if wait else None
    return JSONResponse({"problem": problem, "fix": fix, "detail": f"{problem} {fix}"}, status, headers)
