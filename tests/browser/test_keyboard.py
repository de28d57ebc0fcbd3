"""The whole way by keyboard alone: from pasted rows to a talk with the result, and to a deleted run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from engine.files import write_json
from engine.runs import process, store
from tests.browser.conftest import PHONE, OpenPage
from tests.browser.server import PageServer
from tests.fakes import outcomes
from tests.fakes.finished import pretended, settled
from tests.fakes.outcomes import STORIES

SLOW = 240_000
"""Milliseconds: a worker loads torch, on two busy cores."""
MOST_STOPS = 90
"""Presses of Tab through the longest of the pages."""
ROWS = "message,intent\n" + "\n".join(
    f"Where is my card {number}?,card\nWhich rate {number}?,rate" for number in range(40)
)
STOP = """() => {
  const look = (node) => {
    const { outlineStyle, outlineWidth, boxShadow, borderColor, stroke, strokeWidth } = getComputedStyle(node);
    return [outlineStyle === 'none' ? '' : outlineWidth, boxShadow, borderColor, stroke, strokeWidth].join();
  };
  const looks = (node) => [node, ...node.querySelectorAll('rect'), node.closest('label'), node.parentElement].filter(Boolean).map(look).join(' | ');
  const told = (node) => `${node.tagName.toLowerCase()} "${(node.getAttribute('aria-label') || node.textContent || node.placeholder || node.value || node.id).trim().slice(0, 50)}"`;
  const wrong = [];
  const before = window.stopBefore;
  if (before?.node.isConnected && looks(before.node) === before.looks) wrong.push(`no focus ring: ${told(before.node)}`);
  const node = document.activeElement;
  if (!node || node === document.body) {
    window.stopBefore = null;
    return { lost: true, name: 'nothing', wrong };
  }
  window.stopBefore = { node, looks: looks(node) };
  const box = (node.closest('label.ts-card') ?? node).getBoundingClientRect();
  const x = Math.min(innerWidth - 1, Math.max(0, box.x + box.width / 2)), y = Math.min(innerHeight - 1, Math.max(0, box.y + Math.min(box.height / 2, 20)));
  const over = document.elementFromPoint(x, y);
  if (box.bottom < 1 || box.top > innerHeight - 1 || !box.width) wrong.push(`out of sight: ${told(node)}`);
  else if (over && !over.contains(node) && !node.contains(over) && !over.closest('label')?.contains(node)) wrong.push(`covered by ${told(over)}: ${told(node)}`);
  return { lost: false, name: told(node), wrong };
}"""
"""Where the focus is, and what is wrong with how that shows. The stop before has lost it and must look different now."""


@dataclass
class Keyboard:
    """What a person without a mouse can do. Each stop of Tab has to be in sight, with a ring around it."""

    page: Page

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def step(self, key: str = "Tab") -> bool:
        """On to the next stop; False at the page's end."""
        self.press(key)
        stop = self.page.evaluate(STOP)
        assert stop["wrong"] == []
        return not stop["lost"]

    def to(self, place: Locator, key: str = "Tab") -> None:
        """On and on until the focus is there; past the page's end it begins anew."""
        expect(place).to_be_visible(timeout=SLOW)
        for _ in range(2 * MOST_STOPS):
            self.step(key)
            if place.evaluate("(node) => node === document.activeElement"):
                return
        raise AssertionError(f"Tab does not come to {place}")

    def go(self, place: Locator, key: str = "Enter") -> None:
        self.to(place)
        self.press(key)

    def round(self, key: str = "Tab") -> None:
        """From here to the page's end, which is no further than it can be."""
        for _ in range(MOST_STOPS):
            if not self.step(key):
                return
        raise AssertionError(f"{key} does not come to an end: {self.page.evaluate(STOP)['name']}")

    def is_somewhere(self) -> None:
        """What has the focus is shown, and not a part that is gone."""
        self.page.wait_for_function(
            "document.activeElement !== document.body && document.activeElement.getClientRects().length > 0"
        )


@pytest.fixture(scope="module")
def page_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """One server for all tests of this file."""
    server = PageServer(tmp_path_factory.mktemp("keyboard") / "home")
    server.home.mkdir()
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def no_runs(page_server: PageServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins in the server's home without a run, and makes its own there."""
    monkeypatch.setenv("TUNESMITH_HOME", str(page_server.home))
    yield
    for run in store.listed():
        store.delete(settled(run, "stopped"))


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def paste_rows(page: Page, keys: Keyboard) -> None:
    """From the empty page to the second step."""
    keys.go(page.get_by_role("link", name="Skip to the page"))
    keys.is_somewhere()
    keys.go(page.get_by_role("tab", name="Paste"))
    keys.to(page.get_by_role("textbox", name="Rows"))
    page.keyboard.insert_text(ROWS)
    keys.go(button(page, "Use these rows"))
    expect(page.get_by_text("80 rows: texts with labels")).to_be_visible(timeout=SLOW)
    keys.is_somewhere()
    keys.round()
    keys.go(button(page, "Next: model and method"))


def choose(page: Page, keys: Keyboard) -> None:
    """A model, a tuner and the number of passes; on to the plan."""
    expect(page.get_by_role("heading", name="Which model, and how?")).to_be_focused()
    keys.round()
    keys.to(page.get_by_role("radio", name=re.compile("SmolLM2-135M-Instruct")))
    keys.press("ArrowDown", "ArrowDown")
    expect(page.get_by_role("radio", name=re.compile("^tiny"))).to_be_focused()
    keys.to(page.get_by_role("radio", name=re.compile("^LoRA"), checked=True))
    keys.press("ArrowDown")
    chosen = page.get_by_role("radio", checked=True).and_(page.locator("[name=ts-tuner-choice]"))
    expect(chosen).to_be_focused()
    assert chosen.get_attribute("value") != "lora"
    keys.to(page.get_by_label("Passes"))
    keys.press("ControlOrMeta+a", "1")
    keys.go(button(page, "Next: check the plan"))


@pytest.mark.timeout(600)
def test_the_whole_way_is_gone_by_keyboard_alone(open_page: OpenPage, page_server: PageServer, tiny: Path) -> None:
    page = open_page()
    keys = Keyboard(page)
    expect(button(page, "Run the sample")).to_be_visible()
    paste_rows(page, keys)
    choose(page, keys)
    expect(page.get_by_role("heading", name="Ready to start?")).to_be_focused()
    expect(page.get_by_text(re.compile(r"64 rows, 1 pass, [\d,]+ steps"))).to_be_visible(timeout=SLOW)
    expect(button(page, "Start training")).to_be_enabled(timeout=SLOW)
    keys.round()
    keys.go(button(page, "Start training"))
    page.wait_for_url(re.compile(r"\?run="), timeout=SLOW)

    log = page.locator(".ts-log summary")
    keys.go(log)
    expect(page.locator("#ts-run [role=status]").first).to_have_text(re.compile("^Finished on"), timeout=SLOW)
    expect(page.get_by_role("heading", name="What to try next")).to_be_visible()
    expect(log).to_be_focused()
    keys.go(page.get_by_role("link", name="Compare base and tuned"))
    message = page.get_by_role("textbox", name="Message")
    expect(message).to_be_focused()
    page.keyboard.type("Where is my card, rn?")
    expect(message).to_have_value("Where is my card, rn?")
    keys.press("Enter")
    expect(page.locator(".bot.message").nth(1)).to_be_visible(timeout=SLOW)
    expect(message).to_be_focused()

    keys.press("Tab", "r")
    expect(page).to_have_url(re.compile(r"\?runs$"))
    keys.go(page.locator(".ts-runs-link"))
    expect(page).to_have_url(re.compile(r"\?run="))
    keys.go(page.get_by_role("link", name="All runs"))
    expect(page).to_have_url(re.compile(r"\?runs$"))
    keys.go(page.get_by_label(re.compile("^Select")), "Space")
    page.once("dialog", lambda dialog: dialog.dismiss())
    keys.go(button(page, "Delete"))
    expect(button(page, "Delete")).to_be_focused()
    page.once("dialog", lambda dialog: dialog.accept())
    keys.press("Enter")
    expect(page.get_by_text("No runs yet.", exact=True)).to_be_visible()
    keys.is_somewhere()
    assert not [*(page_server.home / "runs").glob("2*")]


def told(name: str, called: str = "") -> store.Run:
    return outcomes.told(replace(STORIES[name], name=called or name))


def test_tab_comes_to_the_end_of_every_view_and_back(open_page: OpenPage) -> None:
    one, other = told("overfitted"), told("better")
    store.annotate(one, note="A note.", tags=["bank"])
    page = open_page("/?settings")
    keys = Keyboard(page)
    expect(page.get_by_role("heading", name="What is stored")).to_be_visible()
    keys.round()
    for address, shown in {
        f"?run={one.id}": "What to try next",
        "?runs": "Presets",
        f"?compare={one.id},{other.id}": "Rows that differ",
    }.items():
        page.goto(page.url.split("?")[0] + address)
        expect(page.get_by_role("heading", name=shown)).to_be_visible()
        keys.round()
        keys.round("Shift+Tab")


def test_no_act_on_a_run_loses_the_focus(open_page: OpenPage) -> None:
    run = told("stopped")
    write_json(run.folder / "supervisor.json", process.identity(os.getpid()))  # or the server takes it up again
    settled(run, "running")
    page = open_page(f"/?run={run.id}")
    page.route("**/stop", lambda route: (settled(run, "stopping"), route.fulfill(json={})))
    keys = Keyboard(page)
    keys.go(button(page, "Stop"))
    acts = page.get_by_role("group", name="What can be done with this run")
    expect(button(page, "End at once")).to_be_visible()
    expect(acts).to_be_focused()
    settled(run, "stopped")
    expect(button(page, "Resume")).to_be_visible()
    expect(acts).to_be_focused()
    keys.go(page.locator("summary", has_text="Name, note and tags"))
    keys.to(page.get_by_label("Note"))
    page.keyboard.type("Kept.")
    keys.go(button(page, "Save"))
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    expect(button(page, "Save")).to_be_focused()


def test_what_is_opened_to_share_a_run_gives_the_focus_back(open_page: OpenPage) -> None:
    page = open_page(f"/?run={pretended().id}")
    keys = Keyboard(page)
    keys.go(button(page, "Share on the Hub"))
    expect(page.get_by_label("Repository")).to_be_focused()
    keys.go(button(page, "Not now"))
    expect(button(page, "Share on the Hub")).to_be_focused()


def test_deleting_one_of_several_runs_leaves_the_focus_on_the_list(open_page: OpenPage) -> None:
    for name in ("one", "two"):
        store.annotate(told("stopped", name), note="", tags=["bank"])
    page = open_page("/?runs")
    keys = Keyboard(page)
    keys.go(button(page, "Only runs with the tag bank").first)
    expect(page).to_have_url(re.compile("tag=bank"))
    expect(button(page, "Only runs with the tag bank").first).to_be_focused()
    keys.go(page.get_by_label("Select one"), "Space")
    page.once("dialog", lambda dialog: dialog.accept())
    keys.go(button(page, "Delete"))
    expect(page.locator(".ts-runs-link")).to_have_text(["two"])
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_focused()


def test_escape_closes_what_opened_and_the_focus_is_where_it_was(open_page: OpenPage) -> None:
    page = open_page()
    keys = Keyboard(page)
    keys.go(page.get_by_role("tab", name="Paste"))
    on = button(page, "Use these rows")
    keys.go(on)
    refused = page.get_by_test_id("toast-body")
    expect(refused).to_be_visible()
    keys.press("Escape")
    expect(refused).to_be_hidden()
    expect(on).to_be_focused()

    keys.press("Enter")
    keys.go(page.get_by_test_id("toast-close"))
    expect(refused).to_be_hidden()
    keys.is_somewhere()

    keys.to(on)
    keys.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()
    expect(on).to_be_focused()

    keys.go(page.get_by_role("tab", name="Sample"))
    keys.go(button(page, "Use the sample"))
    layout = page.get_by_role("combobox").first
    keys.to(layout)
    keys.press("ArrowDown")
    expect(page.get_by_role("listbox")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    expect(layout).to_be_focused()


def test_escape_closes_the_runs_of_a_phone(open_page: OpenPage) -> None:
    told("stopped", "poems")
    page = open_page(size=PHONE)
    keys = Keyboard(page)
    expect(page.locator(".ts-rail-item")).to_be_attached()
    toggle = page.locator(".ts-toggle")
    keys.go(toggle)
    keys.to(page.get_by_role("link", name=re.compile("^poems")))
    keys.press("Escape")
    expect(page.locator(".ts-drawer")).to_be_hidden()
    expect(toggle).to_be_focused()


def test_the_keys_of_the_list_do_what_it_says_and_nothing_while_one_types(open_page: OpenPage) -> None:
    told("better", "one"), told("better", "two")
    page = open_page()
    keys = Keyboard(page)
    expect(page.locator(".ts-rail-item")).to_have_count(2)
    keys.press("?")
    listed = page.locator(".ts-dialog kbd").all_inner_texts()
    assert listed == ["n", "r", "/", "j", "k", "?"]
    keys.press("Escape")
    keys.press("j")
    expect(page.locator(".ts-rail-item").first).to_be_focused()

    keys.go(page.get_by_role("tab", name="Paste"))
    rows = page.get_by_role("textbox", name="Rows")
    keys.to(rows)
    page.keyboard.type("".join(listed))
    expect(rows).to_have_value("".join(listed))
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert "?" not in page.url

    keys.press("Shift+Tab", "/")
    expect(page.get_by_role("searchbox", name="Search")).to_be_focused()
    page.keyboard.type("".join(listed))
    expect(page.get_by_role("searchbox", name="Search")).to_have_value("".join(listed))
    keys.press("Shift+Tab", "n")
    expect(page.get_by_role("heading", name="What should the model learn from?")).to_be_visible()
