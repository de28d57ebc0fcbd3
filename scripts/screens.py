"""Every screen of the page, and the way there: journeys of a browser that name each screen when it can be seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from playwright.sync_api import Page, expect

from scripts import stage as stages
from scripts.stage import Stage

SLOW_MS = 180_000
"""A model is loaded, or the machine's speed is measured once."""
WALK = Callable[[Page, Stage], Iterator[str]]
IN_SIGHT = {"data-lengths", "result-rows", "talk", "push", "rail", "shortcuts"}
"""Screens of which only the part that was scrolled to is taken. Of the others the whole page is."""
FIRST = {"data-empty", "run", "result", "compare"}
"""Of these the first screen is taken, too, as NAME-first."""


@dataclass(frozen=True)
class Journey:
    names: tuple[str, ...]
    walk: WALK


def new_run(page: Page, stage: Stage) -> Iterator[str]:
    page.goto(stage.own.url)
    expect(page.get_by_role("button", name="Run the sample")).to_be_visible()
    expect(page.locator(".ts-rail-item").first).to_be_attached()
    yield "data-empty"
    _give(page, stage.messy)
    yield "data-found"
    finding = page.locator(".ts-finding").filter(has_text="Rows that repeat an earlier one")
    finding.locator("summary").click()
    expect(finding.locator(".ts-row").first).to_be_visible()
    yield "data-finding-open"
    page.get_by_role("button", name=re.compile("Leave these rows out")).first.click()
    expect(page.get_by_text(re.compile("^Done: .* left out"))).to_be_visible()
    yield "data-mended"
    page.get_by_role("button", name="Next: model and method").click()
    expect(page.get_by_role("radio", name=re.compile("SmolLM2-135M-Instruct"))).to_be_visible()
    expect(page.get_by_role("radio", name=re.compile("^LoRA"))).to_be_attached()
    yield "model"
    for fold in page.locator(".ts-main details:not([open]) > summary").all():
        if fold.is_visible():
            fold.click()
    page.get_by_role("button", name="More settings").locator("visible=true").click()
    expect(page.get_by_label("Warm-up share")).to_be_visible()
    yield "method-more"
    page.get_by_role("button", name="Next: check the plan").click()
    _planned(page)
    yield "plan"


def lengths(page: Page, stage: Stage) -> Iterator[str]:
    page.goto(stage.own.url)
    _give(page, stage.talks)
    page.get_by_role("button", name="Next: model and method").click()
    expect(page.get_by_role("radio", name=re.compile("SmolLM2-135M-Instruct"))).to_be_visible()
    page.get_by_role("button", name="Next: check the plan").click()
    _planned(page)
    line = page.get_by_role("slider", name="Where rows are cut, in tokens")
    line.focus()
    for _ in range(6):
        line.press("PageDown")
    line.press("Enter")
    expect(page.locator(".ts-lengths[data-drawn]:not([aria-busy])")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".ts-lengths-says")).to_contain_text("are cut")
    _show(page, ".ts-lengths")
    yield "data-lengths"


def result(page: Page, stage: Stage) -> Iterator[str]:
    _open_run(page, stage, stage.sample.id)
    yield "result"
    worse = page.get_by_role("button", name=re.compile(r"^(Worse|Still wrong) [1-9]")).first
    worse.click()
    _show(page, ".ts-tabs")
    yield "result-rows"
    message = page.get_by_label("Message")
    message.fill("I was charged a fee when I took out cash, why?")
    page.get_by_role("button", name="Ask").click()
    answers = page.locator(".ts-talk .bot.message")
    expect(answers.nth(1)).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".ts-talk .pending, .ts-talk .generating")).to_have_count(0, timeout=SLOW_MS)
    _settled(page, ".ts-talk")
    _show(page, ".ts-talk")
    yield "talk"
    page.get_by_role("button", name="Share on the Hub").click()
    expect(page.get_by_label("Repository")).to_be_visible()
    page.get_by_text("Files that are sent").click()
    _show(page, "#ts-push")
    yield "push"


def noise(page: Page, stage: Stage) -> Iterator[str]:
    _open_run(page, stage, _named(stages.NAMES["noise"]))
    yield "result-noise"


def failed(page: Page, stage: Stage) -> Iterator[str]:
    _open_run(page, stage, _named(stages.NAMES["failed"]))
    page.get_by_text("Name, note and tags").click()
    yield "failed"


def history(page: Page, stage: Stage) -> Iterator[str]:
    page.goto(f"{stage.own.url}/?runs")
    for name in (stage.sample.name, stage.other.name):
        page.get_by_label(f"Select {name}", exact=True).check()
    yield "runs"
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="What came of them")).to_be_visible()
    yield "compare"
    page.goto(f"{stage.own.url}/?settings")
    expect(page.get_by_role("heading", name="What is stored")).to_be_visible()
    yield "settings"
    page.goto(f"{stage.own.url}/?run=20260101-000000-abcdefgh")
    expect(page.get_by_role("heading", name=re.compile("There is no run"))).to_be_visible()
    yield "empty-run-missing"
    toggle = page.get_by_role("button", name="Runs", exact=True)
    if toggle.is_visible():
        toggle.click()
    expect(page.locator(".ts-rail-item").first).to_be_visible()
    yield "rail"
    page.keyboard.press("?")
    expect(page.get_by_label("Use these keys in this browser")).to_be_visible()
    yield "shortcuts"


def shared(page: Page, stage: Stage) -> Iterator[str]:
    page.goto(f"{stage.shared.url}/?settings")
    expect(page.get_by_label("Password")).to_be_visible()
    yield "share-password"
    page.get_by_label("Password").fill(stages.PASSWORD)
    page.get_by_role("button", name="Open the page").click()
    expect(page.get_by_role("heading", name="What a visitor may use")).to_be_visible()
    link = page.evaluate("fetch('tunesmith/settings').then((answer) => answer.json())")["recovery"]
    stages.visitors_run(stage, link.partition("=")[2].partition(".")[0])
    page.reload()
    expect(page.get_by_role("button", name="Delete all my runs and files")).to_be_visible()
    yield "share-settings"
    page.context.clear_cookies()
    page.goto(stage.host_link)
    page.goto(f"{stage.shared.url}/?settings")
    expect(page.get_by_role("heading", name="Visitors")).to_be_visible()
    yield "share-host"


JOURNEYS = (
    Journey(("data-empty", "data-found", "data-finding-open", "data-mended", "model", "method-more", "plan"), new_run),
    Journey(("data-lengths",), lengths),
    Journey(("result", "result-rows", "talk", "push"), result),
    Journey(("result-noise",), noise),
    Journey(("failed",), failed),
    Journey(("runs", "compare", "settings", "empty-run-missing", "rail", "shortcuts"), history),
    Journey(("share-password", "share-settings", "share-host"), shared),
)
LIVE = "run"
"""The run at work. It is taken in all variants at once, since it moves on."""


def watch_live(page: Page, stage: Stage, run: str) -> None:
    page.goto(f"{stage.own.url}/?run={run}")


def wait_for_live(page: Page) -> None:
    """Until the curve has some steps and checks, which is some 30 steps on."""
    steps = re.compile(r"Step [3-9]\d of")
    expect(page.locator(".ts-log pre")).to_contain_text(steps, timeout=SLOW_MS)


def _give(page: Page, file: object) -> None:
    page.locator("input[type=file]").first.set_input_files(str(file))
    expect(page.locator(".ts-found")).to_be_visible(timeout=SLOW_MS)


def _planned(page: Page) -> None:
    expect(page.get_by_text(re.compile(r"[\d,]+ rows, [\d.]+ pass(es)?, [\d,]+ steps"))).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("mark:visible").first).to_be_visible(timeout=SLOW_MS)


def _open_run(page: Page, stage: Stage, run: str) -> None:
    page.goto(f"{stage.own.url}/?run={run}")
    expect(page.get_by_role("heading", name="What to try next")).to_be_visible(timeout=SLOW_MS)


def _named(name: str) -> str:
    """The id of the run of this name."""
    from engine.runs import store

    return next(run.id for run in store.listed() if run.name == name)


def _show(page: Page, place: str) -> None:
    """Scroll so that a part of the page stands at the top, with a little room above it."""
    page.locator(place).first.evaluate(
        "(node) => window.scrollTo({top: node.getBoundingClientRect().top + window.scrollY - 24, behavior: 'instant'})"
    )


def _settled(page: Page, place: str) -> None:
    """Until a part of the page has said the same for a second."""
    page.wait_for_function(
        """(place) => {
          const text = document.querySelector(place).innerText, now = performance.now();
          if (window.tsText !== text) [window.tsText, window.tsSince] = [text, now];
          return now - window.tsSince > 1000;
        }""",
        arg=place,
    )
