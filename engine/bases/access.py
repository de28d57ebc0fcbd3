"""Whose Hub token a call or a child process may use. A page that others visit gives none away by itself.

Without anything said, the Hub's library looks for a token of this machine (HF_TOKEN, a saved login). A page that is
shared calls `close`: from then on only a token that `using` names is sent. Processes that work for a visitor are
started in `without_secrets`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

LOCAL = "local"
"""The owner of what the person at the machine does; everybody else is a visitor."""
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|API_KEY|CREDENTIAL", re.IGNORECASE)
_NOT_SECRET = frozenset({"TOKENIZERS_PARALLELISM", "HF_TOKEN_PATH", "HF_HUB_DISABLE_IMPLICIT_TOKEN"})

_given: ContextVar[str | None] = ContextVar("hub_token", default=None)
_closed = False


def close(closed: bool = True) -> None:
    """Send no token of this machine unless it is given, from now on and in the whole process."""
    global _closed
    from huggingface_hub import constants

    _closed = closed
    # Calls that name no token look here, those inside of other libraries too.
    constants.HF_HUB_DISABLE_IMPLICIT_TOKEN = closed


def token() -> str | bool | None:
    """What calls to the Hub's library name: a token, False for none, or None to let the library look for one."""
    given = _given.get()
    return given if given is not None else False if _closed else None


@contextmanager
def using(token: str | None) -> Iterator[None]:
    """Ask the Hub with this token inside; None is none where the process is closed."""
    before = _given.set(token)
    try:
        yield
    finally:
        _given.reset(before)


def environment() -> dict[str, str]:
    """Of a child process that works for whoever is being answered."""
    return without_secrets(os.environ) if token() is False else dict(os.environ)


def for_owner(owner: str) -> dict[str, str]:
    """Of the processes of a run; a visitor's get no secrets."""
    return dict(os.environ) if owner == LOCAL else without_secrets(os.environ)


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without tokens and passwords, in which no saved login is found either."""
    kept = plain(environment)
    # The library reads a token's file under this name, and finds it empty.
    return kept | {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "HF_TOKEN_PATH": os.devnull, "TUNESMITH_VISITOR": "1"}


def plain(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without variables that are named like secrets."""
    return {name: value for name, value in environment.items() if name in _NOT_SECRET or not _SECRET.search(name)}


def is_visitors_process() -> bool:
    """Whether this process was started in `without_secrets`."""
    return os.environ.get("TUNESMITH_VISITOR") == "1"
