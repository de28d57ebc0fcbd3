"""Short messages to an address that a person names, and how one is sent. Which addresses may be: `engine.addresses`."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any
from urllib.parse import urlsplit

from engine import addresses
from engine.addresses import Busy, checked, host
from engine.errors import MachineError, UserError

__all__ = ["Busy", "checked", "host", "post", "require_public"]
SECONDS_AT_MOST = 5.0
"""For looking up, connecting, sending and being answered, together."""


def require_public(address: str) -> None:
    """Raises SettingError where an address can't be reached, or leads into a private network."""
    addresses.require_public(address, "The webhook (output.webhook)")


def post(address: str, record: dict[str, Any], private: bool) -> None:
    """Send `record` as JSON. private: whether the address may lie in a private network.

    Raises Busy where another try may help, MachineError where it won't.
    """
    answers: list[UserError | None] = []

    def attempt() -> None:
        try:
            _post(address, record, private)
            answers.append(None)
        except UserError as error:
            answers.append(error)
        except (OSError, http.client.HTTPException) as error:
            answers.append(Busy(f"{host(address)} can't be reached: {error or type(error).__name__}."))

    # In a thread: no timeout of a socket bounds a server that sends one byte at a time.
    worker = threading.Thread(target=attempt, daemon=True)
    worker.start()
    worker.join(SECONDS_AT_MOST)
    answer = answers[0] if answers else Busy(f"{host(address)} did not answer within {SECONDS_AT_MOST:g} seconds.")
    if answer is not None:
        raise answer


def _post(address: str, record: dict[str, Any], private: bool) -> None:
    connection = addresses.connected(address, private, SECONDS_AT_MOST)
    try:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Tunesmith",
            "Host": urlsplit(address).netloc,
        }
        connection.request("POST", addresses.path(address), json.dumps(record, ensure_ascii=False).encode(), headers)
        _judge(host(address), connection.getresponse().status)
    finally:
        connection.close()


def _judge(name: str, status: int) -> None:
    if 200 <= status < 300:
        return
    told = f"{name} answered with status {status}"
    if 300 <= status < 400:
        raise MachineError(f"{told}, which leads elsewhere and is not followed.")
    if status in (408, 425, 429) or status >= 500:
        raise Busy(f"{told}.")
    raise MachineError(f"{told}.")
