"""A run's end on the page: the verdict, its rows, its advice, its curve, and ways to take it elsewhere."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Page, expect

from engine.runs import store
from engine.specs.spec import RunSpec
from tests.browser.conftest import PHONE, OpenPage
from tests.browser.server import PageServer
from tests.browser.test_accessibility import grave
from tests.fakes import models, outcomes
from tests.fakes.finished import trained
from tests.fakes.outcomes import STORIES

SLOW = 240_000
"""Milliseconds until the page has drawn a run, while other tests want the processors, too."""
MARKUP = "<img src=x onerror=document.title='hacked'>"


def opened(open_page: OpenPage, name: str, **options: object) -> tuple[Page, store.Run]:
    run = outcomes.told(STORIES[name])
    page = open_page(f"/?run={run.id}", **options)
    expect(page.get_by_role("heading", name="What to try next")).to_be_visible(timeout=SLOW)
    return page, run


def test_a_run_that_overfitted_opens_with_its_verdict(open_page: OpenPage) -> None:
    page, _ = opened(open_page, "overfitted")
    expect(page.get_by_role("heading", name="Exact match rose from 0.0 % to 75.0 %")).to_be_visible()
    expect(page.get_by_text("lowest at step 50 (1.021) and rose to 1.513 by step 100")).to_be_visible()
    expect(page.locator("#ts-run [role=status]").first).to_have_text(
        re.compile(r"Finished on \d+ \w+ at \d\d:\d\d, after 50 s of training\.")
    )


def test_noise_is_headed_as_such(open_page: OpenPage) -> None:
    page, _ = opened(open_page, "noise")
    heading = page.get_by_role("heading", name="No measurable change: exact match was 60.0 % before and 65.0 % after")
    expect(heading).to_be_visible()
    assert not re.search(r"\b(rose|fell|improved)\b", page.locator("#ts-run").inner_text())


def test_rows_are_switched_between_those_that_got_better_worse_and_stayed_wrong(open_page: OpenPage) -> None:
    page, _ = opened(open_page, "noise")
    rows = page.locator(".ts-rows > li")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("Before")
    page.get_by_role("button", name="Worse 2").click()
    expect(rows).to_have_count(2)
    expect(page.get_by_role("button", name="Worse 2")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Still wrong 5").click()
    expect(rows).to_have_count(5)


def test_advice_is_a_link_to_the_form_with_the_runs_settings_and_those_that_change(open_page: OpenPage) -> None:
    page, run = opened(open_page, "overfitted")
    link = page.get_by_role("link", name=re.compile("Prepare this run: Fewer passes: 5 in place of 10"))
    asked = parse_qs((link.get_attribute("href") or "").removeprefix("?"))
    assert asked == {"from": [run.id], "set": ["training.epochs=5", "evaluation.early_stopping=2"]}
    again = page.get_by_role("link", name="Do it again with other settings")
    assert again.get_attribute("href") == f"?from={run.id}"


def test_of_several_tasks_one_is_chosen_to_answer(open_page: OpenPage) -> None:
    run = outcomes.told(STORIES["better"])
    spec = run.spec().as_dict()
    data = [{**spec["data"][0], "source": source} for source in ("letters.csv", "notes.csv")]
    RunSpec.parse({**spec, "data": data, "tuner": "multitask-prompt"}).save(run.folder / "spec.yaml")
    page = open_page(f"/?run={run.id}")
    task = page.get_by_label("Task")
    expect(task).to_have_value("1: letters.csv", timeout=SLOW)
    task.click()
    page.get_by_role("option", name="2: notes.csv").click()
    expect(task).to_have_value("2: notes.csv")


def test_the_talk_is_one_click_from_the_verdict(open_page: OpenPage) -> None:
    page, _ = opened(open_page, "better")
    page.get_by_role("link", name="Compare base and tuned").click()
    expect(page.get_by_label("Message")).to_be_focused()
    expect(page.get_by_label("Message")).to_be_in_viewport()


def test_markup_in_answers_stays_text(open_page: OpenPage) -> None:
    run = outcomes.told(replace(STORIES["better"], answers=[MARKUP] * 40, name="answers with markup"))
    page = open_page(f"/?run={run.id}")
    page.get_by_role("button", name="Still wrong 3").click()
    expect(page.locator(".ts-rows").get_by_text(MARKUP).first).to_be_visible()
    assert page.title() == "answers with markup, Tunesmith"


def test_a_long_answer_is_folded_until_it_is_asked_for(open_page: OpenPage) -> None:
    run = outcomes.told(replace(STORIES["better"], answers=["word " * 600] * 40))
    page = open_page(f"/?run={run.id}")
    page.get_by_role("button", name="Still wrong 3").click()
    answer = page.locator(".ts-rows p", has_text="word word").first
    short = answer.bounding_box()
    page.get_by_role("button", name="Show all").first.click()
    tall = answer.bounding_box()
    assert short and tall and tall["height"] > 3 * short["height"]
    expect(page.get_by_role("button", name="Show less").first).to_have_attribute("aria-expanded", "true")


def test_the_curves_values_are_read_with_the_arrow_keys_and_the_pointer(open_page: OpenPage) -> None:
    page, _ = opened(open_page, "overfitted")
    slider, read = page.get_by_role("slider", name="Loss by step"), page.locator(".ts-read")
    slider.focus()
    page.keyboard.press("Home")
    expect(read).to_have_text(re.compile(r"^Step 1: training loss 3\.050"))
    page.keyboard.press("End")
    expect(read).to_have_text(re.compile(r"^Step 100: training loss 0\.052 .*held-out loss 1\.513$"))
    expect(slider).to_have_attribute("aria-valuenow", "100")
    page.keyboard.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuenow", "99")
    expect(page.get_by_text("Best: 1.021 at step 50")).to_be_visible()

    slider.blur()
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(read).to_have_text(re.compile(r"^Step 4[6-9]: training loss"))
    page.mouse.move(5, 5)
    expect(read).to_have_text(re.compile("^Point at the curve"))


def test_a_curve_that_falls_far_can_be_seen_on_a_log_scale(open_page: OpenPage) -> None:
    page, _ = opened(open_page, "overfitted")
    line = page.locator(".ts-smooth")
    plain = line.get_attribute("d")
    page.get_by_role("button", name="Log scale").click()
    expect(line).not_to_have_attribute("d", plain or "")
    expect(page.get_by_role("button", name="Log scale")).to_have_attribute("aria-pressed", "true")


def test_the_empty_curve_is_no_fault_of_a_run_that_never_began(open_page: OpenPage) -> None:
    run = outcomes.told(outcomes.Story(state="failed", failed=outcomes.Failed("The file is gone.", "Put it back.")))
    page = open_page(f"/?run={run.id}")
    expect(page.get_by_role("heading", name="Failed before the first step of training")).to_be_visible(timeout=SLOW)
    expect(page.locator(".ts-curve")).to_be_hidden()


def test_answers_on_the_way_stand_newest_first(open_page: OpenPage) -> None:
    checks = [(step, 2.0 - step / 100) for step in range(10, 101, 10)]
    run = outcomes.told(replace(STORIES["better"], held=checks))
    page = open_page(f"/?run={run.id}")
    table = page.get_by_role("region", name="What it answered on the way")
    expect(table.locator("tbody th")).to_have_text(["100", "90", "80", "70", "60"])
    expect(table.locator("tbody tr").first).to_contain_text("answer at 100")


def test_a_run_copied_as_a_command_trains_by_the_same_settings_when_it_is_pasted(
    open_page: OpenPage, tmp_path: Path
) -> None:
    page, run = opened(open_page, "better")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy as a command").click()
    expect(page.get_by_text("Copied: a command.")).to_be_visible()
    pasted = page.evaluate("navigator.clipboard.readText()")
    tell = 'python() { printf "%s " "$@"; }\n'
    told = subprocess.run(["bash"], input=tell + pasted, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == f"-m engine train {run.id}.yaml"
    assert (tmp_path / f"{run.id}.yaml").read_text() == (run.folder / "spec.yaml").read_text()


def test_a_run_is_copied_as_yaml_also_where_the_clipboard_is_not_allowed(open_page: OpenPage) -> None:
    page, run = opened(open_page, "stopped")
    page.context.grant_permissions(["clipboard-read"])
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true })")
    page.get_by_role("button", name="Copy as YAML").click()
    expect(page.get_by_text("Copied: YAML.")).to_be_visible()
    page.evaluate("delete navigator.clipboard")
    assert page.evaluate("navigator.clipboard.readText()") == (run.folder / "spec.yaml").read_text()


def test_a_run_that_diverged_says_so_and_offers_a_lower_learning_rate(open_page: OpenPage) -> None:
    page, _ = opened(open_page, "failed")
    expect(page.get_by_text("The loss stopped being a number at step 5").first).to_be_visible()
    expect(page.get_by_role("heading", name="It diverged, and failed at step 4 of 100")).to_be_visible()
    link = page.get_by_role("link", name=re.compile("A lower learning rate: 0.00017 in place of 0.0005"))
    assert "set=training.learning_rate%3D0.00017" in (link.get_attribute("href") or "")


def test_a_run_that_was_stopped_says_how_far_it_came(open_page: OpenPage) -> None:
    page, _ = opened(open_page, "stopped")
    expect(page.get_by_role("heading", name="Stopped at step 50 of 100")).to_be_visible()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    expect(page.get_by_text("Left to train")).to_have_count(0)


def test_the_words_of_a_run_are_in_ink(open_page: OpenPage) -> None:
    page, _ = opened(open_page, "better")
    colour = "(where) => getComputedStyle(document.querySelector(where)).color"
    assert page.evaluate(colour, "#ts-run h1") == page.evaluate(colour, ".ts-mark")


@pytest.mark.parametrize("name", ["overfitted", "free text", "failed"])
def test_a_phone_shows_the_whole_of_it_without_scrolling_sideways(open_page: OpenPage, name: str) -> None:
    page, _ = opened(open_page, name, size=PHONE, dark=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


def test_nothing_moves_once_the_end_of_a_run_is_shown(open_page: OpenPage) -> None:
    page, _ = opened(open_page, "overfitted")
    page.evaluate(
        "window.moved = 0; new PerformanceObserver((list) => list.getEntries().forEach((e) => { moved += e.value; }))"
        ".observe({ type: 'layout-shift', buffered: false })"
    )
    page.wait_for_timeout(6000)
    assert page.evaluate("window.moved") < 0.02


def classified(labels: list[str]) -> store.Run:
    """A finished classifier of these labels: of each label's six rows after training, the last is taken for the next."""
    run = outcomes.told(replace(STORIES["better"], settings={"objective": "classify", "tuner": "full"}))

    def answered(record: dict[str, Any], wrong: int) -> None:
        record["rows"] = [
            {
                "row": 6 * place + number,
                "prompt": f"Text {number} of {label}",
                "expected": label,
                "answer": labels[(place + (number > 6 - wrong)) % len(labels)],
                "score": float(number <= 6 - wrong),
            }
            for place, label in enumerate(labels)
            for number in range(1, 7)
        ]

    for name, wrong in (("before", 5), ("after", 1)):
        outcomes.rewritten(run, f"scores/{name}.json", lambda record, wrong=wrong: answered(record, wrong))
    return run


def test_a_classifiers_labels_stand_with_their_rates_and_what_they_are_taken_for(open_page: OpenPage) -> None:
    run = classified(["card", "fee", MARKUP])
    page = open_page(f"/?run={run.id}", size=PHONE, dark=True)
    rates = page.get_by_role("region", name="Precision, recall and F1 of each label")
    expect(rates.get_by_role("row")).to_have_count(4, timeout=SLOW)
    expect(rates.get_by_role("row", name="card")).to_contain_text("83.3 %43.6 to 97.0")
    grid = page.get_by_role("region", name="Rows by expected label and answer")
    expect(grid.get_by_role("columnheader", name="answered fee")).to_be_visible()
    cells = "(table) => [...table.querySelectorAll('tbody tr')].map((row) => [...row.cells].slice(1).map((c) => c.innerText))"
    assert grid.locator("table").evaluate(cells) == [["5", "1", "0"], ["0", "5", "1"], ["1", "0", "5"]]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert grave(page) == []
    page.get_by_role("button", name="Before", exact=True).click()
    expect(rates.get_by_role("row", name="card")).to_contain_text("16.7 %")
    assert page.title() != "hacked"


def test_of_many_labels_the_weakest_are_in_sight_and_the_pairs_that_are_mixed_up(open_page: OpenPage) -> None:
    run = classified([f"label {number:02}" for number in range(20)])
    page = open_page(f"/?run={run.id}")
    rates = page.get_by_role("region", name="Precision, recall and F1 of each label")
    expect(rates.get_by_role("row")).to_have_count(13, timeout=SLOW)
    page.get_by_role("button", name="Show all 20 labels").click()
    expect(rates.get_by_role("row")).to_have_count(21)
    mixed = page.get_by_role("region", name="Labels that are taken for others most often")
    expect(mixed.get_by_role("row", name="label 00 label 01")).to_contain_text("1 of 6")


def test_a_classifier_of_pairs_asks_for_both_texts(open_page: OpenPage) -> None:
    run = classified(["yes", "no"])
    (run.folder / "model").mkdir()
    (run.folder / "model" / "classifier.json").write_text('{"labels": ["no", "yes"], "pair": {"told_apart": true}}')
    page = open_page(f"/?run={run.id}", size=PHONE)
    second = page.get_by_role("textbox", name="Second text")
    expect(second).to_be_visible(timeout=SLOW)
    page.get_by_role("textbox", name="Text", exact=True).fill("The fee was high.")
    second.press("Enter")
    expect(page.get_by_text("The second text is empty.")).to_be_visible(timeout=SLOW)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert grave(page) == []


def test_a_classifier_is_tried_with_a_text_of_ones_own(
    open_page: OpenPage, page_server: PageServer, rows: Path, tmp_path: Path
) -> None:
    spec = {
        "name": "intents",
        "model": {"id": str(models.tiny_encoder(tmp_path / "encoder"))},
        "data": [{"source": str(rows)}],
        "objective": "classify",
        "training": {"max_steps": 2},
    }
    page = open_page(f"/?run={trained(page_server.home, page_server.url, spec)}")
    page.get_by_role("link", name="Try it: a text of your own").click()
    text = page.get_by_role("textbox", name="Text")
    expect(text).to_be_focused()
    text.press("Enter")
    expect(page.get_by_text("The text is empty.")).to_be_visible(timeout=SLOW)
    text.fill("Where is my card?")
    text.press("Enter")
    labels = page.locator(".ts-chances b")
    expect(labels).to_have_count(2, timeout=120_000)
    assert sorted(labels.all_inner_texts()) == ["card arrival", "exchange rate"]
    expect(page.get_by_role("heading", name="Talk to it")).to_be_hidden()
    assert grave(page) == []
