"""The Data step as a person uses it: a messy file is looked at, mended, gone back on, and cut at another length."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.server import PageServer
from tests.browser.test_accessibility import grave
from tests.engine.data import hub_server
from tests.fakes import models

SLOW = 240_000
"""Milliseconds: the speed of the machine is measured once, and it may be busy."""
MESSY = Path(__file__).parents[1] / "data" / "messy" / "banking_dups_conflicts_label_noise.csv"
MOST_INPUTS = 12


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """Conversations of very different lengths."""
    path = tmp_path / "talks.jsonl"
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Question {n} " + "why " * n},
                {"role": "assistant", "content": "So."},
            ]
        }
        for n in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def give(page: Page, file: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(file)
    expect(page.locator(".ts-found")).to_be_visible(timeout=SLOW)


def finding(page: Page, title: str) -> Locator:
    return page.locator(".ts-finding").filter(has_text=title)


def remedy(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=re.compile(name))


def inputs_in_sight(page: Page) -> int:
    seen = "input:not([type=file]), textarea, select, [role=slider]"
    return sum(1 for item in page.locator(seen).all() if item.is_visible())


def files(server: PageServer) -> set[str]:
    return {path.name for path in (server.home / "files").rglob("*") if path.is_file()}


def test_a_messy_file_is_mended_step_by_step_and_never_changed(browser_page: Page, page_server: PageServer) -> None:
    page = browser_page
    give(page, MESSY)
    expect(page.get_by_role("heading", name="560 rows: texts with labels")).to_be_visible()
    assert inputs_in_sight(page) <= MOST_INPUTS
    (given,) = (page_server.home / "files").rglob("*.csv")

    repeats = finding(page, "Rows that repeat an earlier one")
    repeats.locator("summary").click()
    expect(repeats.locator(".ts-row")).to_have_count(20)
    repeats.get_by_role("button", name="Show more of 122 rows").click()
    expect(repeats.locator(".ts-row")).to_have_count(40)

    remedy(page, "Drop the repeats").click()
    expect(page.get_by_text("Done: 122 repeats dropped.")).to_be_focused(timeout=SLOW)
    expect(page.get_by_role("heading", name="438 rows: texts with labels")).to_be_visible()
    remedy(page, "Leave these rows out").click()
    expect(page.get_by_text("Done: 3 rows with problems left out.")).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("heading", name="435 rows: texts with labels")).to_be_visible()
    history = page.get_by_role("list", name="What was done").locator("li")
    expect(history).to_have_text(
        ["banking_dups_conflicts_label_noise.csv", "122 repeats dropped", "3 rows with problems left out"]
    )

    page.get_by_role("button", name="Undo the last step").click()
    expect(page.get_by_text("Undone. This is the version before.")).to_be_visible(timeout=SLOW)
    expect(history).to_have_text(["banking_dups_conflicts_label_noise.csv", "122 repeats dropped"])
    assert given.read_bytes() == MESSY.read_bytes()
    assert len([name for name in files(page_server) if name.endswith(".jsonl")]) == 2


def test_another_column_shows_at_once_what_becomes_of_the_first_row(browser_page: Page) -> None:
    give(browser_page, MESSY)
    example = browser_page.locator(".ts-example")
    expect(example.locator("mark")).to_contain_text("BALANCE_NOT_UPDATED_AFTER_BANK_TRANSFER")
    labels = browser_page.get_by_label("Column with labels")
    labels.click()
    labels.fill("text")
    labels.press("Enter")
    expect(example.locator("mark")).to_contain_text("I added money through a bank transfer", timeout=SLOW)


def test_the_line_at_which_rows_are_cut_is_moved_by_keyboard(browser_page: Page, talks: Path, tmp_path: Path) -> None:
    page = browser_page
    give(page, talks)
    page.get_by_role("button", name="Next: model and method").click()
    model = page.get_by_label("Or name a model")
    model.fill(str(models.tiny_decoder(tmp_path / "tiny")))
    model.press("Enter")
    page.get_by_role("button", name="Next: check the plan").click()
    line = page.get_by_role("slider", name="Where rows are cut, in tokens")
    expect(line).to_have_attribute("aria-valuetext", "Longest row 1,024 tokens: no row is cut.", timeout=SLOW)
    assert grave(page) == []
    line.focus()
    line.press("Home")
    expect(line).to_have_attribute(
        "aria-valuetext", re.compile(r"Longest row 8 tokens: \d+ of 32 rows are cut; \d+ of them lose")
    )
    for _ in range(5):
        line.press("PageUp")
    line.press("Enter")
    told = line.get_attribute("aria-valuetext") or ""
    chosen = int((re.match(r"Longest row ([\d,]+)", told) or [0, "0"])[1].replace(",", ""))
    assert 8 < chosen < 1024
    cut = re.search(r"([\d,]+) of 32 rows", told)
    assert cut is not None
    # The fresh plan counts as the picture did, and the line is where it was put, with the keyboard still on it.
    expect(page.locator(".ts-lengths[data-drawn]:not([aria-busy]) [role=slider]")).to_have_attribute(
        "aria-valuetext", told, timeout=SLOW
    )
    expect(line).to_be_focused()
    page.get_by_role("button", name="Model and method").or_(page.get_by_text("Model and method")).first.click()
    expect(page.get_by_role("spinbutton", name="Longest row")).to_have_value(str(chosen))


@pytest.mark.timeout(600)
def test_two_data_sets_are_learned_as_two_tasks(browser_page: Page, page_server: PageServer, tiny: Path) -> None:
    page = browser_page
    ready = page.get_by_role("region", name="Data sets of this run")

    def paste(name: str, labels: str) -> None:
        page.get_by_role("tab", name="Paste").click()
        rows = "".join(f"{name} {number},{labels[number % 2]}\n" for number in range(40))
        page.get_by_role("textbox", name="Rows").fill(f"text,label\n{rows}")
        page.get_by_role("button", name="Use these rows").click()
        expect(page.locator(".ts-found")).to_contain_text("40 rows: texts with labels", timeout=SLOW)
        expect(page.locator(".ts-example")).to_contain_text(f"{name} 0")

    paste("Parcel", "ab")
    page.get_by_role("button", name="Add another data set").click()
    expect(ready.locator(".ts-set")).to_have_count(1)
    expect(ready.get_by_role("heading")).to_be_focused()
    expect(page.locator(".ts-found")).to_have_count(0)
    expect(ready.get_by_text("Give the next one below, or go on without.")).to_be_visible()
    paste("Refund", "cd")
    page.get_by_role("button", name="Add another data set").click()
    expect(ready.locator(".ts-set")).to_have_count(2)
    assert grave(page) == []
    ready.get_by_role("button", name=re.compile("^Open")).nth(1).click()
    expect(page.locator(".ts-example")).to_contain_text("Refund 0", timeout=SLOW)
    expect(ready.locator(".ts-set").nth(1)).to_contain_text("open below")

    page.get_by_role("button", name="Next: model and method").click()
    model = page.get_by_label("Or name a model")
    model.fill(str(tiny))
    model.press("Enter")
    folded = page.locator("details.ts-more-cards", has_text="Multitask prompt tuning")
    if folded.get_attribute("open") is None:
        folded.locator("summary").click()
    page.get_by_role("radio", name="Multitask prompt tuning").check()
    expect(page.get_by_text(re.compile("needs at least 2 data sets"))).to_have_count(0)
    mixed, weight = page.locator(".ts-mix-sets li"), page.get_by_role("slider", name=re.compile("^Weight of")).nth(1)
    expect(mixed.nth(1)).to_contain_text("32 rows a pass")
    weight.press("ArrowRight")
    expect(mixed.nth(1)).to_contain_text("43 rows a pass", timeout=SLOW)
    expect(weight).to_be_focused()
    weight.press("ArrowRight")
    weight.press("ArrowRight")
    expect(mixed.nth(1)).to_contain_text("53 rows a pass", timeout=SLOW)
    expect(weight).to_have_attribute("aria-valuetext", "5 times")
    assert grave(page) == []
    page.get_by_label("Passes").fill("1")
    page.get_by_role("button", name="Next: check the plan").click()
    expect(page.get_by_text(re.compile(r"64 rows, 1 pass, [\d,]+ steps"))).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("heading", name="What a pass takes of each data set")).to_be_visible()
    expect(page.locator(".ts-mix-sets li", has_text="tokens").nth(1)).to_contain_text("53 rows a pass")
    expect(page.get_by_role("region", name=re.compile("^Row "))).to_have_count(2, timeout=SLOW)
    page.get_by_role("button", name="Start training").click()
    expect(page.locator("#ts-run [role=status]").first).to_have_text(re.compile("^Finished on"), timeout=SLOW)

    page.get_by_label("Task").click()
    page.get_by_role("option", name=re.compile("^2: ")).click()
    page.get_by_role("textbox", name="Message").fill("Refund 3")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".bot.message").nth(1)).to_be_visible(timeout=SLOW)


def test_the_search_says_at_once_that_there_is_no_hub(browser_page: Page) -> None:
    browser_page.get_by_role("tab", name="Hub").click()
    browser_page.get_by_label("Data set of the Hub").fill("customer support")
    expect(browser_page.get_by_text("The Hub can't be reached from here right now.")).to_be_visible()
    assert inputs_in_sight(browser_page) <= MOST_INPUTS


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Hub on this machine, for a server that is started after it."""
    server = hub_server.started()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    yield
    server.shutdown()
    server.server_close()


def test_a_data_set_of_the_hub_is_found_looked_at_and_read(hub: None, browser_page: Page) -> None:
    page = browser_page
    page.get_by_role("tab", name="Hub").click()
    page.get_by_label("Data set of the Hub").fill("ann")
    first = page.get_by_role("button", name="ann/csv")
    expect(first).to_contain_text("1,200 downloads a month, 10K to 100K rows")
    page.get_by_role("button", name="ann/long").click()
    expect(page.get_by_label("Data set of the Hub")).to_have_value("ann/long")
    expect(page.get_by_role("heading", name="The first rows of train.csv")).to_be_visible()
    expect(page.get_by_text("row 4", exact=True)).to_be_visible()
    page.get_by_role("button", name="Read all of it").click()
    expect(page.get_by_role("heading", name="60,000 rows: texts with labels")).to_be_visible(timeout=SLOW)


def test_a_finding_is_opened_and_mended_by_keyboard_on_a_phone(open_page: OpenPage) -> None:
    page = open_page(size=PHONE)
    give(page, MESSY)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    summary = finding(page, "Labels with fewer than 5 rows").locator("summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(finding(page, "Labels with fewer than 5 rows").locator(".ts-row").first).to_be_visible()
    assert grave(page) == []
    page.keyboard.press("Tab")
    while not page.evaluate("document.activeElement.matches('[data-remedy]')"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("Done: .*dropped"))).to_be_focused(timeout=SLOW)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("name", ["Texts with labels (CSV)", "Questions with answers (CSV)", "Conversations (JSONL)"])
def test_an_example_file_can_be_taken_and_given_back(browser_page: Page, name: str, tmp_path: Path) -> None:
    with browser_page.expect_download() as download:
        browser_page.get_by_role("link", name=name).click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    give(browser_page, file)
    expect(browser_page.get_by_text("Nothing to mend")).to_be_visible()
