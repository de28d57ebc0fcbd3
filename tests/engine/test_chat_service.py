"""One question to a service: what it is sent, and what its answer is taken for."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from engine.errors import MachineError
from engine.teachers import chat_service, keys
from engine.teachers.chat_service import Busy, Garbage, Service
from tests.fakes import openai
from tests.fakes.openai import KEY, OpenAI, Reply


@pytest.fixture
def fake() -> Iterator[OpenAI]:
    with openai.service() as kept:
        yield kept


def asked_of(fake: OpenAI, **changes: Any) -> Service:
    given = {"most_tokens": 7, "temperature": None, "patience": 5.0, "private": True}
    return Service(fake.url, "large", KEY, **{**given, **changes})


def test_a_question_is_sent_as_the_api_wants_it(fake: OpenAI) -> None:
    said = asked_of(fake, temperature=0.3).ask([{"role": "user", "content": "Why?", "name": "x"}])
    assert (said.text, said.whole, said.usage) == ("Re: Why?", True, chat_service.Usage(10, 5))
    path, headers, body = fake.received[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}" and headers["Content-Type"] == "application/json"
    assert body == {
        "model": "large",
        "messages": [{"role": "user", "content": "Why?"}],
        "max_tokens": 7,
        "temperature": 0.3,
    }


def test_without_a_key_no_header_is_sent_and_a_temperature_is_left_to_the_service() -> None:
    with openai.service(key=None) as fake:
        Service(fake.url, "large", None, 7, None, 5.0, True).ask([{"role": "user", "content": "Why?"}])
        _, headers, body = fake.received[0]
        assert "Authorization" not in headers and "temperature" not in body


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no choices"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": [{"message": {"content": " "}}]}', "empty"),
        (b'{"choices": [{"message": {"content": null}}]}', "empty"),
        (b'{"choices": [{"message": {"content": ["a"]}}]}', "empty"),
        (b'{"choices": [{"message": "a"}]}', "empty"),
    ],
)
def test_what_is_no_answer_is_told_apart(body: bytes, why: str, fake: OpenAI) -> None:
    fake.reply = lambda number, prompt: Reply(body=body)
    with pytest.raises(Garbage, match=why):
        asked_of(fake).ask([{"role": "user", "content": "Why?"}])


def test_an_answer_without_end_is_not_read(fake: OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_service, "MOST_BYTES", 50)
    fake.reply = lambda number, prompt: Reply(body=b"x" * 60)
    with pytest.raises(Garbage, match="longer than any answer"):
        asked_of(fake).ask([{"role": "user", "content": "Why?"}])


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": -4, "completion_tokens": 1}, {"prompt_tokens": "3"}])
def test_usage_that_can_not_be_is_none(usage: Any, fake: OpenAI) -> None:
    fake.usage = usage
    assert asked_of(fake).ask([{"role": "user", "content": "Why?"}]).usage is None


def test_an_answer_that_the_limit_cut_says_so(fake: OpenAI) -> None:
    record = openai.good("x")
    record["choices"][0]["finish_reason"] = "length"
    fake.reply = lambda number, prompt: Reply(body=json.dumps(record).encode())
    assert not asked_of(fake).ask([{"role": "user", "content": "Why?"}]).whole


def test_a_service_that_sends_one_byte_at_a_time_is_left_in_time(fake: OpenAI) -> None:
    fake.reply = lambda number, prompt: Reply(drip=0.05)
    began = time.monotonic()
    with pytest.raises(Busy, match=r"within 0\.4 seconds") as found:
        asked_of(fake, patience=0.4).ask([{"role": "user", "content": "Why?"}])
    assert time.monotonic() - began < 3 and found.value.paid


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 529])
def test_a_busy_service_may_be_asked_again(status: int, fake: OpenAI) -> None:
    fake.reply = lambda number, prompt: Reply(status, b"{}", {"Retry-After": "7"})
    with pytest.raises(Busy, match=f"status {status}") as found:
        asked_of(fake).ask([{"role": "user", "content": "Why?"}])
    assert found.value.seconds == 7.0 and not found.value.paid


@pytest.mark.parametrize(
    ("status", "fix"),
    [(307, "leads to"), (400, "complains"), (402, "complains"), (403, keys.VARIABLE), (404, "objective.model")],
)
def test_what_no_other_try_mends_ends_it_with_what_to_do(status: int, fix: str, fake: OpenAI) -> None:
    body = json.dumps({"error": {"message": f"No, {KEY}!"}}).encode()
    fake.reply = lambda number, prompt: Reply(status, body, {"Location": "http://127.0.0.1:1/"})
    with pytest.raises(MachineError) as found:
        asked_of(fake).ask([{"role": "user", "content": "Why?"}])
    assert not isinstance(found.value, Busy | Garbage)
    assert f"status {status}" in found.value.problem and fix in found.value.fix
    assert KEY not in str(found.value) and "(key)" in found.value.problem
    assert len(fake.received) == 1


def test_a_service_that_is_not_there_is_busy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Busy, match="can't be reached"):
        Service(f"http://127.0.0.1:{port}/v1", "large", None, 7, None, 1.0, True).ask([])


def test_a_visitors_process_reaches_no_private_network(fake: OpenAI) -> None:
    with pytest.raises(MachineError, match="private network"):
        asked_of(fake, private=False).ask([{"role": "user", "content": "Why?"}])
    assert not fake.received
