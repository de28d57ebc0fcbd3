"""The door: hosts, foreign pages, runs of others, files of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from engine import home
from engine.data.prepare import Prepared
from engine.errors import DataError, RunError, UserError
from engine.runs import store
from tests.fakes import runs
from ui import door, feed, owner, security, sources

BASE = "http://127.0.0.1:7860"


@pytest.fixture
def client() -> TestClient:
    routes = [*feed.routes(), Route("/", lambda request: PlainTextResponse("page"), methods=["GET", "POST"])]
    guard = Middleware(security.Guard, allowed=security.host_rule("127.0.0.1"))
    return TestClient(Starlette(routes=routes, middleware=[guard]), base_url=BASE)


def made(owner: str = "local") -> store.Run:
    spec = runs.spec(Path("/nowhere"), "chat", "lora")
    return store.create(spec, Prepared(runs.examples("messages"), [], [], []), owner)


def test_the_page_answers_at_its_own_address(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", ""])
def test_a_foreign_host_name_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_a_write_from_another_page_is_refused(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/", headers=headers).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_page_can_not_read(client: TestClient, site: str) -> None:
    assert client.get("/tunesmith/runs", headers={"sec-fetch-site": site, "sec-fetch-mode": "cors"}).status_code == 403
    assert client.get("/", headers={"origin": "https://evil.example"}).status_code == 403


def test_a_link_on_another_page_opens_this_one(client: TestClient) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=headers).status_code == 200


def test_web_sockets_are_closed(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/"):
        pass


@pytest.mark.parametrize(
    ("bound", "name", "allowed"),
    [
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "192.168.1.7", False),
        ("0.0.0.0", "192.168.1.7", True),
        ("0.0.0.0", "::1", True),
        ("0.0.0.0", "evil.example", False),
        ("192.168.1.7", "localhost", True),
        ("box.lan", "box.lan", True),
    ],
)
def test_a_page_for_the_house_answers_to_addresses_and_not_to_strange_names(
    bound: str, name: str, allowed: bool
) -> None:
    assert security.host_rule(bound)(name) is allowed


def test_names_can_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_HOSTS", "tunes.example, other.example")
    assert security.host_rule("127.0.0.1")("tunes.example")
    monkeypatch.setenv("TUNESMITH_HOSTS", "*")
    assert security.host_rule("127.0.0.1")("any.example")


def test_a_write_from_the_page_itself_is_taken(client: TestClient) -> None:
    assert client.post("/", headers={"origin": BASE, "sec-fetch-site": "same-origin"}).status_code == 200


@pytest.mark.parametrize("path", ["", "/feed", "/download/zip", "/download/spec"])
def test_a_run_of_somebody_else_looks_like_none(client: TestClient, path: str) -> None:
    theirs, none = made("somebody"), "20260101-000000-abcdefgh"
    answers = [client.get(f"/tunesmith/runs/{run}{path}") for run in (theirs.id, none)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json()["problem"].replace(theirs.id, "ID") == answers[1].json()["problem"].replace(none, "ID")


@pytest.mark.parametrize("action", ["stop", "end", "resume", "delete"])
def test_a_run_of_somebody_else_can_not_be_touched(client: TestClient, action: str) -> None:
    theirs = made("somebody")
    assert client.post(f"/tunesmith/runs/{theirs.id}/{action}").status_code == 404
    assert store.get(theirs.id).state == "created"


@pytest.mark.parametrize("name", ["..%2f..%2fetc%2fpasswd", "run.json", "zip%2f..", "%00"])
def test_a_download_gives_only_what_it_offers(client: TestClient, name: str) -> None:
    answer = client.get(f"/tunesmith/runs/{made().id}/download/{name}")
    assert answer.status_code == 404 and "owner" not in answer.text


def test_actions_are_posts(client: TestClient) -> None:
    assert client.get(f"/tunesmith/runs/{made().id}/delete").status_code == 405


@pytest.mark.parametrize(
    "source", ["/etc/passwd", "../../etc/passwd", "~/.ssh/id_rsa", "file:///etc/passwd", "", "sample:../x"]
)
def test_only_the_owners_files_can_be_named_as_data(source: str) -> None:
    with pytest.raises(DataError):
        sources.require(source)


def test_a_folder_of_the_program_is_no_data_set_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "runs" / "secret").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError):
        sources.require("runs/secret")


def test_a_link_out_of_the_owners_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    link = home.files("local") / "link.csv"
    link.symlink_to(tmp_path / "secret.csv")
    with pytest.raises(DataError):
        sources.require(str(link))


@pytest.mark.parametrize("run_id", [None, 7, ["x"], "../x"])
def test_what_is_no_run_id_is_refused(run_id: Any) -> None:
    with pytest.raises(RunError):
        owner.own(run_id)


def shown(broken: Callable[[], None]) -> str:
    with pytest.raises(gr.Error) as caught:
        door.door(broken)()
    return str(caught.value.message)


def test_a_user_error_is_shown_with_its_way_out() -> None:
    def broken() -> None:
        raise UserError("Row 3 is empty.", "Fill it in.")

    assert shown(broken) == "Row 3 is empty.<br>Fill it in."


def test_what_a_user_error_quotes_stays_text() -> None:
    def broken() -> None:
        raise UserError("There is no column <img src=x>.")

    assert shown(broken) == "There is no column &lt;img src=x&gt;."


def test_a_program_gets_a_user_error_as_it_is() -> None:
    def broken() -> None:
        raise UserError("a < b.", "Turn it round.")

    with pytest.raises(gr.Error) as caught:
        door.door(broken, markup=False)()
    assert caught.value.message == "a < b.\nTurn it round."


def test_any_other_error_shows_nothing_of_itself() -> None:
    def broken() -> None:
        raise ValueError("token hf_secret in /home/ada")

    assert shown(broken) == door.BROKEN
