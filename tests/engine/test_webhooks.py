"""Which addresses may get messages, and that none leads where it should not."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from engine import webhooks
from engine.errors import MachineError, SettingError
from engine.settings import parse
from engine.specs.sections import Output
from tests.fakes.hook import hook


@pytest.mark.parametrize(
    "address",
    [
        "http://example.com/hook",
        "http://10.0.0.1/",
        "ftp://example.com/",
        "https://",
        "https://user:secret@example.com/",
        "file:///etc/hosts",
        "example.com/hook",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com/\nX: y",
        "https://example.com\\@127.0.0.1/",
        "https://" + "x" * 2000 + ".com/",
        "javascript:alert(1)",
    ],
)
def test_an_address_that_can_not_be_is_refused_with_the_setting(address: str) -> None:
    with pytest.raises(SettingError, match="Webhook"):
        parse(Output, {"webhook": address}, "output")


@pytest.mark.parametrize(
    "address",
    [
        "https://hooks.example.com/T0/B1?x=1",
        "http://127.0.0.1:8080/",
        "http://localhost/x",
        "http://[::1]:9/",
        "https://10.0.0.1/",
    ],
)
def test_https_anywhere_and_http_on_this_machine_are_taken(address: str) -> None:
    assert parse(Output, {"webhook": f" {address} "}, "output").webhook == address


def test_an_empty_webhook_is_none() -> None:
    assert parse(Output, {"webhook": " "}, "output").webhook is None


def named(monkeypatch: pytest.MonkeyPatch, *places: str) -> None:
    """Every name has these addresses."""

    def look_up(name: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET6 if ":" in place else socket.AF_INET, 1, 6, "", (place, port)) for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "ff02::1",
]


@pytest.mark.parametrize("place", PRIVATE)
def test_a_visitors_address_that_leads_into_a_private_network_is_refused(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(monkeypatch, place)
    with pytest.raises(SettingError, match="private network"):
        webhooks.require_public("https://hooks.example.com/")
    with pytest.raises(MachineError, match="private network"):
        webhooks.post("https://hooks.example.com/", {}, private=False)


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "93.184.216.34", "10.0.0.1")
    with pytest.raises(SettingError, match="private network"):
        webhooks.require_public("https://hooks.example.com/")


@pytest.mark.parametrize("place", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
def test_a_public_address_is_taken(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, place)
    webhooks.require_public("https://hooks.example.com/")


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads elsewhere the second time it is asked for leads nowhere."""
    answers = iter(["93.184.216.34", "127.0.0.1"])
    seen = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, port, **_: [(2, 1, 6, "", (next(answers), port))])

    def connect(place: tuple[str, int], **_: Any) -> None:
        seen.append(place)
        raise OSError("unreachable")

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(webhooks.Busy):
        webhooks.post("https://hooks.example.com/", {}, private=False)
    assert seen == [("93.184.216.34", 443)]


def test_localhost_that_is_not_this_machine_gets_nothing_in_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "10.0.0.1")
    with pytest.raises(MachineError, match="not this machine"):
        webhooks.post("http://localhost/", {}, private=True)


def test_a_name_that_is_not_found_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(SettingError, match=r"nowhere\.example can't be found"):
        webhooks.require_public("https://nowhere.example/")


def test_a_message_arrives_as_json() -> None:
    with hook() as served:
        webhooks.post(f"{served.url}/T0/B1?x=1", {"text": "größer"}, private=True)
    ((path, headers, body),) = served.received
    assert (path, headers["Content-Type"], body) == ("/T0/B1?x=1", "application/json", {"text": "größer"})


def test_a_redirect_is_not_followed() -> None:
    with hook() as elsewhere, hook(302) as served:
        served.elsewhere = elsewhere.url
        with pytest.raises(MachineError, match="leads elsewhere and is not followed"):
            webhooks.post(served.url, {}, private=True)
    assert elsewhere.received == []


def test_a_server_that_sends_one_byte_at_a_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "SECONDS_AT_MOST", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        with pytest.raises(webhooks.Busy, match=r"within 0\.5 seconds|can't be reached"):
            webhooks.post(f"http://127.0.0.1:{server.getsockname()[1]}/", {}, private=True)
        assert time.monotonic() - began < 5
