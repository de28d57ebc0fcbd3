"""All runs: searched, sorted, compared, deleted; names and presets; single keys; being told of an end."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from engine.files import write_json
from engine.runs import process, store
from engine.specs import presets
from tests.browser.conftest import DESKTOP, PHONE, OpenPage
from tests.browser.server import PATIENCE_MS
from tests.browser.test_accessibility import grave
from tests.fakes import outcomes
from tests.fakes.outcomes import STORIES

MARKUP = "<img src=x onerror=document.title='hacked'>"


def told(name: str, called: str = "", **changes: Any) -> store.Run:
    return outcomes.told(replace(STORIES[name], rows=8, validation=4, name=called or name, **changes))


def links(page: Page) -> Any:
    return page.locator("#ts-runs .ts-runs-link")


def test_the_empty_view_says_what_will_stand_there_and_where_to_begin(open_page: OpenPage) -> None:
    page = open_page("/?runs")
    expect(page.get_by_text("No runs yet.", exact=True)).to_be_visible()
    page.get_by_role("link", name="Start with the sample or your own data").click()
    expect(page.get_by_role("button", name="Run the sample")).to_be_visible()


def test_runs_are_searched_as_one_types_and_the_address_keeps_it(open_page: OpenPage) -> None:
    store.annotate(told("better", "bank"), note="the rare labels", tags=["paper"])
    told("stopped", "poems")
    page = open_page("/?runs")
    expect(links(page)).to_have_text(["poems", "bank"])
    page.get_by_label("Search").press_sequentially("rare lab")
    expect(links(page)).to_have_text(["bank"])
    expect(page.get_by_text("1 of 2 runs.")).to_be_visible()
    page.reload()
    expect(links(page)).to_have_text(["bank"])
    expect(page.get_by_label("Search")).to_have_value("rare lab")
    page.get_by_label("Search").fill("")
    expect(links(page)).to_have_count(2)
    page.get_by_role("button", name="Only runs with the tag paper").click()
    expect(links(page)).to_have_text(["bank"])


def test_a_header_sorts_and_says_so(open_page: OpenPage) -> None:
    for name in ("better", "overfitted", "stopped"):
        told(name)
    page = open_page("/?runs")
    score = page.get_by_role("columnheader", name="Score")
    page.get_by_role("button", name="Score").click()
    expect(links(page)).to_have_text(["better", "overfitted", "stopped"])
    expect(score).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="Score").click()
    expect(links(page)).to_have_text(["overfitted", "better", "stopped"])
    expect(score).to_have_attribute("aria-sort", "ascending")
    expect(page.get_by_role("button", name="Score")).to_be_focused()


def test_a_phone_sorts_both_ways(open_page: OpenPage) -> None:
    told("better"), told("stopped")
    page = open_page("/?runs", size=PHONE)
    expect(links(page)).to_have_text(["stopped", "better"])
    page.get_by_label("Order").select_option(label="Date, oldest first")
    expect(links(page)).to_have_text(["better", "stopped"])
    page.get_by_label("Order").select_option(label="Name, Z to A")
    expect(links(page)).to_have_text(["stopped", "better"])


def test_two_checked_runs_are_compared(open_page: OpenPage) -> None:
    told("better", settings={"tuner": {"name": "lora", "rank": 32}}), told("overfitted")
    page = open_page("/?runs")
    compare = page.get_by_role("button", name="Compare")
    expect(compare).to_be_disabled()
    page.get_by_label("Select overfitted").check()
    expect(compare).to_be_disabled()
    page.get_by_label("Select better").check()
    compare.click()
    expect(page.get_by_text(re.compile("B does better: exact match is 75.0 % for A and 92.5 % for B"))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("Rank"))).to_contain_text("32")
    expect(page.get_by_role("img", name=re.compile("A: training loss 3.050 to 0.05"))).to_be_visible()
    page.get_by_role("button", name="Better in B 7").click()
    expect(page.locator(".ts-rows > li")).to_have_count(7)


def test_noise_between_two_runs_is_told_as_noise(open_page: OpenPage) -> None:
    a, b = told("noise"), told("noise", after=[1.0] * 12 + [0.0] * 8)
    page = open_page(f"/?compare={a.id},{b.id}")
    expect(page.get_by_text(re.compile("no difference between A and B can be told from chance"))).to_be_visible()
    assert "better" not in page.locator("#ts-compare .ts-lead").inner_text()


def test_runs_are_deleted_after_a_question_and_no_other(open_page: OpenPage) -> None:
    for name in ("one", "two", "three"):
        told("stopped", name)
    page = open_page("/?runs")
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.get_by_label("Select one").check()
    page.get_by_label("Select three").check()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(links(page)).to_have_count(3)
    assert asked == ["Delete these 2 runs, with results and all files? They can't be brought back."]
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(links(page)).to_have_text(["two"])
    assert [run.name for run in store.listed()] == ["two"]


def test_name_note_and_tags_are_kept_from_a_runs_page(open_page: OpenPage) -> None:
    run = told("better", "old name")
    page = open_page(f"/?run={run.id}")
    page.get_by_text("Name, note and tags").click()
    page.get_by_label("Name", exact=True).fill("new name")
    page.get_by_label("Note").fill(MARKUP)
    page.get_by_label("Tags").fill("bank, paper, bank")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="new name")).to_be_visible()
    expect(page.locator(".ts-rail-name")).to_have_text("new name")
    known = store.get(run.id)
    assert (known.name, known.note, known.tags) == ("new name", MARKUP, ("bank", "paper"))
    page.reload()
    expect(page.locator(".ts-said-told").get_by_text(MARKUP)).to_be_visible()
    page.get_by_role("link", name="paper").click()
    expect(links(page)).to_have_text(["new name"])
    assert page.title() == "Runs, Tunesmith"


def test_what_can_not_be_saved_is_told_and_what_was_written_stays(open_page: OpenPage) -> None:
    run = told("better", "old name")
    page = open_page(f"/?run={run.id}")
    page.get_by_text("Name, note and tags").click()
    page.get_by_label("Name", exact=True).fill("  ")
    page.get_by_label("Note").fill("kept in the form")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("The name is empty.")).to_be_visible()
    expect(page.get_by_label("Note")).to_have_value("kept in the form")
    assert store.get(run.id).note == ""


def test_settings_saved_as_a_preset_begin_another_run(open_page: OpenPage) -> None:
    run = told("better", settings={"training": {"epochs": 7}})
    page = open_page(f"/?run={run.id}")
    page.get_by_text("Name, note and tags").click()
    page.get_by_label("These settings as a preset").fill("Seven passes")
    page.get_by_role("button", name="Save as a preset").click()
    expect(page.get_by_role("link", name="Start a run with Seven passes")).to_be_visible()
    assert presets.load("local", "Seven passes")["training"]["epochs"] == 7
    page.goto(page.url.split("?")[0] + "?runs")
    page.get_by_role("link", name="Start a run with the preset Seven passes").click()
    expect(page.get_by_text("Settings of preset Seven passes.")).to_be_visible()


def test_single_keys_go_about_and_can_be_switched_off(open_page: OpenPage) -> None:
    told("better", "one"), told("better", "two")
    page = open_page("/")
    expect(page.locator(".ts-rail-item")).to_have_count(2)
    page.keyboard.press("r")
    expect(page).to_have_url(re.compile(r"\?runs$"))
    expect(links(page)).to_have_count(2)
    page.keyboard.press("j")
    expect(links(page).nth(0)).to_be_focused()
    page.keyboard.press("j")
    expect(links(page).nth(1)).to_be_focused()
    page.keyboard.press("k")
    expect(links(page).nth(0)).to_be_focused()
    page.keyboard.press("/")
    search = page.get_by_label("Search")
    expect(search).to_be_focused()
    page.keyboard.type("nr?j")
    expect(search).to_have_value("nr?j")
    search.blur()
    page.keyboard.press("?")
    page.get_by_label("Use these keys in this browser").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("n")
    page.wait_for_timeout(300)
    expect(page).to_have_url(re.compile("runs"))
    page.get_by_role("button", name="Keyboard shortcuts").click()
    page.get_by_label("Use these keys in this browser").check()
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page).to_have_url(re.compile(r"\?$"))


NOTIFICATIONS = """
window.notified = [];
window.Notification = class { constructor(text, options) { window.notified.push(text); } };
Notification.permission = 'default';
Notification.requestPermission = async () => (Notification.permission = 'granted');
"""


def working(name: str) -> store.Run:
    """A run that is at work as far as the index knows."""
    run = told("stopped", name)
    write_json(run.folder / "supervisor.json", process.identity(os.getpid()))  # or the server settles its end
    with store.index() as rows:
        rows.execute("UPDATE runs SET state = 'running' WHERE id = ?", (run.id,))
    return store.get(run.id)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["on its page", "on another page"])
def test_whoever_asked_is_told_when_a_run_ends(open_page: OpenPage, elsewhere: bool) -> None:
    run = working("my run")
    page = open_page()
    page.context.add_init_script(NOTIFICATIONS)
    page.goto(page.url + f"?run={run.id}")
    page.get_by_role("button", name="Tell me when it ends").click()
    expect(page.get_by_text("You will get a notification, while a tab of this page is open.")).to_be_visible()
    if elsewhere:
        page.goto(page.url.split("?")[0] + "?runs")
        page.evaluate("Notification.permission = 'granted'")
    with store.index() as rows:
        rows.execute("UPDATE runs SET state = 'failed' WHERE id = ?", (run.id,))
    page.wait_for_function("window.notified.length", timeout=PATIENCE_MS)
    assert page.evaluate("window.notified") == ["Failed: my run"]
    assert json.loads(page.evaluate("localStorage.getItem('ts-tell')")) == []
    if not elsewhere:
        expect(page.get_by_role("button", name="Tell me when it ends")).to_have_count(0)


def test_nobody_is_asked_for_notifications_before_a_click(open_page: OpenPage) -> None:
    run = working("my run")
    page = open_page()
    page.context.add_init_script(NOTIFICATIONS.replace("'granted')", "'denied')"))
    page.goto(page.url + f"?run={run.id}")
    button = page.get_by_role("button", name="Tell me when it ends")
    expect(button).to_have_attribute("aria-pressed", "false")
    assert page.evaluate("Notification.permission") == "default"
    button.click()
    expect(page.get_by_text("The title of this tab will say so")).to_be_visible()
    with store.index() as rows:
        rows.execute("UPDATE runs SET state = 'finished' WHERE id = ?", (run.id,))
    page.wait_for_function("document.title === 'Finished: my run'", timeout=PATIENCE_MS)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_everybody_can_use_these_views(open_page: OpenPage, size: tuple[int, int], dark: bool) -> None:
    a = told("better", "a rather long name of a run that somebody gave it without thinking of telephones")
    store.annotate(a, note="A note.", tags=["bank", "paper"])
    b = told("overfitted")
    presets.save("local", "Quick", b.spec())
    page = open_page("/?runs", size=size, dark=dark)
    expect(links(page)).to_have_count(2)
    assert grave(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.goto(page.url.split("?")[0] + f"?compare={a.id},{b.id}")
    expect(page.get_by_role("heading", name="Rows that differ")).to_be_visible()
    assert grave(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.goto(page.url.split("?")[0] + f"?run={a.id}")
    page.get_by_text("Name, note and tags").click()
    assert grave(page) == []
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    assert grave(page) == []
