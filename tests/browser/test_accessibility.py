"""axe-core finds nothing serious or critical on any view, in light and dark, on a desktop and a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE, OpenPage

ROWS = "message,intent\n" + "\n".join(
    f"Where is my card {number}?,card\nWhich rate {number}?,rate" for number in range(40)
)


def grave(page: Page) -> list[str]:
    """What axe-core calls serious or critical, with the element that it means."""
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{item['id']}: {node['target']} {node['html'][:160]}"
        for item in found
        if item["impact"] in ("serious", "critical")
        for node in item["nodes"]
    ]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_new_run_can_be_made_by_everybody(
    open_page: OpenPage, tmp_path: Path, size: tuple[int, int], dark: bool
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text(ROWS, encoding="utf-8")
    page = open_page(size=size, dark=dark)
    expect(page.get_by_role("button", name="Run the sample")).to_be_visible()
    assert grave(page) == []
    page.locator("input[type=file]").first.set_input_files(rows)
    expect(page.get_by_text("80 rows: texts with labels")).to_be_visible()
    assert grave(page) == []
    page.get_by_role("button", name="Next: model and method").click()
    expect(page.get_by_label("Base model")).to_be_visible()
    assert grave(page) == []
