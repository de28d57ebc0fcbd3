"""A plan of three stages is put together by clicks, started at once, and seen through to its end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from engine.runs import chains
from tests.browser.conftest import OpenPage
from tests.browser.test_accessibility import grave
from tests.engine.test_text import document

SLOW = 240_000
"""Milliseconds: four workers load torch one after the other, on two busy cores."""
ADD = "Add a stage after this one"


def given(page: Page, file: Path, kind: str) -> None:
    """Step 1: a file is dropped and read."""
    page.locator("input[type=file]").first.set_input_files(file)
    expect(page.locator(".ts-found")).to_contain_text(kind)
    page.get_by_role("button", name="Next: model and method").click()


def planned(page: Page, begins: str = "") -> None:
    """The plan of what stands in the form is shown, and can be started."""
    page.get_by_label("Passes").fill("1")
    page.get_by_label("Passes").press("Tab")
    page.get_by_role("button", name="Next: check the plan").click()
    expect(page.get_by_role("button", name=re.compile("^Start (training|all)"))).to_be_enabled(timeout=SLOW)
    if begins:
        expect(page.get_by_text(begins)).to_be_visible()


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    path = tmp_path / "chats.csv"
    rows = [f"What is {number}?,number {number}" for number in range(60)]
    path.write_text("question,answer\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.timeout(900)
def test_three_stages_are_planned_by_clicks_and_run_to_their_end(
    open_page: OpenPage, tiny: Path, chats: Path, tmp_path: Path
) -> None:
    terms = tmp_path / "terms.md"
    terms.write_text(document(40), encoding="utf-8")
    page = open_page()
    given(page, terms, "plain texts")
    page.get_by_label("Or name a model").fill(str(tiny))
    page.get_by_label("Or name a model").press("Enter")
    expect(page.get_by_role("radio", name=re.compile("^Text"))).to_be_checked()
    planned(page)
    page.get_by_role("button", name=ADD).click()

    cards = page.locator(".ts-stage:visible")
    expect(cards).to_have_text([re.compile("Stage 1.*terms.md.*Ready", re.DOTALL), re.compile("Stage 2")])
    given(page, chats, "60 rows")
    expect(page.get_by_label("Or name a model")).to_have_value("stage:1")
    expect(page.get_by_role("radio", name="What stage 1 leaves")).to_be_checked()
    expect(page.get_by_role("radio", name=re.compile("^Chat"))).to_be_checked()
    planned(page, "It begins with what stage 1 leaves.")
    page.get_by_role("button", name=ADD).click()

    page.get_by_role("button", name="Use the rows of stage 2 again").click()
    expect(page.locator(".ts-found")).to_contain_text("60 rows")
    page.get_by_role("button", name="Next: model and method").click()
    expect(page.get_by_label("Or name a model")).to_have_value("stage:2")
    page.get_by_text("From another model").click()
    page.get_by_text("Distill (learn from a larger model)", exact=True).click()
    expect(page.get_by_role("radio", name=re.compile(r"^Distill \("))).to_be_checked()
    planned(page, "It begins with what stage 2 leaves.")
    assert grave(page) == []
    page.get_by_label("Find out whether the first stage helps").check()
    page.get_by_role("button", name="Start all 3 stages").click()
    page.wait_for_url(re.compile(r"\?run="), timeout=SLOW)

    expect(cards).to_have_count(4)
    expect(cards.first).to_contain_text(re.compile("At work|In the queue"))
    expect(cards.nth(2)).to_contain_text("Waits for stage")
    page.get_by_role("link", name="Stage 3", exact=True).click()
    expect(page.locator("#ts-run [role=status]").first).to_have_text(re.compile("^Not started. It waits for stage"))
    expect(page.get_by_role("button", name="Start", exact=True)).to_have_count(0)
    expect(page.locator("#ts-chain [role=status]")).to_have_text("All 4 runs have finished.", timeout=SLOW)
    for number in range(4):
        expect(cards.nth(number)).to_contain_text("→")
    expect(page.get_by_role("heading", name=re.compile("stage 1", re.IGNORECASE))).to_be_visible()
    expect(page.get_by_text("Both learned from the same rows, split in the same way.")).to_be_visible()
    assert grave(page) == []
    page.get_by_role("link", name="Both side by side").click()
    expect(page.get_by_role("heading", name="What came of them")).to_be_visible()


@pytest.mark.timeout(600)
def test_a_stage_is_taken_back_and_one_run_alone_is_as_it_was(open_page: OpenPage, tiny: Path, chats: Path) -> None:
    page = open_page()
    given(page, chats, "60 rows")
    page.get_by_label("Or name a model").fill(str(tiny))
    page.get_by_label("Or name a model").press("Enter")
    planned(page)
    expect(page.get_by_label("Find out whether the first stage helps")).to_be_hidden()
    page.get_by_role("button", name=ADD).click()
    expect(page.locator(".ts-stage:visible")).to_have_count(2)
    page.get_by_role("button", name="Back to stage 1").click()
    expect(page.locator(".ts-stage")).to_have_count(0)
    expect(page.locator(".ts-found")).to_contain_text("60 rows")
    page.get_by_role("button", name="Next: model and method").click()
    expect(page.get_by_label("Or name a model")).to_have_value(str(tiny))
    expect(page.get_by_label("Passes")).to_have_value("1")
    page.get_by_role("button", name="Next: check the plan").click()
    expect(page.get_by_role("button", name="Start training")).to_be_enabled(timeout=SLOW)
    assert chains.listed() == []
