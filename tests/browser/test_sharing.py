"""A shared page as its visitors and its host use it, in Chromium, with real workers and a tiny model."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import DESKTOP, PHONE
from tests.browser.server import PATIENCE_MS, PageServer
from tests.fakes import models
from tests.fakes.runs import INTENTS

SLOW = 240_000
"""Milliseconds: a worker loads torch, on two busy cores."""
PASSWORD = "open sesame"
TOKEN = "hf_thehosts0123456789"
EVIL = "<img src=x onerror=document.title='hacked'>"
Visit = Callable[..., Page]
ENVIRONMENT = {
    "TUNESMITH_PASSWORD": PASSWORD,
    "HF_TOKEN": TOKEN,
    "TUNESMITH_VISITOR_RUNS": "1",
    "TUNESMITH_VISITOR_FILE_MB": "0.1",
}


@pytest.fixture
def shared_server(tmp_path: Path) -> Iterator[PageServer]:
    """It listens on all addresses, so that it has visitors; they come by this machine's own."""
    server = PageServer(tmp_path / "home", "--host", "0.0.0.0", **ENVIRONMENT)
    server.home.mkdir(exist_ok=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def visit(browser: Browser, shared_server: PageServer) -> Iterator[Visit]:
    """`visit(password=PASSWORD, path="/", size=DESKTOP, dark=False)` opens the page as somebody new."""
    contexts: list[BrowserContext] = []
    broken: list[str] = []

    def somebody(
        password: str | None = PASSWORD, path: str = "/", size: tuple[int, int] = DESKTOP, dark: bool = False
    ) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.goto(shared_server.url + path)
        if password is not None:
            page.get_by_label("Password").fill(password)
            page.get_by_role("button", name="Open the page").click()
            expect(page.get_by_role("link", name="Settings")).to_be_attached()
        return page

    yield somebody
    for context in contexts:
        context.close()
    assert not broken, "\n".join(broken)


@pytest.fixture
def host(visit: Visit, shared_server: PageServer) -> Page:
    link, end = None, time.monotonic() + 20
    while link is None and time.monotonic() < end:  # it is printed when the page answers already
        link = re.search(r"\?host=\S+", shared_server.log.read_text(encoding="utf-8"))
        time.sleep(0.1)
    assert link
    page = visit(password=None, path=f"/{link[0]}")
    assert page.url == f"{shared_server.url}/"
    return page


def start_run(page: Page, model: str, steps: int, name: str = "mine") -> Any:
    """Start a run through the page's calls for programs, with this visitor's cookies; what the call said."""
    texts = [(text, label) for label, texts in INTENTS.items() for text in texts]
    rows = "text,label\n" + "".join(f'"{text} {case}",{label}\n' for text, label in texts for case in range(20))
    source = call(page, "add", [rows])["source"]
    spec = {
        "name": name,
        "model": {"id": model},
        "data": [{"source": source}],
        "tuner": {"name": "lora", "rank": 2},
        "training": {"epochs": 1000, "max_steps": steps, "batch_size": 2, "max_tokens": 64, "precision": "float32"},
        "launch": {"threads": 1},
    }
    return call(page, "train", [spec, ""])


def call(page: Page, name: str, data: list[Any]) -> Any:
    """One of the page's calls, from a script of the page itself; a refusal comes as a text."""
    text = page.evaluate(
        """async ([name, data]) => {
          const made = await fetch(`gradio_api/call/${name}`, {
            method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({data})});
          const {event_id} = await made.json();
          return (await fetch(`gradio_api/call/${name}/${event_id}`)).text();
        }""",
        [name, data],
    )
    told = json.loads(text.rpartition("data: ")[2].splitlines()[0])
    return told[0] if "event: complete" in text else text


def fetched(page: Page, path: str, method: str = "GET", body: Any = None) -> int:
    """The status of a request that a script of the page makes."""
    return int(
        page.evaluate(
            "async ([path, method, body]) => (await fetch(path, {method, body: body && JSON.stringify(body), "
            "headers: body ? {'Content-Type': 'application/json'} : {}, "
            "signal: AbortSignal.timeout(30000)})).status",
            [path, method, body],
        )
    )


def wait_for_training(page: Page, run: str) -> None:
    """Until the run has made a step."""
    end = time.monotonic() + SLOW / 1000
    while time.monotonic() < end:
        told = page.evaluate("(path) => fetch(path).then((answer) => answer.json())", f"tunesmith/runs/{run}/feed")
        if told["steps"]:
            return
        page.wait_for_timeout(500)
    raise AssertionError(told)


@pytest.fixture
def tiny(shared_server: PageServer, tmp_path: Path) -> Callable[[Page], str]:
    """A tiny model in the folder of a visitor, who may name it there and nowhere else."""

    def made(page: Page) -> str:
        name = page.evaluate("fetch('tunesmith/settings').then((answer) => answer.json())")["recovery"]
        folder = shared_server.home / "files" / name.partition("=")[2].partition(".")[0] / "tiny"
        return str(models.tiny_decoder(folder))

    return made


def test_a_password_is_asked_for_and_wrong_ones_are_slowed(visit: Visit) -> None:
    page = visit(password=None, path="/?settings")

    def enter(password: str) -> None:
        page.get_by_label("Password").fill(password)
        with page.expect_navigation():
            page.keyboard.press("Enter")

    for pause in (0, 0, 1, 2, 0):  # the last wrong one closes for 4 s: a slow machine needs over a second to ask again
        enter("guess")
        expect(page.get_by_role("alert")).to_contain_text("That is not the password.")
        time.sleep(pause)
    enter(PASSWORD)
    expect(page.get_by_role("alert")).to_contain_text("try again in")
    time.sleep(4)
    enter(PASSWORD)
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    assert page.url.endswith("/?settings")


@pytest.mark.timeout(600)
def test_two_visitors_do_not_see_each_others_runs_files_streams_or_queue(
    visit: Visit, host: Page, shared_server: PageServer, tiny: Callable[[Page], str]
) -> None:
    ada, bob = visit(), visit()
    begun = start_run(ada, tiny(ada), steps=100_000, name=EVIL)
    assert isinstance(begun, dict), begun
    run = begun["run"]

    ada.reload()
    expect(ada.locator("#ts-rail")).to_contain_text(EVIL)
    ada.goto(f"{shared_server.url}/?run={run}")
    wait_for_training(ada, run)
    assert ada.evaluate("document.title.startsWith('<img')")

    expect(bob.locator("#ts-rail")).to_contain_text("No runs yet.")
    bob.goto(f"{shared_server.url}/?run={run}")
    expect(bob.get_by_role("heading", name=re.compile("There is no run"))).to_be_visible()
    for path, method in [
        (f"runs/{run}", "GET"), (f"runs/{run}/feed", "GET"), (f"runs/{run}/download/zip", "GET"),
        (f"runs/{run}/download/spec", "GET"), (f"runs/{run}/stop", "POST"), (f"runs/{run}/delete", "POST"),
        (f"host/stop/{run}", "POST"),
    ]:  # fmt: skip
        assert fetched(bob, f"tunesmith/{path}", method) == 404, path
    assert "There is no run" in str(call(bob, "status", [run])) and call(bob, "runs", []) == []

    # Their stream and their place in the queue, whose name Bob was told by some accident.
    session = {"session_hash": "adas-own", "fn_index": 0, "data": []}
    assert fetched(ada, "gradio_api/queue/join", "POST", session) == 200
    assert fetched(bob, "gradio_api/queue/data?session_hash=adas-own") == 404
    assert fetched(bob, "gradio_api/queue/join", "POST", session) == 404
    assert fetched(bob, "gradio_api/cancel", "POST", {**session, "event_id": "x"}) == 404

    # Their files.
    source = call(ada, "add", ["text,label\na,b\nc,d\n"])["source"]
    assert "not there any more" in str(call(bob, "check", [source, "chat"]))
    assert isinstance(call(ada, "check", [source, "chat"]), dict)

    # One run at a time, told in words.
    assert "each visitor may have 1 at a time" in str(start_run(ada, tiny(ada), steps=1))

    # The host sees it, and can end it.
    host.goto(f"{shared_server.url}/?settings")
    line = host.locator(".ts-visitor-runs li").filter(has_text=EVIL)
    expect(line).to_contain_text("running")
    line.get_by_role("button", name="Stop").click()
    expect(host.get_by_role("status").filter(has_text="stops at its next step")).to_be_visible()
    expect(ada.get_by_text("Stopped. Everything up to the last checkpoint is kept")).to_be_visible(timeout=SLOW)
    assert host.title() == "Settings, Tunesmith" and ada.title() != "hacked"


@pytest.mark.timeout(600)
def test_the_hosts_token_is_out_of_a_visitors_reach(
    visit: Visit, shared_server: PageServer, tiny: Callable[[Page], str]
) -> None:
    ada = visit()
    seen: list[str] = []
    ada.on("response", lambda answer: seen.append(answer.url))
    run = start_run(ada, tiny(ada), steps=100_000)["run"]
    ada.goto(f"{shared_server.url}/?run={run}")
    wait_for_training(ada, run)
    for kind in ("worker", "supervisor"):
        pid = json.loads((shared_server.home / "runs" / run / f"{kind}.json").read_text())["pid"]
        environment = Path(f"/proc/{pid}/environ")
        if environment.exists():
            assert TOKEN.encode() not in environment.read_bytes()
            assert PASSWORD.encode() not in environment.read_bytes()
            assert TOKEN.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    for path in (
        "config",
        "gradio_api/info",
        "tunesmith/settings",
        f"tunesmith/runs/{run}",
        f"tunesmith/runs/{run}/feed",
        ".",
    ):
        text = ada.evaluate("(path) => fetch(path).then((answer) => answer.text())", path)
        assert TOKEN not in text and PASSWORD not in text
    ada.get_by_role("button", name="Stop", exact=True).click()
    expect(ada.get_by_text("Stopped. Everything up to the last checkpoint is kept")).to_be_visible(timeout=SLOW)
    files = [path for path in shared_server.home.rglob("*") if path.is_file()]
    assert files and not any(TOKEN.encode() in path.read_bytes() for path in files)
    log = shared_server.log.read_text(encoding="utf-8")
    assert TOKEN not in log and PASSWORD not in log


def test_a_file_that_is_too_large_is_refused_in_words(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    large = tmp_path / "large.csv"
    large.write_text("text,label\n" + "some words,a\n" * 20_000, encoding="utf-8")
    page.locator("input[type=file]").first.set_input_files(large)
    expect(page.get_by_text("a file may have 0.1 MB").first).to_be_visible()
    small = tmp_path / "small.csv"
    small.write_text("text,label\n" + "some words,a\nother words,b\n" * 10, encoding="utf-8")
    page.reload()
    page.locator("input[type=file]").first.set_input_files(small)
    expect(page.get_by_text("20 rows").first).to_be_visible()


def test_a_recovery_link_brings_the_files_into_another_browser(visit: Visit, shared_server: PageServer) -> None:
    ada, elsewhere = visit(), visit()
    call(ada, "add", ["text,label\na,b\nc,d\n"])
    ada.get_by_role("link", name="Settings").click()
    ada.get_by_role("button", name="Show").click()
    link = ada.get_by_label("Link").input_value()
    token = link.partition("=")[2]

    asked: list[str] = []
    elsewhere.on("request", lambda request: asked.append(f"{request.url} {request.headers.get('referer', '')}"))
    elsewhere.goto(link)
    expect(elsewhere.get_by_role("heading", name="Open these runs here?")).to_be_visible()
    assert token not in elsewhere.url
    elsewhere.get_by_role("button", name="Open them here").click()
    elsewhere.wait_for_url(f"{shared_server.url}/")
    assert [line for line in asked if token in line] == [f"{link} "]
    assert elsewhere.evaluate("document.cookie") == ""
    elsewhere.goto(f"{shared_server.url}/?settings")
    elsewhere.get_by_role("button", name="Show").click()
    expect(elsewhere.get_by_label("Link")).to_have_value(link)


def test_people_delete_what_is_theirs(visit: Visit, shared_server: PageServer) -> None:
    page = visit()
    call(page, "add", ["text,label\na,b\nc,d\n"])
    page.goto(f"{shared_server.url}/?settings")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete all my runs and files").click()
    expect(page.get_by_role("status").filter(has_text="Deleted.")).to_be_visible()
    expect(page.get_by_role("button", name="Delete all my runs and files")).to_have_count(0)
    assert not any(path.is_file() for path in (shared_server.home / "files").rglob("*"))


@pytest.mark.parametrize("dark", [False, True])
def test_settings_and_the_password_fit_a_phone(visit: Visit, dark: bool) -> None:
    width = "document.documentElement.scrollWidth"
    page = visit(password=None, path="/?settings", size=PHONE, dark=dark)
    assert page.evaluate(width) <= PHONE[0]
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Open the page").click()
    expect(page.get_by_role("heading", name="Recovery link")).to_be_visible()
    assert page.evaluate(width) <= PHONE[0]


def test_settings_of_ones_own_page_show_what_applies_and_nothing_else(browser_page: Page) -> None:
    browser_page.get_by_role("link", name="Settings").click()
    expect(browser_page.get_by_role("heading", name="What is stored")).to_be_visible()
    headings = browser_page.locator("#ts-settings h2").all_inner_texts()
    assert headings == ["What is stored"]
