"""A file with marked words on the page: from the dropped file to the plan."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_accessibility import grave
from tests.fakes import models
from ui import example_files

SLOW = 240_000
"""Milliseconds: a worker loads torch, on two busy cores."""


def test_a_dropped_file_of_marked_words_comes_to_a_plan(open_page: OpenPage, tmp_path: Path) -> None:
    file = tmp_path / "marked-words.jsonl"
    file.write_bytes(example_files.FILES[file.name].content)
    page = open_page(size=PHONE, dark=True)
    page.locator("input[type=file]").first.set_input_files(file)
    expect(page.locator(".ts-found")).to_contain_text("15 rows: texts with marked words")
    expect(page.locator("mark.ts-marked").first).to_have_text("Anna Brandt person")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert grave(page) == []
    page.get_by_role("button", name="Next: model and method").click()
    model = page.get_by_label("Or name a model")
    model.fill(str(models.tiny_encoder(tmp_path / "encoder")))
    model.press("Enter")
    expect(page.get_by_text("so it learns to mark words")).to_be_visible()
    page.get_by_role("button", name="Next: check the plan").click()
    expect(page.get_by_text(re.compile("Words are marked in each text"))).not_to_have_count(0, timeout=SLOW)
