"""Who is asking: the password page, the cookie that makes a visitor an owner, recovery links, the host's link.

ASGI middleware behind `ui.security`. It leaves an `owner.Visitor` in the scope of each request that it lets through.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui import entrance, owner
from ui.owner import HOST, Visitor
from ui.sharing import Page, page, same
from ui.tries import Tries

DAY_S = 86_400
REMEMBERED_S = 365 * DAY_S
ENTERED_S = 30 * DAY_S
PENDING_S = 600
MOST_FORM_BYTES = 10_000
ENTER = "/tunesmith/enter"
RECOVER = "/tunesmith/recover"
VISITOR = re.compile(r"v-[0-9a-f]{24}|hf-[0-9a-f]{24}")
"""What owners other than the host are called; they name folders."""
_FOR_ALL = "/gradio_api/startup-events"
"""Asked by Gradio itself at the start; it tells nothing."""
_PERSONAL = ("/gradio_api/", "/tunesmith/")
_COMMON = ("/tunesmith/static/", "/gradio_api/theme.css")


class SignIn:
    """On a page of one's own everybody is the owner; elsewhere each browser is one of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.tries = Tries()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if page().is_own:
            scope[owner.SCOPE] = HOST
            await self.app(scope, receive, send)
            return
        asked = _Asked(Request(scope, receive), page())
        answer = await self._answer(asked)
        if answer is not None:
            await answer(scope, receive, send)
            return
        visitor, cookies = asked.visitor(), []
        if visitor is None and asked.path == "/":
            visitor = Visitor(f"v-{secrets.token_hex(12)}")
            scope[owner.IS_NEW] = True
            cookies = [asked.cookie("visitor", asked.page.signed("visitor", visitor.name), REMEMBERED_S)]
        if visitor is not None:
            scope[owner.SCOPE] = visitor
        elif asked.path.startswith(_PERSONAL) and not asked.path.startswith((*_COMMON, _FOR_ALL)):
            await asked.refused(401, *entrance.NO_COOKIE)(scope, receive, send)
            return
        await self.app(scope, receive, _with_cookies(send, cookies))

    async def _answer(self, asked: _Asked) -> Response | None:
        """What is answered here, before the page is asked; None for what goes through."""
        query = asked.request.query_params
        if asked.path == "/" and "host" in query:
            return self._hosted(asked, query["host"])
        if asked.path == "/" and "recover" in query:
            return self._recovering(asked, query["recover"])
        if asked.path == ENTER:
            return await self._entering(asked) if asked.request.method == "POST" else asked.sent_to("/")
        if not asked.has_entered and asked.path != _FOR_ALL:
            if asked.path in ("/", RECOVER) and asked.request.method in ("GET", "HEAD"):
                return _html(entrance.password(asked.root, asked.place), 401)
            return asked.refused(401, *entrance.NO_PASSWORD)
        return self._recovered(asked) if asked.path == RECOVER else None

    def _hosted(self, asked: _Asked, key: str) -> Response:
        if not same(key, asked.page.host_key):
            return _html(entrance.link_is_old(asked.root), 403)
        return asked.sent_to("/", asked.cookie("host", asked.page.signed("host", asked.page.host_key), ENTERED_S))

    def _recovering(self, asked: _Asked, link: str) -> Response:
        """Take the link out of the address, where a history would keep it, into a cookie for a few minutes."""
        if _name(asked.page.verified("recover", link)) is None:
            return _html(entrance.link_is_old(asked.root), 403)
        return asked.sent_to(RECOVER, asked.cookie("recover", link, PENDING_S))

    def _recovered(self, asked: _Asked) -> Response:
        """Ask before the browser becomes somebody else: a link may come from whoever wants to read along."""
        name = _name(asked.page.verified("recover", asked.jar("recover")))
        if name is None:
            return _html(entrance.link_is_old(asked.root), 403)
        if asked.request.method != "POST":
            return _html(entrance.recovery(asked.root))
        done = asked.cookie("recover", "", 0)
        return asked.sent_to("/", asked.cookie("visitor", asked.page.signed("visitor", name), REMEMBERED_S), done)

    async def _entering(self, asked: _Asked) -> Response:
        form = await _form(asked.request)
        if form is None:
            return asked.refused(413, "That is too much for a password.", "Go back to the page and enter it again.")
        place, address = _place(form.get("place", "")), asked.address
        wait = self.tries.wait(address)
        if wait:
            # Also where it is right this time: else waiting could be told from being wrong.
            answer = _html(entrance.password(asked.root, place, entrance.waiting(wait)), 429)
            answer.headers["retry-after"] = str(int(wait) + 1)
            return answer
        if asked.page.password is None or not same(form.get("password", ""), asked.page.password):
            self.tries.wrong(address)
            return _html(entrance.password(asked.root, place, entrance.wrong(self.tries.wait(address))), 401)
        self.tries.right(address)
        return asked.sent_to(place, asked.cookie("entered", asked.pass_until(time.time() + ENTERED_S), ENTERED_S))


class _Asked:
    """A request with what its cookies say."""

    def __init__(self, request: Request, page: Page) -> None:
        self.request, self.page = request, page
        root = request.scope.get("root_path", "")
        self.path: str = request.scope["path"].removeprefix(root) or "/"
        self.root = root

    @property
    def address(self) -> str:
        return self.request.client.host if self.request.client else ""

    @property
    def place(self) -> str:
        """Where a person wanted to go, from this page's root."""
        query = self.request.scope.get("query_string", b"").decode("latin-1")
        return f"{self.path}?{query}" if query else self.path

    @property
    def is_host(self) -> bool:
        return bool(self.page.host_key) and self.page.verified("host", self.jar("host")) == self.page.host_key

    @property
    def has_entered(self) -> bool:
        if self.page.password is None or self.is_host:
            return True
        until = self.page.verified(self._entrance, self.jar("entered"))
        return until is not None and until.isdecimal() and int(until) > time.time()

    def pass_until(self, end: float) -> str:
        return self.page.signed(self._entrance, str(int(end)))

    @property
    def _entrance(self) -> str:
        """A pass is good for this password alone: with a new one everybody enters anew."""
        return f"entered:{hashlib.sha256((self.page.password or '').encode()).hexdigest()}"

    def visitor(self) -> Visitor | None:
        """Who the cookies say it is: the host, somebody who signed in, a browser that was here before."""
        info = _signed_in(self.request.scope) if self.page.kind == "space" else None
        token = str(info["access_token"]) if info else None
        if self.is_host:
            return Visitor(owner.LOCAL, is_host=True, token=token)
        if info:
            subject = hashlib.sha256(str(info["userinfo"]["sub"]).encode()).hexdigest()[:24]
            return Visitor(f"hf-{subject}", token=token)
        name = _name(self.page.verified("visitor", self.jar("visitor")))
        return Visitor(name) if name else None

    def jar(self, name: str) -> str | None:
        return self.request.cookies.get(f"{self.page.cookie}-{name}")

    def cookie(self, name: str, value: str, seconds: int) -> str:
        """A Set-Cookie header that scripts can't read. On a Space the page stands in a frame of another site."""
        parts = [f"{self.page.cookie}-{name}={value}", "Path=/", f"Max-Age={seconds}", "HttpOnly"]
        if self.page.kind == "space":
            parts += ["SameSite=None", "Secure", "Partitioned"]
        else:
            parts += ["SameSite=Lax", *(["Secure"] if self._is_encrypted else [])]
        return "; ".join(parts)

    @property
    def _is_encrypted(self) -> bool:
        return self.request.url.scheme == "https" or self.request.url.hostname in encrypted_hosts

    def sent_to(self, place: str, *cookies: str) -> Response:
        answer = RedirectResponse(self.root + place, 303, {"cache-control": "no-store"})
        for cookie in cookies:
            answer.headers.append("set-cookie", cookie)
        return answer

    def refused(self, status: int, problem: str, fix: str) -> Response:
        if self.path.startswith("/tunesmith/"):
            return JSONResponse({"problem": problem, "fix": fix}, status)
        return PlainTextResponse(f"{problem} {fix}", status)


encrypted_hosts: set[str] = set()
"""Names under which the page is reached by HTTPS although it doesn't speak it itself: those of share links."""


def recovery_path(name: str) -> str:
    """The end of the address that makes another browser this owner."""
    return f"?recover={page().signed('recover', name)}"


def _signed_in(scope: Scope) -> dict[str, Any] | None:
    """What the Hub says of who signed in, from Gradio's session, which is signed; None after its end."""
    info = scope.get("session", {}).get("oauth_info")
    if not isinstance(info, dict) or not isinstance(info.get("userinfo"), dict):
        return None
    is_over = float(info.get("expires_at") or 0) < time.time()
    return None if is_over or not info.get("access_token") or not info["userinfo"].get("sub") else info


def _name(text: str | None) -> str | None:
    return text if text and VISITOR.fullmatch(text) else None


def _place(text: str) -> str:
    """A place of this page alone, whatever a form says."""
    parts = urlsplit(text)
    inside = not parts.scheme and not parts.netloc and parts.path in ("/", RECOVER)
    return f"{parts.path}?{parts.query}" if inside and parts.query else parts.path if inside else "/"


async def _form(request: Request) -> dict[str, str] | None:
    """A short form's fields; None where it is not short."""
    from urllib.parse import parse_qsl

    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_FORM_BYTES:
            return None
    return dict(parse_qsl(body.decode("utf-8", errors="replace"), keep_blank_values=True))


def _html(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, {"cache-control": "no-store"})


def _with_cookies(send: Send, cookies: list[str]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start" and cookies:
            found = [(b"set-cookie", cookie.encode("latin-1")) for cookie in cookies]
            message["headers"] = [*message.get("headers", []), *found]
        await send(message)

    return sending if cookies else send
