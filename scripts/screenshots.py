"""Makes the pictures of docs/images from a page that runs: `python scripts/screenshots.py URL`.

The page should have a finished run of the sample. Needs Playwright and Chromium.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.browser.server import launch

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
VARIANTS = {
    "": ((1280, 860), "light"),
    "-dark": ((1280, 860), "dark"),
    "-phone": ((390, 844), "light"),
    "-phone-dark": ((390, 844), "dark"),
}
MILLISECONDS_TO_SETTLE = 2500


def main(url: str) -> None:
    with urllib.request.urlopen(f"{url}/tunesmith/runs") as answer:
        runs = [run["id"] for run in json.load(answer)]
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for suffix, (size, scheme) in VARIANTS.items():
            picture(browser, f"{url}/", IMAGES / f"new{suffix}.png", size, scheme)
            if runs:
                picture(browser, f"{url}/?run={runs[0]}", IMAGES / f"page{suffix}.png", size, scheme)
        browser.close()


def picture(browser: Browser, url: str, path: Path, size: tuple[int, int], scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_timeout(MILLISECONDS_TO_SETTLE)
    page.screenshot(path=path)
    context.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
