"""Keys of services that are paid for: in the environment of the processes of one run, and in no file, event or address.

A key that is typed on the page stays in the page's memory until its run has ended, so that the run can be taken up
again. A worker takes it out of its environment at once, before it starts anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from pathlib import Path

from engine import addresses
from engine.bases import access
from engine.errors import SettingError

VARIABLE = "TUNESMITH_SERVICE_API_KEY"
"""Of a service at whichever address a run names."""
OPENAI_VARIABLE, OPENAI_ADDRESS = "OPENAI_API_KEY", "OPENAI_BASE_URL"
"""What others call a key, which is sent to OpenAI alone, or to the address that is named beside it."""
OPENAI_HOST = "api.openai.com"
MARK = "keyed"
"""File of a run that needs a key which somebody typed; it holds nothing."""
LONGEST = 500
LOOKS_LIKE_ONE = re.compile(r"\b(?:sk|gsk|key|pk)-[A-Za-z0-9_*-]{6,}|(?<=Bearer )\S+")
_typed: dict[str, str] = {}
_taken: list[str] = []


def checked(key: str) -> str:
    """What somebody typed, without spaces around it; "" is none. Raises SettingError for what can't be a key."""
    key = key.strip()
    if key and (not key.isascii() or not key.isprintable() or " " in key or len(key) > LONGEST):
        raise SettingError(["The key of the service holds characters that no key has."], "Copy it again.")
    return key


def keep(folder: Path, key: str) -> None:
    """Give a run's processes this key when they are started. Raises SettingError for what can't be one."""
    key = checked(key)
    if key:
        _typed[folder.name] = key
        (folder / MARK).touch()


def held() -> list[str]:
    """The runs for which this process holds a key."""
    return list(_typed)


def forget(run_id: str) -> None:
    _typed.pop(run_id, None)


def lacking(folder: Path) -> bool:
    """Whether a run needs a key that was typed into another process."""
    return (folder / MARK).exists() and folder.name not in _typed


def environment(folder: Path) -> dict[str, str]:
    """What a run's processes are given beside their environment."""
    return {VARIABLE: _typed[folder.name]} if folder.name in _typed else {}


def take(environment: MutableMapping[str, str]) -> None:
    """Take the key out of the environment, so that nothing which is started from here has it."""
    _taken[:] = [key] if (key := environment.pop(VARIABLE, "")) else []


def given() -> dict[str, str]:
    """What `take` took, for the one process that needs it."""
    return {VARIABLE: _taken[0]} if _taken else {}


def of(address: str) -> str | None:
    """The key that is sent to an address; None where there is none that may be."""
    if _taken:
        return _taken[0]
    if VARIABLE in os.environ:
        return os.environ[VARIABLE]
    if access.is_visitors_process():
        return None
    own = os.environ.get(OPENAI_ADDRESS, "").rstrip("/")
    if addresses.host(address) == OPENAI_HOST or (own and own == address.rstrip("/")):
        return os.environ.get(OPENAI_VARIABLE)
    return None


def redacted(text: str, key: str | None) -> str:
    """The text without the key, or anything that looks like one."""
    if key:
        text = text.replace(key, "(key)")
    return LOOKS_LIKE_ONE.sub("(key)", text)
