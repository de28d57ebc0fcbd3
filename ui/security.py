"""The door: every request and every handler passes through here before anything is done."""

from __future__ import annotations

import functools
import inspect
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.errors import RunError, SettingError, UserError
from engine.runs import store

OWNER = "local"
"""A page that is not shared has one owner."""
BROKEN = "Something broke. The details are in the server's log."
LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})
log = logging.getLogger("tunesmith")


class Guard:
    """ASGI middleware: known hosts only, no writes from foreign pages, no framing by them."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = LOCAL_HOSTS) -> None:
        self.app = app
        self.hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        refusal = self._refusal(request)
        if refusal:
            await PlainTextResponse(refusal, 403)(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS, *_framing()]
            await send(message)

        await self.app(scope, receive, guarded)

    def _refusal(self, request: Request) -> str | None:
        host = request.headers.get("host", "")
        if "*" not in self.hosts and _name(host) not in self.hosts:
            return (
                "This page does not answer to that address. Open it at 127.0.0.1, or allow the host (TUNESMITH_HOSTS)."
            )
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return None
        origin = request.headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc != host
        if foreign or request.headers.get("sec-fetch-site") == "cross-site":
            return "Requests from other pages are not taken."
        return None


_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin")]


def _framing() -> list[tuple[bytes, bytes]]:
    """On a Space the page stands in a frame of the Hub; elsewhere in nobody's."""
    allowed = b"https://huggingface.co https://*.hf.space" if os.environ.get("SPACE_ID") else b"'self'"
    return [(b"content-security-policy", b"frame-ancestors " + allowed + b"; object-src 'none'; base-uri 'self'")]


def hosts(bound: str) -> frozenset[str]:
    """Names that the page answers to, from where it listens and TUNESMITH_HOSTS (comma separated)."""
    given = {name.strip() for name in os.environ.get("TUNESMITH_HOSTS", "").split(",") if name.strip()}
    if os.environ.get("SPACE_ID") or (bound not in LOCAL_HOSTS and not given):
        return frozenset({"*"})
    return LOCAL_HOSTS | {bound} | given


def own(run_id: Any) -> store.Run:
    """The owner's run. Raises RunError for one that is not theirs, which looks like one that is not there."""
    if not isinstance(run_id, str):
        raise RunError("There is no such run.", "Choose one from the list.")
    return store.get(run_id, owner=OWNER)


def told(error: UserError) -> str:
    """A user error as the page shows it: the problem, then what to do."""
    problems = "\n".join(error.problems) if isinstance(error, SettingError) else error.problem
    return f"{problems}\n{error.fix}".strip()


def door(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a Gradio handler: user errors are shown in words, anything else only in the server's log."""
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def streaming(*arguments: Any, **keywords: Any) -> Any:
            with _Telling():
                yield from handler(*arguments, **keywords)

        return streaming

    @functools.wraps(handler)
    def plain(*arguments: Any, **keywords: Any) -> Any:
        with _Telling():
            return handler(*arguments, **keywords)

    return plain


class _Telling:
    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, (gr.Error, GeneratorExit)) or not isinstance(error, Exception):
            return
        if isinstance(error, UserError):
            raise gr.Error(told(error), duration=None, print_exception=False) from None
        log.error("A handler broke.", exc_info=error)
        raise gr.Error(BROKEN, duration=None, print_exception=False) from None


def _name(host: str) -> str:
    return host.rsplit(":", 1)[0] if host.rsplit(":", 1)[-1].isdigit() else host
