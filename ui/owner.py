"""Whose request is being answered: every run and every file is looked up under this name."""

from __future__ import annotations

from typing import Any

from engine.errors import RunError
from engine.runs import store

LOCAL = "local"
"""A page that is not shared has one owner."""


def current() -> str:
    """The owner whose request is being answered."""
    return LOCAL


def own(run_id: Any) -> store.Run:
    """The owner's run. Raises RunError for one that is not theirs, which looks like one that is not there."""
    if not isinstance(run_id, str):
        raise RunError("There is no such run.", "Choose one from the list of runs.")
    try:
        return store.get(run_id, owner=current())
    except RunError as error:
        raise RunError(error.problem, "Choose one from the list of runs.") from None
