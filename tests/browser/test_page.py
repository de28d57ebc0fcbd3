"""The page as a person uses it, in Chromium, with a real worker and a tiny model."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.server import PageServer

SLOW = 240_000
"""Milliseconds: a worker loads torch, on two busy cores."""


def begin(page: Page, rows: Path, tiny: Path, passes: int) -> str:
    """From a dropped file to a started run, with the clicks of a person; the run's id."""
    page.locator("input[type=file]").first.set_input_files(rows)
    expect(page.get_by_text("80 rows: texts with labels")).to_be_visible()
    page.get_by_role("button", name="Next: model and method").click()
    model = page.get_by_label("Or name a model")
    model.fill(str(tiny))
    model.press("Enter")
    page.get_by_label("Passes").fill(str(passes))
    page.get_by_label("Learning rate").fill("1e-3")
    page.get_by_role("button", name="Next: check the plan").click()
    expect(page.get_by_text(re.compile(r"64 rows, \d+ passes, [\d,]+ steps"))).to_be_visible(timeout=SLOW)
    expect(page.locator("mark:visible").first).to_be_visible()
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(re.compile(r"\?run="), timeout=SLOW)
    return page.url.partition("?run=")[2]


def status(server: PageServer, run: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{server.url}/tunesmith/runs/{run}", timeout=10) as answer:
        return dict(json.load(answer)["summary"])


def at_work(page: Page) -> None:
    """Until the run has told of a step; its curve is in place before there is one."""
    expect(page.locator(".ts-log pre")).to_contain_text(re.compile(r"Step \d"), timeout=SLOW)


def watch_for_jumps(page: Page) -> None:
    """From its next loading on, `window.moved` is the sum of the page's layout shifts (https://web.dev/articles/cls)."""
    page.add_init_script(
        "window.moved = 0; new PerformanceObserver((list) => list.getEntries().forEach((e) => { moved += e.value; }))"
        ".observe({ type: 'layout-shift', buffered: false })"
    )


def test_a_page_at_rest_leaves_the_processor_to_the_runs(browser_page: Page, page_server: PageServer) -> None:
    """Gradio's queue looks a thousand times a second for work, unless it is told not to."""
    expect(browser_page.get_by_role("button", name="Run the sample")).to_be_visible()
    server, taken = psutil.Process(page_server.pid), []
    for _ in range(5):
        before = sum(server.cpu_times()[:2])
        browser_page.wait_for_timeout(2000)
        taken.append((sum(server.cpu_times()[:2]) - before) / 2)
    assert min(taken) < 0.045, f"shares of a core at rest: {taken}"


@pytest.mark.timeout(600)
def test_from_a_dropped_file_to_a_talk_with_the_result(
    browser_page: Page, page_server: PageServer, rows: Path, tiny: Path
) -> None:
    page = browser_page
    run = begin(page, rows, tiny, passes=100)
    at_work(page)
    expect(page.locator(".ts-curve svg")).to_be_visible()
    before = status(page_server, run)["step"]

    watch_for_jumps(page)
    page.reload()
    expect(page.locator(".ts-curve svg")).to_be_visible(timeout=SLOW)
    page_server.kill()
    expect(page.get_by_text("The server does not answer. The run itself goes on")).to_be_visible()
    page_server.start()
    assert status(page_server, run)["step"] >= before

    expect(page.locator("#ts-run [role=status]").first).to_have_text(re.compile("^Finished on"), timeout=SLOW)
    expect(
        page.get_by_role("heading", name=re.compile(r"Exact match (rose|fell) from \d+\.\d % to \d+\.\d %"))
    ).to_be_visible()
    expect(page.get_by_role("heading", name="What became of the held-out rows")).to_be_visible()
    assert page.evaluate("window.moved") < 0.05
    page.get_by_label("Message").fill("Where is my card?")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".bot.message").nth(1)).to_be_visible(timeout=SLOW)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the result").click()
    assert download.value.suggested_filename == f"{run}.zip"


@pytest.mark.timeout(600)
def test_a_run_is_stopped_resumed_and_deleted_on_the_page(
    browser_page: Page, page_server: PageServer, rows: Path, tiny: Path
) -> None:
    page = browser_page
    run = begin(page, rows, tiny, passes=900)
    at_work(page)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("Stopped. Everything up to the last checkpoint is kept")).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".ts-log pre")).to_contain_text("Going on from the checkpoint of step", timeout=SLOW)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Delete")).to_be_visible(timeout=SLOW)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No runs yet.")).to_be_visible(timeout=SLOW)
    assert not (page_server.home / "runs" / run).exists()


def test_a_page_that_shows_no_run_asks_only_for_cards_and_layers(open_page: OpenPage) -> None:
    """What else it asked for could come after a file that was dropped at once, and clear it away."""
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or "") if "/queue/join" in request.url else None)
    page.reload()
    expect(page.get_by_role("button", name="Run the sample")).to_be_visible()
    page.wait_for_timeout(2000)
    assert len(asked) == 2, asked


SLOW_STREAM = """
window.late = 0;
window.fetch = ((plain) => async (asked, options) => {
  const answer = await plain(asked, options);
  if (!String(asked.url ?? asked).includes("/queue/data")) return answer;
  const late = new TransformStream({
    async transform(chunk, out) {
      await new Promise((done) => setTimeout(done, window.late));
      out.enqueue(chunk);
    },
  });
  return new Response(answer.body.pipeThrough(late), { status: answer.status, headers: answer.headers });
})(window.fetch.bind(window));
"""


def test_an_answer_comes_though_the_stream_of_answers_was_just_closing(open_page: OpenPage, rows: Path) -> None:
    """The word that the server closes the stream takes its time; a call is made meanwhile."""
    page = open_page()
    page.add_init_script(SLOW_STREAM)
    page.reload()
    page.get_by_role("tab", name="Paste").click()
    page.wait_for_timeout(3000)  # what the page asks for when it opens
    page.evaluate("window.late = 3000")
    page.get_by_role("button", name="Use these rows").click()
    page.wait_for_timeout(1000)  # the server has answered and closed; the page doesn't know yet
    page.locator("input[type=file]").first.set_input_files(rows)
    page.wait_for_timeout(1500)  # the file is there and its call is made; each further word would be as late
    page.evaluate("window.late = 0")
    expect(page.get_by_text("80 rows: texts with labels")).to_be_visible()


def test_a_file_with_problems_says_which_rows_and_what_to_do(browser_page: Page, tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_text("text,label\nhello,greeting\nbye\nhi,greeting\n", encoding="utf-8")
    browser_page.locator("input[type=file]").first.set_input_files(path)
    expect(browser_page.get_by_text("line 3")).to_be_visible()


def test_a_markup_in_the_data_stays_text(browser_page: Page, tmp_path: Path) -> None:
    path = tmp_path / "markup.csv"
    rows = "\n".join(f"<img src=x onerror=document.title='hacked'> {number},yes" for number in range(20))
    path.write_text(f"text,label\n{rows}\n", encoding="utf-8")
    browser_page.locator("input[type=file]").first.set_input_files(path)
    expect(browser_page.get_by_text("<img src=x onerror").first).to_be_visible()
    assert browser_page.title() == "Tunesmith"


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_the_page_without_scrolling_sideways(open_page: OpenPage, dark: bool) -> None:
    page = open_page(size=PHONE, dark=dark)
    expect(page.get_by_role("button", name="Run the sample")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


def test_a_newcomer_meets_at_most_twelve_inputs_in_each_step(browser_page: Page, rows: Path) -> None:
    page = browser_page
    visible = "[...document.querySelectorAll('input:not([type=radio]), textarea, fieldset')].filter(e => e.checkVisibility()).length"
    assert page.evaluate(visible) <= 12
    page.locator("input[type=file]").first.set_input_files(rows)
    expect(page.get_by_text("80 rows: texts with labels")).to_be_visible()
    page.get_by_role("button", name="Next: model and method").click()
    expect(page.get_by_label("Or name a model")).to_be_visible()
    assert page.evaluate(visible) <= 12


def test_a_run_that_is_not_there_is_told_in_words(open_page: OpenPage) -> None:
    page = open_page("/?run=20260101-000000-abcdefgh")
    expect(page.get_by_role("heading", name=re.compile("There is no run"))).to_be_visible()
