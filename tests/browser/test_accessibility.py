"""axe-core finds nothing serious or critical on any view, in light and dark, on a desktop and a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from engine.runs import store
from engine.specs import presets
from tests.browser.conftest import DESKTOP, PHONE, OpenPage
from tests.browser.server import PATIENCE_MS, PageServer
from tests.fakes import models, outcomes
from tests.fakes.finished import pretended
from tests.fakes.outcomes import STORIES
from ui.theme import TOKENS

SLOW = 240_000
"""Milliseconds: the speed of the machine is measured once, and it may be busy."""
MESSY = Path(__file__).parents[1] / "data" / "messy" / "banking_dups_conflicts_label_noise.csv"
PASSWORD = "open sesame"
IS_INK = "(ink) => getComputedStyle(document.querySelector('h1')).color === `rgb(${ink.join(', ')})`"
COLOURS = ("color-contrast", "link-in-text-block")
STILL = "document.getAnimations().forEach((a) => (a.effect.getComputedTiming().endTime < Infinity ? a.finish() : a.cancel()))"
"""Colours on their way from light to dark are neither."""


SETTLED = """() => {
    const ends = (one) => one.playState === "running" && one.effect.getComputedTiming().endTime < 3000;
    const waited = document.getAnimations().filter(ends).map((one) => one.finished);
    return Promise.race([new Promise((done) => setTimeout(done, 3000)), Promise.allSettled(waited)]).then(() => null);
}"""
"""What is still fading in has too little contrast."""


def grave(page: Page, rules: tuple[str, ...] = ()) -> list[str]:
    """What axe-core calls serious or critical, with the element that it means. rules: these alone, in place of all."""
    page.evaluate(SETTLED)
    options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    found: list[dict[str, Any]] = Axe().run(page, options=options).response["violations"]
    return [
        f"{item['id']}: {node['target']} {node['html'][:160]}"
        for item in found
        if item["impact"] in ("serious", "critical")
        for node in item["nodes"]
    ]


@dataclass
class Looks:
    """Looks at view after view, in light and dark, and keeps what is grave until all are seen."""

    page: Page
    found: list[str] = field(default_factory=list)

    def at(self, view: str) -> None:
        """Dark differs from light in its colours alone."""
        for scheme, ink in zip(("light", "dark"), TOKENS["ink"], strict=True):
            self.page.emulate_media(color_scheme=scheme)
            self.page.wait_for_function(IS_INK, arg=[int(ink[at : at + 2], 16) for at in (1, 3, 5)])
            self.page.evaluate(STILL)
            self.found += [
                f"{view}, {scheme}: {line}" for line in grave(self.page, () if scheme == "light" else COLOURS)
            ]

    def go(self, address: str) -> None:
        self.page.goto(self.page.url.split("?")[0] + address)

    def end(self) -> None:
        assert self.found == []


@dataclass(frozen=True)
class Home:
    """Runs of every kind, a preset, and a model that can be planned with."""

    finished: store.Run
    other: store.Run
    failed: store.Run
    stopped: store.Run
    shareable: store.Run
    tiny: Path


@pytest.fixture(scope="module")
def page_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """One server for all views: they change nothing that another view shows."""
    server = PageServer(tmp_path_factory.mktemp("views") / "home")
    server.home.mkdir()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def home(page_server: PageServer) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_HOME", str(page_server.home))
        finished = outcomes.told(STORIES["better"])
        store.annotate(finished, note="The rare labels.", tags=["bank", "paper"])
        others = [outcomes.told(STORIES[name]) for name in ("overfitted", "failed", "stopped")]
        presets.save("local", "Quick", finished.spec())
        tiny = models.tiny_decoder(page_server.home / "models" / "tiny")
        yield Home(finished, *others, pretended(), tiny)


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def looks(open_page: OpenPage, home: Home, request: pytest.FixtureRequest) -> Looks:
    return Looks(open_page("/?runs", size=request.param))


def test_a_new_run_can_be_made_by_everybody(looks: Looks) -> None:
    page = looks.page
    looks.go("?")
    expect(page.get_by_role("button", name="Run the sample")).to_be_visible()
    looks.at("the empty page")
    page.get_by_role("tab", name="Paste").click()
    page.get_by_role("button", name="Use these rows").click()
    expect(page.get_by_test_id("toast-body")).to_be_visible()
    looks.at("a refusal")

    page.reload()
    page.locator("input[type=file]").first.set_input_files(MESSY)
    expect(page.locator(".ts-found")).to_be_visible(timeout=SLOW)
    repeats = page.locator(".ts-finding").filter(has_text="Rows that repeat an earlier one")
    repeats.locator("summary").click()
    expect(repeats.locator(".ts-row").first).to_be_visible()
    page.get_by_role("button", name="More settings").first.click()
    looks.at("findings, one of them opened")
    page.get_by_role("button", name=re.compile("Leave these rows out")).click()
    expect(page.get_by_text("Done: 3 rows with problems left out.")).to_be_visible(timeout=SLOW)

    page.get_by_role("button", name="Next: model and method").click()
    page.get_by_role("radio", name=re.compile("^tiny")).click()
    page.get_by_role("button", name="More settings").last.click()
    page.get_by_text("The model's own weights").click()
    expect(page.get_by_label("Weight decay")).to_be_visible()
    looks.at("models and methods")
    page.get_by_role("button", name="Next: check the plan").click()
    expect(page.locator("mark:visible").first).to_be_visible(timeout=SLOW)
    looks.at("the plan")
    looks.end()


def test_what_a_run_came_to_can_be_read_by_everybody(looks: Looks, home: Home) -> None:
    page = looks.page
    looks.go(f"?run={home.finished.id}")
    expect(page.get_by_role("heading", name="What to try next")).to_be_visible()
    expect(page.get_by_role("heading", name="Talk to it")).to_be_visible()
    for closed in ("All scores", "Name, note and tags", "Log"):
        page.locator("summary", has_text=re.compile(f"^{closed}")).click()
    looks.at("a finished run")
    looks.go(f"?run={home.shareable.id}")
    page.get_by_role("button", name="Share on the Hub").click()
    expect(page.get_by_label("Repository")).to_be_visible()
    page.get_by_text("Files that are sent").click()
    page.get_by_text("Model card", exact=True).click()
    looks.at("sharing")
    looks.go(f"?run={home.failed.id}")
    expect(page.get_by_role("heading", name="It diverged, and failed at step 4 of 100")).to_be_visible()
    looks.at("a failed run")
    looks.go(f"?run={home.stopped.id}")
    expect(page.get_by_role("heading", name="Stopped at step 50 of 100")).to_be_visible()
    looks.at("a stopped run")
    looks.go("?run=20260101-000000-abcdefgh")
    expect(page.get_by_role("heading", name=re.compile("There is no run"))).to_be_visible()
    looks.at("a run that does not exist")
    looks.end()


def test_all_runs_can_be_gone_through_by_everybody(looks: Looks, home: Home) -> None:
    page = looks.page
    page.get_by_label("Select").first.check()
    looks.at("all runs")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    looks.at("shortcuts")
    page.keyboard.press("Escape")
    if (toggle := page.get_by_role("button", name="Runs", exact=True)).is_visible():
        toggle.click()
        looks.at("the runs beside the page")
    looks.go(f"?compare={home.finished.id},{home.other.id}")
    expect(page.get_by_role("heading", name="Rows that differ")).to_be_visible()
    looks.at("two runs compared")
    looks.go("?settings")
    expect(page.get_by_role("heading", name="What is stored")).to_be_visible()
    looks.at("settings")
    looks.end()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    server = PageServer(tmp_path_factory.mktemp("shared") / "home", "--host", "0.0.0.0", TUNESMITH_PASSWORD=PASSWORD)
    server.home.mkdir()
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_shared_page_can_be_entered_by_everybody(
    browser: Browser, shared_server: PageServer, size: tuple[int, int]
) -> None:
    with browser.new_context(viewport={"width": size[0], "height": size[1]}) as context:
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        looks = Looks(page)
        page.goto(f"{shared_server.url}/?settings")
        page.get_by_label("Password").fill("a guess")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("That is not the password.")
        looks.at("a wrong password")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Show").click()
        looks.at("settings of a visitor")
        looks.end()
