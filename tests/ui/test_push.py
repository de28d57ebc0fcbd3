"""The routes by which a run is shared on the Hub: owners, input, and whose token is used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from engine.bases import hub as engine_hub
from engine.publishing import push as engine_push
from engine.runs import store
from tests.fakes.finished import pretended, settled
from tests.fakes.hub import FakeHub
from tests.fakes.hub_uploads import Account, Uploads
from tests.fakes.living import until
from ui import owner, push

TOKEN = "hf_secretSecretsecret"
READER = "hf_readerReaderreader"


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "hub", {TOKEN: Account("ada"), READER: Account("ada", role="read")})


@pytest.fixture
def hub(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A Hub of this machine, also for this process, whose library read its address when it was imported."""
    from huggingface_hub import constants, hf_api

    with FakeHub({}, uploads=uploads) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hf_api.constants, "ENDPOINT", served.url)
        engine_hub._probe.cache_clear()
        yield served
    engine_hub._probe.cache_clear()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(push, "_typed", {})
    monkeypatch.setattr(push, "_names", {})
    return TestClient(Starlette(routes=push.routes()), base_url="http://127.0.0.1:7860")


def path(run: store.Run, rest: str = "") -> str:
    return f"/tunesmith/runs/{run.id}/push{rest}"


def ended(run: store.Run) -> dict[str, Any]:
    found = until(lambda: (state := engine_push.status(run)) and state["state"] != engine_push.RUNNING and state)
    for child in engine_push._children:
        child.wait(timeout=20)
    assert isinstance(found, dict)
    return found


def test_what_would_be_sent_is_told_before(client: TestClient) -> None:
    offer = client.get(path(pretended())).json()
    adapter, merged = offer["kinds"]
    assert {"adapter_model.safetensors", "README.md"} <= {file["name"] for file in adapter["files"]}
    assert "examples.jsonl" not in {file["name"] for file in adapter["files"] + merged["files"]}
    weights = next(file for file in merged["files"] if file["name"] == "model.safetensors")
    assert weights["bytes"] == 4 * 134_515_008
    assert offer["repo"] == "bank-helper" and offer["token"] is None and offer["push"] is None


def test_a_known_token_suggests_its_owners_name(
    client: TestClient, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    offer = client.get(path(pretended())).json()
    assert offer["repo"] == "ada/bank-helper" and offer["token"] == "known" and TOKEN not in json.dumps(offer)


def test_the_card_is_shown_before(client: TestClient) -> None:
    answer = client.get(path(pretended(), "/card"), params={"repo": "ada/x", "merged": "false"})
    assert answer.text.startswith("---\nbase_model:") and answer.headers["content-type"].startswith("text/plain")
    assert client.get(path(pretended(), "/card"), params={"repo": "a/b/c"}).status_code == 422


def test_a_push_with_a_typed_token_is_done_and_the_token_is_known_from_then_on(
    client: TestClient, hub: FakeHub, uploads: Uploads
) -> None:
    run, second = pretended(), pretended()
    answer = client.post(path(run), json={"repo": "ada/x", "private": True, "token": TOKEN})
    assert answer.status_code == 200 and answer.json()["state"] == "running" and TOKEN not in answer.text
    assert ended(run)["state"] == "done" and uploads.repositories["ada/x"].private
    assert client.get(path(second)).json()["token"] == "typed"
    assert client.post(path(second), json={"repo": "ada/y", "private": False}).json()["state"] == "running"
    assert ended(second)["state"] == "done" and not uploads.repositories["ada/y"].private


def test_a_typed_token_can_be_forgotten(client: TestClient, hub: FakeHub) -> None:
    run = pretended()
    client.post(path(run), json={"repo": "ada/x", "token": TOKEN})
    ended(run)
    client.post("/tunesmith/hub-token/forget", json={})
    assert client.get(path(run)).json()["token"] is None
    assert client.post(path(run), json={"repo": "ada/x", "update": True}).json()["state"] == "waiting"


@pytest.mark.parametrize(
    ("token", "words"), [("hf_nobodyNobody", "does not know"), (READER, "not write"), ("hf x\r\nX: y", "does not know")]
)
def test_a_token_that_is_no_good_is_refused_at_once(client: TestClient, hub: FakeHub, token: str, words: str) -> None:
    run = pretended()
    answer = client.post(path(run), json={"repo": "ada/x", "token": token})
    assert answer.status_code == 422 and words in answer.json()["problem"] and token not in answer.text
    assert engine_push.status(run) is None and client.get(path(run)).json()["token"] is None


def test_without_a_token_a_push_waits_and_one_typed_elsewhere_sets_it_going(client: TestClient, hub: FakeHub) -> None:
    run, other = pretended(), pretended()
    assert client.post(path(run), json={"repo": "ada/x"}).json()["state"] == "waiting"
    client.post(path(other), json={"repo": "ada/y", "token": TOKEN})
    assert ended(run)["state"] == ended(other)["state"] == "done"


def test_the_hosts_token_is_used_for_nobody_else(
    client: TestClient, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    visitor = owner.Visitor("v-0123456789abcdef01234567")
    monkeypatch.setattr(owner, "of", lambda request: visitor)
    run = pretended(owner=visitor.name)
    assert client.get(path(run)).json()["token"] is None
    assert client.post(path(run), json={"repo": "ada/x"}).json()["state"] == "waiting"


def test_a_typed_token_is_its_owners_alone(client: TestClient, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretended()
    client.post(path(run), json={"repo": "ada/x", "token": TOKEN})
    ended(run)
    visitor = owner.Visitor("v-0123456789abcdef01234567")
    monkeypatch.setattr(owner, "of", lambda request: visitor)
    theirs = pretended(owner=visitor.name)
    assert client.get(path(theirs)).json()["token"] is None


@pytest.mark.parametrize(
    ("method", "rest"),
    [("GET", ""), ("GET", "/state"), ("GET", "/card?repo=a/b"), ("POST", ""), ("POST", "/go-on"), ("POST", "/stop")],
)
def test_a_run_of_somebody_else_looks_like_none(client: TestClient, method: str, rest: str) -> None:
    theirs = pretended(owner="v-0123456789abcdef01234567")
    answer = client.request(method, path(theirs, rest), json={"repo": "a/b"} if method == "POST" else None)
    assert answer.status_code == 404
    assert engine_push.status(theirs) is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"repo": 7},
        {"repo": "a/b/c"},
        {"repo": "x" * 500},
        {"repo": "ada/x", "private": "no"},
        {"repo": "ada/x", "token": ["x"]},
        {"repo": "ada/x", "token": "x" * 5000},
        ["repo"],
        "ada/x",
        None,
    ],
)
def test_input_that_makes_no_sense_is_refused_in_words(client: TestClient, body: Any) -> None:
    run = pretended()
    answer = client.post(path(run), json=body)
    assert answer.status_code == 422 and answer.json()["problem"], answer.text
    assert engine_push.status(run) is None


def test_a_body_without_end_is_not_read(client: TestClient) -> None:
    answer = client.post(path(pretended()), content=b"{" + b" " * 50_000 + b"}")
    assert answer.status_code == 422


def test_a_run_that_has_no_result_offers_nothing(client: TestClient) -> None:
    run = pretended()
    (run.folder / "events.jsonl").unlink()
    assert client.get(path(settled(run, "stopped"))).status_code == 404


def test_how_a_push_stands_fits_into_a_kilobyte(client: TestClient, hub: FakeHub) -> None:
    run = pretended()
    client.post(path(run), json={"repo": "ada/x", "token": TOKEN})
    ended(run)
    assert len(client.get(path(run, "/state")).content) < 1000
