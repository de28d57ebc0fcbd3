"""Fixtures of the browser tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from tests.browser.server import PATIENCE_MS, PageServer, launch
from tests.fakes import models

DESKTOP = (1280, 800)
PHONE = (390, 844)
INTENTS = {"card arrival": "Where is my card number {}?", "exchange rate": "Which rate do you use for {} euros?"}
expect.set_options(timeout=PATIENCE_MS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder is a browser test; before -m chooses."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("browser")


@pytest.fixture
def page_server(tmp_path: Path) -> Iterator[PageServer]:
    server = PageServer(tmp_path / "home")
    server.quick = True
    server.home.mkdir(exist_ok=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Eighty texts with one of two labels, as a file."""
    path = tmp_path / "my rows.csv"
    lines = [f"{text.format(number)},{label}" for number in range(40) for label, text in INTENTS.items()]
    path.write_text("message,intent\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tiny(page_server: PageServer) -> Path:
    """A model in the home's own folder, where the page finds it."""
    return models.tiny_decoder(page_server.home / "models" / "tiny")


# Of the package, not of the session: while Playwright is open its event loop counts as running in this thread,
# and tests of other folders could not run their own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = launch(playwright)
        yield opened
        opened.close()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, page_server: PageServer) -> Iterator[OpenPage]:
    """`open_page(path="/", size=DESKTOP, dark=False)` opens a tab with a fresh profile.

    When the test ends it fails if a script on the page broke or the page fetched something from outside.
    """
    contexts: list[Any] = []
    complaints: list[str] = []

    def outside(request: Request) -> None:
        if not request.url.startswith((page_server.url, "data:", "blob:")):
            complaints.append(f"fetched {request.url}")

    def open_one(path: str = "/", size: tuple[int, int] = DESKTOP, dark: bool = False) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            has_touch=size == PHONE,
            accept_downloads=True,
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"script error: {error}"))
        page.on("request", outside)
        page.goto(page_server.url + path)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def browser_page(open_page: OpenPage) -> Page:
    """The page on a desktop."""
    return open_page()


@pytest.fixture
def phone_page(open_page: OpenPage) -> Page:
    return open_page(size=PHONE)
