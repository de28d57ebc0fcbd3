"""Whose request is being answered: every run and every file is looked up under this name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import home
from engine.bases import access, catalog
from engine.errors import ModelError, RunError
from engine.runs import chains, store
from ui import sharing

LOCAL = access.LOCAL
"""The owner of a page that is not shared, and of the host's browser on one that is."""
SCOPE = "tunesmith.visitor"
"""Where `ui.sign_in` leaves the visitor in a request's ASGI scope."""
IS_NEW = "tunesmith.is_new"
"""In the scope where the visitor has just been made up."""


@dataclass(frozen=True)
class Visitor:
    """name: under which runs and files lie. is_host: the person at the machine. token: their own, from signing in."""

    name: str
    is_host: bool = False
    token: str | None = field(default=None, repr=False)


HOST = Visitor(LOCAL, is_host=True)
_current: ContextVar[Visitor | None] = ContextVar("visitor", default=None)


def visitor() -> Visitor:
    """Who is being answered. On a page with visitors somebody has to be: nobody passes for the host by omission."""
    found = _current.get() or (HOST if sharing.page().is_own else None)
    if found is None:
        raise RunError("It is not known who asks.", "Reload the page.")
    return found


def current() -> str:
    """The owner whose request is being answered."""
    return visitor().name


@contextmanager
def acting(who: str | Visitor) -> Iterator[None]:
    """Answer for this owner, and ask the Hub with no more than they may use."""
    found = who if isinstance(who, Visitor) else Visitor(who, is_host=who == LOCAL)
    before = _current.set(found)
    try:
        if sharing.page().is_own:
            yield
        else:
            with access.using(_machines_token() if found.is_host else None):
                yield
    finally:
        _current.reset(before)


def of(request: Any) -> Visitor | None:
    """Who sent a request, Gradio's or Starlette's; None where it came past the door, as in tests."""
    inner = getattr(request, "request", None) or request
    found = getattr(inner, "scope", {}).get(SCOPE)
    return found if isinstance(found, Visitor) else None


def own(run_id: Any) -> store.Run:
    """The owner's run. Raises RunError for one that is not theirs, which looks like one that is not there."""
    if not isinstance(run_id, str):
        raise RunError("There is no such run.", "Choose one from the list of runs.")
    try:
        return store.get(run_id, owner=current())
    except RunError as error:
        raise RunError(error.problem, "Choose one from the list of runs.") from None


def own_chain(chain_id: Any) -> chains.Chain:
    """The owner's chain. Raises RunError for one that is not theirs, which looks like one that is not there."""
    try:
        return chains.get(str(chain_id), owner=current())
    except RunError as error:
        raise RunError(error.problem, "Open one of its runs from the list.") from None


def require_model(id: str) -> None:
    """Refuse models that are not the visitor's to use: folders of the machine, results of others' runs."""
    name = str(id).strip()
    if name.startswith("run:"):
        own(name.removeprefix("run:"))
    if visitor().is_host or name.startswith(("run:", catalog.PREFIX)):
        return
    # A Hub id that is also a folder where the program runs would be read from there.
    path = Path(name).expanduser()
    if path.exists() or (home.CHECKOUT / path).exists():
        folder = home.home() / "files" / current()
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ModelError(
                "Folders of this machine are its host's.", "Choose a model from the list, or name one of the Hub."
            )


def hub_token(request: Any = None) -> str | None:
    """The Hub token that this visitor may push with, or None.

    Their own where they signed in; the machine's (HF_TOKEN, a saved login) for the host alone.
    """
    found = of(request) or visitor()
    return found.token or (_machines_token() if found.is_host else None)


def _machines_token() -> str | None:
    from huggingface_hub import get_token

    return os.environ.get("HF_TOKEN", "").strip() or get_token()
