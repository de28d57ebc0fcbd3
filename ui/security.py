"""The gate: which hosts the page answers to, which pages may send it requests, and what its answers may load."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

HostRule = Callable[[str], bool]


class Guard:
    """ASGI middleware: known hosts only, nothing for foreign pages, nothing from foreign servers."""

    def __init__(self, app: ASGIApp, allowed: HostRule) -> None:
        self.app = app
        self.allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # the page has none, and browsers let foreign pages open them
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._refusal(Request(scope)) if scope["type"] == "http" else None
        if refusal:
            await PlainTextResponse(refusal, 403)(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_headers()]
            await send(message)

        await self.app(scope, receive, guarded)

    def _refusal(self, request: Request) -> str | None:
        host = request.headers.get("host", "")
        if not self.allowed(_name(host)):
            return (
                "This page does not answer to that name. Open it by the address that it printed at its start, "
                "or add the name to TUNESMITH_HOSTS."
            )
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "Requests from other pages are not taken."
        # A link from elsewhere may open the page; nothing else from elsewhere may reach it.
        from_elsewhere = request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        opens = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
        return "Requests from other pages are not taken." if from_elsewhere and not opens else None


class Hosts:
    """Which names the page answers to when it listens at `bound`.

    A foreign site can make its own name lead to this machine (DNS rebinding), but it can't be a bare address. Further
    names stand in TUNESMITH_HOSTS, separated by commas; "*" allows all.
    """

    def __init__(self, bound: str) -> None:
        given, of_space = _listed("TUNESMITH_HOSTS"), _listed("SPACE_HOST")
        self._remote = bound not in LOCAL_HOSTS
        own = {socket.gethostname(), f"{socket.gethostname()}.local"} if self._remote else set()
        self._any = "*" in given
        self._names = {*LOCAL_HOSTS, bound, *given, *of_space, *own}

    def __call__(self, name: str) -> bool:
        return self._any or name in self._names or (self._remote and _is_address(name))

    def add(self, name: str) -> None:
        """Answer to one more name: that of a share link, which is known only after the start."""
        self._names.add(name.lower())


host_rule = Hosts


def _headers() -> list[tuple[bytes, bytes]]:
    # Gradio's page holds scripts of its own and compiles templates, hence 'unsafe-inline' and 'unsafe-eval'.
    # On a Space the page stands in a frame of the Hub; elsewhere in nobody's.
    framed_by = "https://huggingface.co https://*.hf.space" if os.environ.get("SPACE_ID") else "'self'"
    policy = (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; worker-src 'self' blob:; "
        f"object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {framed_by}"
    )
    return [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
    ]


def _listed(variable: str) -> set[str]:
    """Names of hosts from an environment variable; a Space with a domain of its own has several, too."""
    return {name.strip().lower() for name in os.environ.get(variable, "").split(",") if name.strip()}


def _name(host: str) -> str:
    """A Host header without its port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and host.count(":") else host
    return name.strip("[]").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
