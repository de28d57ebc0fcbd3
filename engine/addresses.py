"""Addresses that a person names: which may be, and a connection to one that was checked.

An address of somebody who only visits this machine must not lead into its own network: each name is looked up once,
all its addresses are checked, and the connection goes to the address that was checked. Redirects are not followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from urllib.parse import SplitResult, urlsplit

from engine.errors import MachineError, SettingError

LONGEST = 2000
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Busy(MachineError):
    """The other side may take it later."""


def checked(address: str, example: str = "https://example.com/hook") -> str:
    """The address, where it can be one: https, or http on this machine. Raises ValueError: what it should be."""
    parts = _parts(address)
    if parts is None or parts.scheme not in ("https", "http") or not parts.hostname or len(address) > LONGEST:
        raise ValueError(f"an address such as {example}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address without a name or password before the host")
    if parts.scheme == "http" and not is_here(parts.hostname):
        raise ValueError("an https address; plain http is for this machine (127.0.0.1) alone")
    return address


def host(address: str) -> str:
    """The part of an address that can be told: what follows it may be a secret."""
    parts = _parts(address)
    return (parts.hostname or "") if parts else ""


def require_public(address: str, what: str) -> None:
    """Raises SettingError where an address can't be reached, or leads into a private network. what: it is, in words."""
    try:
        looked_up(address, private=False)
    except MachineError as error:
        raise SettingError([f"{what} can't be used: {error.problem}"], error.fix) from None


def connected(address: str, private: bool, seconds: float) -> http.client.HTTPConnection:
    """A connection to where an address leads, to be closed. private: whether that may be in a private network.

    seconds: that it waits for each answer of the network. Raises MachineError where the address is not allowed.
    """
    parts = urlsplit(address)
    place = looked_up(address, private)
    connection = http.client.HTTPConnection(str(parts.hostname), _port(parts), timeout=seconds)
    plain = socket.create_connection((str(place), _port(parts)), timeout=seconds)
    try:
        connection.sock = plain
        if parts.scheme == "https":
            connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)
    except BaseException:
        plain.close()
        raise
    return connection


def path(address: str) -> str:
    """What a request to an address asks its server for."""
    parts = urlsplit(address)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def looked_up(address: str, private: bool) -> _Address:
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


def is_here(name: str) -> bool:
    """Whether a host is this machine by its very name."""
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
