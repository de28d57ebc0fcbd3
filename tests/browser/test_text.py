"""A document is read on the page: from the dropped file to bits per byte before and after."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE, OpenPage
from tests.browser.test_accessibility import grave
from tests.engine.test_text import document

SLOW = 240_000
"""Milliseconds: a worker loads torch, on two busy cores."""


@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desktop", "phone"])
def test_a_document_is_read_and_the_result_says_how_well(
    open_page: OpenPage, tiny: Path, tmp_path: Path, size: tuple[int, int], dark: bool
) -> None:
    file = tmp_path / "terms.md"
    file.write_text(document(90), encoding="utf-8")
    page = open_page(size=size, dark=dark)
    page.locator("input[type=file]").first.set_input_files(file)
    expect(page.locator(".ts-found")).to_contain_text("plain texts")
    expect(page.locator(".ts-found")).to_contain_text(re.compile(r"\d+ to learn from"))
    page.get_by_role("button", name="Next: model and method").click()
    model = page.get_by_label("Or name a model")
    model.fill(str(tiny))
    model.press("Enter")
    expect(page.get_by_role("radio", name=re.compile("^Text"))).to_be_checked()
    expect(page.get_by_text("Recommended for your data")).to_be_visible()
    expect(page.get_by_label("General text mixed in")).to_be_visible()
    page.get_by_label("Passes").fill("1")
    page.get_by_role("button", name="Next: check the plan").click()
    expect(page.get_by_text(re.compile(r"texts to learn from are read in [\d,]+ parts"))).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("region", name=re.compile("^Row "))).not_to_have_count(0, timeout=SLOW)
    assert grave(page) == []
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(re.compile(r"\?run="), timeout=SLOW)
    expect(page.locator("#ts-run [role=status]").first).to_have_text(re.compile("^Finished on"), timeout=SLOW)
    expect(page.get_by_role("heading", name="Bits per byte", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile("Bits per byte of general text went from"))).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert grave(page) == []
