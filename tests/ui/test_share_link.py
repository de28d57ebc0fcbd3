"""`python app.py --share`: the password, the link's name, and what is said where there is no link."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.browser.server import CHECKOUT, START_SECONDS, _free_port

NAME = "0123456789abcdef.gradio.live"
# Gradio's tunnel is a program from outside; here it is one line in its place.
START = """
import sys
from gradio import networking
networking.setup_tunnel = lambda **_: {tunnel}
sys.argv = ["app.py", "--share", "--port", "{port}"]
import app
app.main()
"""
Start = Callable[..., "Shared"]


class Shared:
    def __init__(self, place: Path, tunnel: str, environment: dict[str, str]) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = place / "server.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START.format(tunnel=tunnel, port=self.port)],
                cwd=CHECKOUT,
                env={**os.environ, **environment, "TUNESMITH_HOME": str(place / "home")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def told(self, words: str) -> str:
        """The log, once the words stand in it."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            text = self.log.read_text(encoding="utf-8", errors="replace")
            if words in text:
                return text
            assert self.process.poll() is None, text
            time.sleep(0.1)
        raise AssertionError(text)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Shared] = []

    def one(tunnel: str, **environment: str) -> Shared:
        started.append(Shared(tmp_path, tunnel, environment))
        return started[-1]

    yield one
    for shared in started:
        shared.process.kill()
        shared.process.wait()


def test_the_links_name_is_answered_to_and_asks_for_the_made_password(start: Start) -> None:
    shared = start(f"'https://{NAME}'")
    text = shared.told("The public link is")
    assert f"https://{NAME}" in text
    password = re.search(r"Password for visitors: (\S+)", text)
    assert password and text.count(password[1]) == 1
    headers = {"host": NAME, "origin": f"https://{NAME}"}
    with httpx.Client(base_url=shared.url, headers=headers, timeout=30) as visitor:
        assert visitor.get("/").status_code == 401
        assert visitor.post("/tunesmith/enter", data={"password": "guess"}).status_code == 401
        entered = visitor.post("/tunesmith/enter", data={"password": password[1], "place": "/"})
        assert entered.status_code == 303 and "Secure" in entered.headers["set-cookie"]
        assert visitor.get("/", headers={"host": "fedcba9876543210.gradio.live"}).status_code == 403
    command = Path(f"/proc/{shared.process.pid}/cmdline")
    if command.exists():
        assert password[1].encode() not in command.read_bytes()


def test_without_a_link_the_page_stays_up_and_says_what_to_do(start: Start) -> None:
    shared = start("(_ for _ in ()).throw(RuntimeError('no network'))", TUNESMITH_PASSWORD="open sesame")
    text = shared.told("There is no public link")
    assert "Check the network" in text and "open sesame" not in text
    with httpx.Client(base_url=shared.url, timeout=30) as host:
        link = re.search(r"\?host=\S+", text)
        assert link and host.get(f"/{link[0]}").status_code == 303
        assert host.get("/tunesmith/runs").json() == []
    assert httpx.get(shared.url).status_code == 401
    assert not any("open sesame" in path.read_text(errors="replace") for path in _files(shared.log.parent / "home"))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
