"""Sharing a finished run on the Hub: what would be sent, the start of a push, how it stands.

A token that was typed is kept here in memory, for its owner alone, until they forget it, half a day passes or the
server ends. The machine's own token is used for nobody but its host (`ui.owner.hub_token`).
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from engine.bases import hub
from engine.errors import SettingError, UserError
from engine.publishing import bundle, cards, origin, push, refusals, stories
from ui import bodies, owner, sharing
from ui.door import guarded
from ui.owner import own

_RUN = "/tunesmith/runs/{run}/push"
MOST_TOKEN = 4000
TYPED_LASTS_S = 12 * 3600.0
NAME_LASTS_S = 3600.0


@dataclass
class Typed:
    token: str = field(repr=False)
    until: float


_typed: dict[str, Typed] = {}
"""By owner."""
_names: dict[str, tuple[str, float]] = {}
"""Whose a token is, by the token's hash, and until when that is believed. The Hub answers this question rarely."""


def routes() -> list[BaseRoute]:
    return [
        Route(_RUN, guarded(_offer), methods=["GET"]),
        Route(_RUN, guarded(_begin), methods=["POST"]),
        Route(f"{_RUN}/state", guarded(_state)),
        Route(f"{_RUN}/card", guarded(_card)),
        Route(f"{_RUN}/go-on", guarded(_go_on), methods=["POST"]),
        Route(f"{_RUN}/stop", guarded(_stop), methods=["POST"]),
        Route("/tunesmith/hub-token/forget", guarded(_forget), methods=["POST"]),
    ]


def _offer(request: Request) -> Response:
    """All that a person should know before a push."""
    run = own(request.path_params["run"])
    story = push.story_of(run)
    token, whence = _token(request)
    name = _name(token) if token else None
    suggestion = push.suggested_name(run.name)
    kinds = [*([False] if story.stands_alone or not story.can_merge else []), *([True] if story.can_merge else [])]
    return JSONResponse(
        {
            "push": push.status(run),
            "token": whence,
            "name": name,
            "can_sign_in": sharing.can_sign_in(),
            "repo": f"{name}/{suggestion}" if name else suggestion,
            "form": story.form,
            "kinds": [
                {"merged": merged, "files": [asdict(item) for item in bundle.items(story, merged)]} for merged in kinds
            ],
        }
    )


def _state(request: Request) -> Response:
    return JSONResponse(push.status(own(request.path_params["run"])))


def _card(request: Request) -> Response:
    """The model card as it would be pushed."""
    run = own(request.path_params["run"])
    repo, merged = request.query_params.get("repo", ""), request.query_params.get("merged") == "true"
    push.check_name(repo)
    token, _ = _token(request)
    story = stories.read(run, origin.base(run.spec().model, lambda id, revision: hub.terms(id, revision, token)))
    if merged and not story.can_merge:
        raise SettingError([push.cannot_merge(story)], "Push the result as it is.")
    return PlainTextResponse(cards.card(story, repo, merged))


def _begin(request: Request) -> Response:
    run, asked = own(request.path_params["run"]), bodies.read(request)
    wanted = push.Request(
        repo=_text(asked, "repo", push.MOST_NAME * 2).strip(),
        private=_switch(asked, "private", True),
        merged=_switch(asked, "merged", False),
        update=_switch(asked, "update", False),
    )
    push.check_name(wanted.repo)
    push.begin(run, wanted, _given_token(request, asked))
    return JSONResponse(push.status(run))


def _go_on(request: Request) -> Response:
    run, asked = own(request.path_params["run"]), bodies.read(request)
    push.go_on(run, _given_token(request, asked), _switch(asked, "update", False))
    return JSONResponse(push.status(run))


def _stop(request: Request) -> Response:
    run = own(request.path_params["run"])
    push.stop(run)
    return JSONResponse(push.status(run))


def _forget(request: Request) -> Response:
    _typed.pop(owner.current(), None)
    return JSONResponse({"done": True})


def _given_token(request: Request, asked: dict[str, Any]) -> str | None:
    """The token to push with: one that was typed just now and the Hub knows, or one that was there."""
    typed = _text(asked, "token", MOST_TOKEN).strip()
    if not typed:
        return _token(request)[0]
    if any(letter.isspace() or not letter.isprintable() or ord(letter) > 126 for letter in typed):
        raise refusals.bad_token()
    _require_writer(typed)
    _sweep()
    _typed[owner.current()] = Typed(typed, time.monotonic() + TYPED_LASTS_S)
    for run in push.waiting(owner.current()):
        if run.id != request.path_params["run"]:
            try:
                push.go_on(run, typed)
            except UserError:
                pass  # its own page tells; this one's push goes on
    return typed


def _token(request: Request) -> tuple[str | None, str | None]:
    """The token that this owner may push with, and whence: "typed", "known", or None where there is none."""
    _sweep()
    typed = _typed.get(owner.current())
    if typed is not None:
        return typed.token, "typed"
    known = owner.hub_token(request)
    return known, "known" if known else None


def _sweep() -> None:
    now = time.monotonic()
    for name in [name for name, typed in _typed.items() if typed.until < now]:
        _typed.pop(name, None)


def _require_writer(token: str) -> None:
    """Raises Refused for a token that the Hub doesn't know, or that may only read."""
    if not hub.reachable():
        raise refusals.unreachable()
    known = _asked_name(token)
    if ((known.get("auth") or {}).get("accessToken") or {}).get("role") == "read":
        raise refusals.read_only()


def _name(token: str) -> str | None:
    """Whose a token is; None where the Hub doesn't tell."""
    now = time.monotonic()
    name, until = _names.get(_hash(token), ("", 0.0))
    if until > now:
        return name or None
    if not hub.reachable():
        return None
    try:
        _asked_name(token)
    except refusals.Refused:
        _names[_hash(token)] = ("", now + hub.ANSWERS_LAST_S)
    return _names[_hash(token)][0] or None


def _asked_name(token: str) -> dict[str, Any]:
    from huggingface_hub import HfApi

    try:
        known: dict[str, Any] = HfApi(token=token).whoami()
    except Exception as error:
        found = refusals.refused(error, "the Hub")
        if found is None:
            raise
        raise found from None
    for old in list(_names)[: max(0, len(_names) - 500)]:
        _names.pop(old, None)
    _names[_hash(token)] = (str(known.get("name", "")), time.monotonic() + NAME_LASTS_S)
    return known


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _text(asked: dict[str, Any], name: str, most: int) -> str:
    value = asked.get(name) or ""
    if not isinstance(value, str) or len(value) > most:
        raise SettingError([f"{name} should be a text of at most {most} characters."], "Write it anew.")
    return value


def _switch(asked: dict[str, Any], name: str, default: bool) -> bool:
    value = asked.get(name, default)
    if not isinstance(value, bool):
        raise SettingError([f"{name} should be true or false."], "Reload the page and try again.")
    return value
