"""The door: every request and every handler passes through here before anything is done.

Every Gradio handler is a public endpoint, whether a button for it is in sight or not. So each one is wrapped by
`door`, takes runs from `own` and files from `ui.screens.data.require_source`.
"""

from __future__ import annotations

import functools
import inspect
import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.errors import DataError, MachineError, ModelError, RunError, SettingError, UserError
from engine.runs import store

OWNER = "local"
"""A page that is not shared has one owner."""
BROKEN = "Something broke. The details are in the server's log."
LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
log = logging.getLogger("tunesmith")

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


def host_rule(bound: str) -> HostRule:
    """Which names the page answers to when it listens at `bound`.

    A foreign site can make its own name lead to this machine (DNS rebinding), but it can't be a bare address. Further
    names stand in TUNESMITH_HOSTS, separated by commas; "*" allows all.
    """
    given = {name.strip() for name in os.environ.get("TUNESMITH_HOSTS", "").split(",") if name.strip()}
    names = {*LOCAL_HOSTS, bound, *given, os.environ.get("SPACE_HOST", "localhost")}
    remote = bound not in LOCAL_HOSTS
    if remote:
        names |= {socket.gethostname(), f"{socket.gethostname()}.local"}
    return lambda name: "*" in given or name in names or (remote and _is_address(name))


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


def own(run_id: Any) -> store.Run:
    """The owner's run. Raises RunError for one that is not theirs, which looks like one that is not there."""
    if not isinstance(run_id, str):
        raise RunError("There is no such run.", "Choose one from the list of runs.")
    try:
        return store.get(run_id, owner=OWNER)
    except RunError as error:
        raise RunError(error.problem, "Choose one from the list of runs.") from None


def told(error: UserError) -> str:
    """A user error in words: the problem, then what to do."""
    problems = "\n".join(error.problems) if isinstance(error, SettingError) else error.problem
    return f"{problems}\n{error.fix}".strip()


def door(handler: Callable[..., Any], markup: bool = True) -> Callable[..., Any]:
    """Wrap a Gradio handler: user errors are shown in words, anything else stands only in the server's log.

    markup: whether the words are shown by a page, which reads them as HTML, or go to a program.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def streaming(*arguments: Any, **keywords: Any) -> Any:
            with _telling(markup):
                yield from handler(*arguments, **keywords)

        return streaming

    @functools.wraps(handler)
    def plain(*arguments: Any, **keywords: Any) -> Any:
        with _telling(markup):
            return handler(*arguments, **keywords)

    return plain


_TITLES: dict[type[UserError], str] = {
    SettingError: "Some settings can't be used",
    DataError: "This data can't be used yet",
    ModelError: "This model can't be used",
    MachineError: "This machine can't do that",
    RunError: "This run can't do that",
}


@contextmanager
def _telling(markup: bool) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        words = escape(told(error)).replace("\n", "<br>") if markup else told(error)
        title = _TITLES.get(type(error), "That can't be done")
        raise gr.Error(words, duration=None, title=title, print_exception=False) from None
    except gr.Error:
        raise
    except Exception as error:
        log.error("A handler broke.", exc_info=error)
        raise gr.Error(BROKEN, duration=None, title="A fault of this program", print_exception=False) from None


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
