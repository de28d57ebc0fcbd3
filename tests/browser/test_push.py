"""From a finished run to a repository of the Hub, on the page, with a Hub that verifies what it receives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from engine.runs import store
from tests.browser.conftest import PHONE, OpenPage
from tests.browser.server import PageServer
from tests.browser.test_accessibility import grave
from tests.fakes.finished import pretended
from tests.fakes.hub import FakeHub
from tests.fakes.hub_uploads import Account, Failure, Reply, Uploads

TOKEN = "hf_secretSecretsecret"
SLOW = 240_000


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "hub", {TOKEN: Account("ada")}, seconds_an_object=2.5)


@pytest.fixture
def hub(uploads: Uploads) -> Iterator[FakeHub]:
    with FakeHub({}, uploads=uploads) as served:
        yield served
    assert uploads.wrong == []


@pytest.fixture
def page_server(tmp_path: Path, hub: FakeHub) -> Iterator[PageServer]:
    # The token's own folder of the Hub's library: nobody is signed in on this machine.
    server = PageServer(tmp_path / "home", HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0", HF_HOME=str(tmp_path / "hf"))
    server.home.mkdir(exist_ok=True)
    server.start()
    yield server
    server.stop()


def open_form(open_page: OpenPage, run: store.Run, **kind: object) -> Page:
    page = open_page(f"/?run={run.id}", **kind)
    page.get_by_role("button", name="Share on the Hub").click(timeout=SLOW)
    expect(page.get_by_label("Repository")).to_be_visible()
    return page


def test_a_finished_run_is_pushed_with_its_progress_in_sight(
    open_page: OpenPage, hub: FakeHub, uploads: Uploads, tmp_path: Path
) -> None:
    run = pretended()
    page = open_form(open_page, run)
    page.get_by_text("Files that are sent").click()
    expect(page.get_by_text("adapter_model.safetensors")).to_be_visible()
    page.get_by_text("Model card", exact=True).click()
    expect(page.get_by_label("Model card")).to_contain_text("base_model: HuggingFaceTB/SmolLM2-135M-Instruct")
    expect(page.get_by_label("Private")).to_be_checked()
    assert grave(page) == []
    page.get_by_label("Token of the Hub").fill(TOKEN)
    page.get_by_role("button", name="Push to the Hub").click()
    expect(page.get_by_text("file 8 of 8")).to_be_visible(timeout=SLOW)
    bar = page.get_by_role("progressbar", name="Sent to the Hub")
    assert 0 < int(bar.get_attribute("aria-valuenow") or 0) < 100

    page.reload()
    link = page.get_by_role("link", name="ada/bank-helper")
    expect(link).to_have_attribute("href", f"{hub.url}/ada/bank-helper", timeout=SLOW)
    expect(page.get_by_text("private: only you")).to_be_visible()
    assert uploads.repositories["ada/bank-helper"].private and len(set(uploads.received)) == 2
    assert TOKEN not in page.content()
    stored = page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
    assert TOKEN not in stored
    for file in (file for file in tmp_path.rglob("*") if file.is_file()):
        assert TOKEN.encode() not in file.read_bytes(), file


def test_a_push_that_broke_half_way_is_gone_on_with_after_a_restart(
    open_page: OpenPage, page_server: PageServer, hub: FakeHub, uploads: Uploads
) -> None:
    uploads.failures.append(Failure("PUT /lfs/", Reply(501), after=1))
    page = open_form(open_page, pretended(), size=PHONE, dark=True)
    page.get_by_label("Repository").fill("ada/helper")
    page.get_by_label("Token of the Hub").fill(TOKEN)
    page.get_by_role("button", name="Push to the Hub").click()
    expect(page.get_by_text("The Hub answered with an error of its own (501)")).to_be_visible(timeout=SLOW)
    assert len(uploads.received) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert grave(page) == []

    uploads.failures.clear()
    page_server.kill()
    page_server.start()
    page.reload()
    page.get_by_label("Token of the Hub").fill(TOKEN, timeout=SLOW)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("link", name="ada/helper")).to_be_visible(timeout=SLOW)
    assert len(uploads.received) == len(set(uploads.received)) == 2


def test_what_can_not_be_pushed_is_told_beside_the_form(open_page: OpenPage, hub: FakeHub, uploads: Uploads) -> None:
    page = open_form(open_page, pretended())
    page.get_by_label("Repository").fill("ada/bank helper")
    page.get_by_label("Token of the Hub").fill(TOKEN)
    page.get_by_role("button", name="Push to the Hub").click()
    expect(page.get_by_role("alert").filter(has_text="letters without accents")).to_be_visible()
    page.get_by_label("Repository").fill("ada/helper")
    page.get_by_label("Token of the Hub").fill("hf_nobodyNobody")
    page.get_by_role("button", name="Push to the Hub").click()
    expect(page.get_by_role("alert").filter(has_text="does not know this token")).to_be_visible()
    page.get_by_label("Token of the Hub").fill("")
    page.get_by_role("button", name="Push to the Hub").click()
    expect(page.get_by_role("heading", name="Waiting for sign-in")).to_be_visible()
    page.get_by_label("Token of the Hub").fill(TOKEN)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("link", name="ada/helper")).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="Push again").click()
    page.get_by_role("button", name="Forget the token").click()
    expect(page.get_by_label("Token of the Hub")).to_be_visible()
