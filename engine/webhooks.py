"""Short messages to an address that a person names: which addresses may be, and how one is sent.

An address of somebody who only visits this machine must not lead into its own network: each name is looked up once,
all its addresses are checked, and the connection goes to the address that was checked. Redirects are not followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
import threading
from typing import Any
from urllib.parse import SplitResult, urlsplit

from engine.errors import MachineError, SettingError, UserError

LONGEST = 2000
SECONDS_AT_MOST = 5.0
"""For looking up, connecting, sending and being answered, together."""
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Busy(MachineError):
    """The other side may take the message later."""


def checked(address: str) -> str:
    """The address, where it can be one: https, or http on this machine. Raises ValueError: what it should be."""
    parts = _parts(address)
    if parts is None or parts.scheme not in ("https", "http") or not parts.hostname or len(address) > LONGEST:
        raise ValueError("an address such as https://example.com/hook")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address without a name or password before the host")
    if parts.scheme == "http" and not _is_here(parts.hostname):
        raise ValueError("an https address; plain http is for this machine (127.0.0.1) alone")
    return address


def host(address: str) -> str:
    """The part of an address that can be told: what follows it may be a secret."""
    parts = _parts(address)
    return (parts.hostname or "") if parts else ""


def require_public(address: str) -> None:
    """Raises SettingError where an address can't be reached, or leads into a private network."""
    try:
        _looked_up(address, private=False)
    except MachineError as error:
        raise SettingError([f"The webhook (output.webhook) can't be used: {error.problem}"], error.fix) from None


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
    parts = urlsplit(address)
    place = _looked_up(address, private)
    connection = http.client.HTTPConnection(str(parts.hostname), _port(parts), timeout=SECONDS_AT_MOST)
    plain = socket.create_connection((str(place), _port(parts)), timeout=SECONDS_AT_MOST)
    try:
        connection.sock = plain
        if parts.scheme == "https":
            connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Content-Type": "application/json", "User-Agent": "Tunesmith", "Host": parts.netloc}
        connection.request("POST", path, json.dumps(record, ensure_ascii=False).encode(), headers)
        _judge(host(address), connection.getresponse().status)
    finally:
        connection.close()
        plain.close()


def _judge(name: str, status: int) -> None:
    if 200 <= status < 300:
        return
    told = f"{name} answered with status {status}"
    if 300 <= status < 400:
        raise MachineError(f"{told}, which leads elsewhere and is not followed.")
    if status in (408, 425, 429) or status >= 500:
        raise Busy(f"{told}.")
    raise MachineError(f"{told}.")


def _looked_up(address: str, private: bool) -> _Address:
    """Where to connect to. Raises MachineError where one of the name's addresses is not allowed."""
    parts = urlsplit(address)
    try:
        found = socket.getaddrinfo(parts.hostname, _port(parts), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Busy(f"{parts.hostname} can't be found.", "Check the address.") from None
    places = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not private and not all(map(_is_public, places)):
        raise MachineError(f"{parts.hostname} lies in a private network.", "Name an address of the public internet.")
    if parts.scheme == "http" and not all(place.is_loopback for place in places):
        raise MachineError(f"{parts.hostname} is not this machine.", "Use https.")
    return places[0]


def _is_public(place: _Address) -> bool:
    """Whether an address is one of the internet, also by the IPv4 address that it may wrap."""
    if isinstance(place, ipaddress.IPv6Address):
        wrapped = [place.ipv4_mapped, place.sixtofour, *(place.teredo or ())]
        if place in _NAT64:
            wrapped.append(ipaddress.IPv4Address(int(place) & 0xFFFFFFFF))
        if not all(_is_public(inner) for inner in wrapped if inner is not None):
            return False
    return place.is_global and not place.is_multicast


def _is_here(name: str) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _parts(address: str) -> SplitResult | None:
    if not address.isascii() or not address.isprintable() or " " in address or "\\" in address:
        return None
    try:
        parts = urlsplit(address)
        _port(parts)
        return parts
    except ValueError:
        return None
