"""The page as a Space: signing in, notes before a start, and what outlives a restart."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from itsdangerous import TimestampSigner

from engine import home
from tests.browser.server import PageServer
from tests.fakes import pages
from ui import security, sharing
from ui.screens import settings

HOST = "ada-tunesmith.hf.space"
SPACE = {
    "SYSTEM": "spaces",
    "SPACE_ID": "ada/tunesmith",
    "SPACE_HOST": f"{HOST},tunes.example",
    "OAUTH_CLIENT_ID": "client",
    "OAUTH_CLIENT_SECRET": "secret",
    "OAUTH_SCOPES": "openid profile contribute-repos",
    "OPENID_PROVIDER_URL": "http://127.0.0.1:9",
    "HF_TOKEN": "hf_hosts",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    place = tmp_path_factory.mktemp("space")
    (place / "home").mkdir()
    started = PageServer(place / "home", **SPACE)
    started.start()
    yield started
    started.kill()


def browser_at(server: PageServer, **cookies: str) -> httpx.Client:
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    headers = {"host": HOST, "x-forwarded-proto": "https", **({"cookie": header} if header else {})}
    return httpx.Client(base_url=server.url, headers=headers, timeout=30)


def session(subject: str, **changes: Any) -> str:
    """Gradio's session cookie after signing in, signed with the Space's own secret."""
    info = {"access_token": "hf_theirs", "scope": "openid", "expires_at": time.time() + 600}
    person = {"sub": subject, "preferred_username": "bob", "name": "Bob", "profile": "", "picture": ""}
    text = base64.b64encode(json.dumps({"oauth_info": {**info, "userinfo": person, **changes}}).encode())
    key = hashlib.sha256(f"{SPACE['OAUTH_CLIENT_SECRET']}-v4".encode()).hexdigest()
    return TimestampSigner(key).sign(text).decode()


def test_a_space_answers_to_its_names_and_offers_to_sign_in(server: PageServer) -> None:
    with browser_at(server) as browser:
        page = browser.get("/")
        assert page.status_code == 200
        assert "frame-ancestors https://huggingface.co https://*.hf.space" in page.headers["content-security-policy"]
        shown = {str(one["props"].get("value")) for one in browser.get("/config").json()["components"]}
        assert "Sign in with Hugging Face" in shown
        assert browser.get("/", headers={"host": "tunes.example"}).status_code == 200
        assert browser.get("/", headers={"host": "elsewhere.example"}).status_code == 403


def test_who_signed_in_is_one_owner_everywhere_with_a_token_that_nobody_reads(server: PageServer) -> None:
    told = []
    for subject in ("5f0c", "5f0c", "77aa"):
        with browser_at(server, session=session(subject)) as browser:
            answer = browser.get("/tunesmith/settings")
            told.append(answer.json())
            assert "hf_theirs" not in answer.text and "hf_hosts" not in answer.text
    assert all(one["signed_in"] and not one["host"] for one in told)


@pytest.mark.parametrize("cookie", ["forged", session("5f0c")[:-3] + "xxx", session("5f0c", expires_at=1.0)])
def test_a_session_that_was_not_signed_here_or_is_over_signs_nobody_in(server: PageServer, cookie: str) -> None:
    with browser_at(server, session=cookie) as browser:
        assert browser.get("/tunesmith/settings").status_code == 401


def test_the_hosts_link_of_a_space_leads_to_its_address(server: PageServer) -> None:
    end = time.monotonic() + 20
    while "?host=" not in server.tail() and time.monotonic() < end:
        time.sleep(0.1)
    assert f"https://{HOST}/?host=" in server.tail()


def test_each_name_of_a_space_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_HOST", SPACE["SPACE_HOST"])
    rule = security.host_rule("127.0.0.1")
    assert rule(HOST) and rule("tunes.example") and not rule("elsewhere.example")


# --- notes


class Part:
    def __init__(self, mountpoint: Path, fstype: str) -> None:
        self.mountpoint, self.fstype = str(mountpoint), fstype


@pytest.mark.parametrize(
    ("kind", "stays"), [("overlay", False), ("tmpfs", False), ("ext4", True), ("fuse.bucket", True)]
)
def test_runs_of_a_space_stay_only_on_a_mounted_bucket(kind: str, stays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Part(Path("/"), "overlay")
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [root, Part(home.home(), kind)])
    with pages.opened("space"):
        assert sharing.outlives_restarts() is stays
        assert any("vanish" in note for note in settings._notes()) is not stays
    with pages.opened("shared"):
        assert sharing.outlives_restarts() and settings._notes() == []


def test_a_space_without_a_mount_says_that_runs_vanish_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [Part(Path("/"), "overlay")])
    with pages.opened("space"):
        notes = settings._notes()
    assert len(notes) == 1 and all(word in notes[0] for word in ("vanish", "Download", "push it to the Hub", "bucket"))


def test_on_zero_gpu_the_ways_out_are_told_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    monkeypatch.setenv("SPACE_ID", "ada/tune'smith")
    with pages.opened("space"):
        note = settings._notes()[-1]
    assert all(word in note for word in ("no GPU", "processor", "duplicate this Space", "Hugging Face Job"))
    assert "https://huggingface.co/spaces/ada/tune&#x27;smith?duplicate=true" in note
    with pages.opened("shared"):
        assert settings._notes() == []
