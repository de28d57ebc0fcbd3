"""Pages with visitors, and who asks them, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.testclient import TestClient

from ui import owner, rate, security, sessions, sharing, sign_in
from ui.sharing import Kind, Page

ADDRESS = "http://127.0.0.1:7860"
KEY = "the-hosts-key"


@contextmanager
def opened(kind: Kind = "shared", password: str | None = None, secret: bytes = b"secret of a test") -> Iterator[Page]:
    """This process's page is one of that kind inside."""
    page = Page() if kind == "own" else Page(kind, password, secret=secret, host_key=KEY)
    before = sharing.open_as(page)
    try:
        yield page
    finally:
        sharing.open_as(before)


def client(*routes: BaseRoute, address: str = ADDRESS, outer: list[Middleware] | None = None) -> TestClient:
    """A browser before the page's gates, with its routes and one that says who is asking. Follows no redirects."""
    gates = [
        *(outer or []),
        Middleware(security.Guard, allowed=security.host_rule("127.0.0.1")),
        Middleware(sign_in.SignIn),
        Middleware(rate.Rate),
        Middleware(sessions.Sessions),
    ]
    asking = [
        Route("/", _who, methods=["GET", "POST"]),
        Route("/tunesmith/who", _who),
        Route("/gradio_api/{rest:path}", _who, methods=["GET", "POST"]),
    ]
    app = Starlette(routes=[*routes, *asking], middleware=gates)
    return TestClient(app, base_url=address, follow_redirects=False)


def asked_by(visitor: owner.Visitor | None, **scope: Any) -> gr.Request:
    """A request as Gradio hands it to a handler."""
    known = {owner.SCOPE: visitor} if visitor else {}
    return gr.Request(request=Request({"type": "http", "method": "POST", "path": "/", "headers": [], **known, **scope}))


def _who(request: Request) -> Response:
    visitor = owner.of(request)
    return PlainTextResponse(f"{visitor.name} {visitor.is_host}" if visitor else "nobody")
