"""Model, method and plan in Chromium: by keyboard alone, on a phone, by a link, and with a model that does not fit."""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from engine import machine
from engine.data.prepare import prepare
from engine.runs import store
from engine.specs.spec import RunSpec
from tests.browser.conftest import DESKTOP, PHONE, OpenPage
from tests.browser.server import PageServer
from tests.browser.test_accessibility import grave
from tests.fakes import models

SLOW = 240_000
"""Milliseconds: this machine's speed is measured in between, on two busy cores."""


def to_method(page: Page, rows: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(rows)
    expect(page.get_by_text("80 rows: texts with labels")).to_be_visible()
    page.get_by_role("button", name="Next: model and method").click()
    expect(page.get_by_role("radio", name=re.compile("SmolLM2-135M-Instruct"))).to_be_visible()


def planned(page: Page) -> None:
    expect(page.get_by_text(re.compile(r"64 rows, [\d.]+ pass(es)?, [\d,]+ steps"))).to_be_visible(timeout=SLOW)


def test_the_way_from_data_to_a_run_goes_by_keyboard_alone(browser_page: Page, rows: Path, tiny: Path) -> None:
    page = browser_page
    page.locator("input[type=file]").first.set_input_files(rows)
    expect(page.get_by_text("80 rows: texts with labels")).to_be_visible()
    page.get_by_role("button", name="Next: model and method").press("Enter")
    chosen = page.get_by_role("radio", name=re.compile("SmolLM2-135M-Instruct"))
    expect(chosen).to_be_checked()
    chosen.focus()
    page.keyboard.press("ArrowDown")
    reads = page.get_by_role("radio", name=re.compile("all-MiniLM-L6-v2"))
    expect(reads).to_be_focused()
    expect(page.get_by_role("radio", name=re.compile(r"Classify \(choose a label\)"))).to_be_checked()
    # The cards were drawn anew meanwhile; the arrows go on from where they were.
    expect(reads).to_be_focused()
    page.keyboard.press("ArrowDown")
    own = page.get_by_role("radio", name=re.compile("^tiny"))
    expect(own).to_be_focused()
    expect(page.locator("#ts-model :is(input, textarea)")).to_have_value(str(tiny))
    expect(page.get_by_role("radio", name=re.compile("^Chat"))).to_be_checked()
    page.get_by_role("button", name="Next: check the plan").press("Enter")
    planned(page)
    page.get_by_role("button", name="Start training").press("Enter")
    page.wait_for_url(re.compile(r"\?run="), timeout=SLOW)


def test_going_fast_through_the_models_is_not_taken_for_a_choice_of_method(
    browser_page: Page, rows: Path, tiny: Path
) -> None:
    """While the server thinks about one model, the next is chosen: what was recommended for the first is left again."""
    page = browser_page
    to_method(page, rows)
    page.get_by_role("radio", name=re.compile("SmolLM2-135M-Instruct")).focus()
    for name in ("all-MiniLM-L6-v2", "^tiny"):
        with page.expect_request("**/queue/join*"):
            page.keyboard.press("ArrowDown")
        expect(page.get_by_role("radio", name=re.compile(name))).to_be_focused()
    expect(page.get_by_text(re.compile(r"of 45,216 weights learn"))).to_be_visible()
    expect(page.get_by_text("This model writes, so it learns to answer with the label.")).to_be_visible()
    expect(page.get_by_role("radio", name=re.compile("^Chat"))).to_be_checked()


def test_a_tuner_of_ones_own_leaves_the_objective_to_the_model(browser_page: Page, rows: Path, tiny: Path) -> None:
    """A tuner is chosen while what was recommended for the model before still stands there."""
    page = browser_page
    to_method(page, rows)
    page.get_by_role("radio", name=re.compile("all-MiniLM-L6-v2")).check()
    expect(page.get_by_role("radio", name=re.compile("^Classify"))).to_be_checked()
    page.get_by_role("radio", name=re.compile("^tiny")).check()
    page.get_by_role("radio", name=re.compile("^LoRA"), checked=True).focus()
    page.keyboard.press("ArrowDown")
    chosen = page.get_by_role("radio", checked=True).and_(page.locator("[name=ts-tuner-choice]"))
    expect(chosen).not_to_have_value("lora")
    name = chosen.get_attribute("value")
    expect(page.get_by_role("radio", name=re.compile("^Chat"))).to_be_checked()
    expect(page.locator("[name=ts-tuner-choice]:checked")).to_have_value(name or "")
    page.get_by_role("radio", name=re.compile("all-MiniLM-L6-v2")).check()
    expect(page.get_by_role("radio", name=re.compile("^Classify"))).to_be_checked()
    expect(page.locator("[name=ts-tuner-choice]:checked")).to_have_value(name or "")


def test_a_run_on_ones_own_file_takes_at_most_six_clicks(open_page: OpenPage, rows: Path, tiny: Path) -> None:
    page = open_page()
    page.add_init_script(
        "addEventListener('click', (event) => event.isTrusted && (sessionStorage.clicks = 1 + +(sessionStorage.clicks || 0)), true)"
    )
    page.reload()
    with page.expect_file_chooser() as chooser:
        page.locator(".ts-drop button").first.click()
    chooser.value.set_files(rows)
    expect(page.get_by_text("80 rows: texts with labels")).to_be_visible()
    page.get_by_role("button", name="Next: model and method").click()
    page.get_by_role("radio", name=re.compile("^tiny")).click()
    page.get_by_role("button", name="Next: check the plan").click()
    planned(page)
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(re.compile(r"\?run="), timeout=SLOW)
    assert 1 <= int(page.evaluate("sessionStorage.clicks")) <= 6


def test_the_plan_states_steps_memory_and_time(browser_page: Page, rows: Path, tiny: Path) -> None:
    page = browser_page
    to_method(page, rows)
    page.get_by_role("radio", name=re.compile("^tiny")).click()
    expect(page.get_by_text(re.compile(r"^Fits: .* GB of memory\.$")).first).to_be_visible()
    page.get_by_role("button", name="Next: check the plan").click()
    sentence = r"64 rows, 3 passes, 24 steps, about .*(second|minute)s?, [\d.]+.of.[\d.]+.GB of memory"
    expect(page.get_by_text(re.compile(sentence))).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("img", name=re.compile(r"^Memory: .* of "))).to_be_visible()
    expect(page.get_by_text("8 rows are held out to score it")).to_be_visible()
    expect(page.get_by_role("heading", name="Time", exact=True)).to_be_visible()


def created(server: PageServer, source: str, model: Path) -> store.Run:
    spec = RunSpec.parse(
        {
            "name": "the first one",
            "model": {"id": str(model)},
            "data": [{"source": source, "columns": {"text": "text", "label": "intent"}}],
            "tuner": {"name": "lora", "rank": 4},
        }
    )
    return store.create(spec, prepare(spec.data, spec.objective.wants, spec.training.seed))


def test_a_link_opens_a_runs_settings_with_changes_and_starts_nothing(
    open_page: OpenPage, page_server: PageServer, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(page_server.home))
    run = created(page_server, "sample:banking-intents", tiny)
    link = urlencode([("from", run.id), ("set", "training.epochs=5"), ("set", "tuner.rank=8")])
    page = open_page(f"/?{link}")
    expect(page.get_by_text("Settings of run the first one.")).to_be_visible()
    expect(page.get_by_text("Nothing has been started.", exact=False).first).to_be_visible()
    expect(page.get_by_text(re.compile(r"480 rows, 5 passes, 300 steps"))).to_be_visible(timeout=SLOW)
    expect(page.get_by_label("Name of the run")).to_have_value("the first one")
    page.locator(".step-button").nth(1).click()
    expect(page.get_by_text("Changed from the defaults: Rank 8, Passes 5.")).to_be_visible()
    expect(page.get_by_role("radio", name=re.compile("^tiny"))).to_be_checked()
    page.locator(".step-button").first.click()
    expect(page.get_by_text("600 rows: texts with labels")).to_be_visible()
    assert [other.id for other in store.listed()] == [run.id]


def test_a_link_to_a_run_whose_data_is_gone_asks_for_it_and_keeps_the_rest(
    open_page: OpenPage, page_server: PageServer, rows: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(page_server.home))
    spec = RunSpec.parse({"model": {"id": str(tiny)}, "data": [{"source": str(rows)}], "training": {"epochs": 7}})
    run = store.create(spec, prepare(spec.data, spec.objective.wants, spec.training.seed))
    page = open_page(f"/?from={run.id}")
    expect(page.get_by_text("Its data is not there any more.")).to_be_visible()
    to_method(page, rows)
    expect(page.get_by_label("Passes")).to_have_value("7")


def huge(folder: Path, like: Path) -> Path:
    """A model that learns in the free memory with additions, and not as a whole. Its weights are a hole in the file."""
    shutil.copytree(like, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    width = config["hidden_size"]
    words = machine.inspect().available // 8 // width
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": words}), encoding="utf-8")
    with open(folder / "model.safetensors", "r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        name = next(name for name in header if name.endswith("embed_tokens.weight"))
        end = max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
        size = 4 * words * width
        header[name] = {"dtype": "F32", "shape": [words, width], "data_offsets": [end, end + size]}
        text = json.dumps(header).encode()
        file.seek(0)
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end + size)
    return folder


def test_a_model_that_does_not_fit_says_so_before_the_start_with_what_would(
    browser_page: Page, page_server: PageServer, rows: Path, tiny: Path
) -> None:
    huge(page_server.home / "models" / "huge", tiny)
    page = browser_page
    to_method(page, rows)
    page.get_by_role("radio", name=re.compile("^Full fine-tuning")).click()
    card = page.locator(".ts-card", has_text="huge")
    expect(card).to_contain_text("Does not fit")
    card.click()
    page.get_by_role("button", name="Next: check the plan").click()
    expect(page.get_by_text(re.compile("This run does not fit: it needs about"))).to_be_visible(timeout=SLOW)
    expect(page.get_by_text("Choose a tuner that leaves the base weights as they are, such as LoRA")).to_be_visible()
    expect(page.get_by_role("button", name="Start training")).to_be_disabled()


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_models_and_methods_in_one_column(open_page: OpenPage, rows: Path, dark: bool) -> None:
    page = open_page(size=PHONE, dark=dark)
    to_method(page, rows)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    left = page.evaluate(
        "[...document.querySelectorAll('.ts-card')].filter((c) => c.checkVisibility()).map((c) => c.offsetLeft)"
    )
    assert len(set(left)) == 1
    low = page.evaluate(
        "Math.min(...[...document.querySelectorAll('.ts-card')].filter((c) => c.checkVisibility()).map((c) => c.offsetHeight))"
    )
    assert low >= 44
    # They stand one below the other: only the chosen one says all that there is to it.
    own, other = (page.get_by_role("link", name=f"Paper on {title}") for title in ("LoRA (", "Full fine-tuning ("))
    expect(own).to_be_visible()
    expect(other).to_be_hidden()
    page.get_by_role("radio", name=re.compile("^Full fine-tuning")).click()
    expect(other).to_be_visible()
    expect(own).to_be_hidden()


def test_a_long_name_of_a_model_leaves_the_plan_on_a_phone_as_wide_as_the_page(
    open_page: OpenPage, page_server: PageServer, rows: Path
) -> None:
    models.tiny_decoder(page_server.home / "models" / ("long" * 12))
    page = open_page(size=PHONE)
    to_method(page, rows)
    page.get_by_role("radio", name=re.compile("^longlong")).click()
    page.get_by_role("button", name="Next: check the plan").click()
    planned(page)
    wide = page.evaluate("Math.max(...[...document.querySelectorAll('.ts-stack')].map((part) => part.scrollWidth))")
    assert 300 < wide <= PHONE[0]


def test_a_pair_that_does_not_work_is_told_as_soon_as_it_is_chosen(browser_page: Page, rows: Path) -> None:
    page = browser_page
    to_method(page, rows)
    page.get_by_role("radio", name=re.compile("^Fill in the label")).check()
    expect(page.get_by_label("Template")).to_be_visible()
    page.get_by_role("radio", name=re.compile("all-MiniLM-L6-v2")).check()  # an objective of one's own stays
    expect(page.get_by_role("alert").get_by_text("needs a head that guesses masked words")).to_be_visible()


def test_a_search_without_a_network_says_so_in_one_sentence(browser_page: Page, rows: Path) -> None:
    page = browser_page
    to_method(page, rows)
    page.get_by_label("Search the Hub").press_sequentially("qwen", delay=80)
    expect(page.get_by_text("The Hub can't be reached from here right now.")).to_be_visible()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_picture_of_the_layers_follows_model_tuner_and_settings(
    open_page: OpenPage, rows: Path, size: tuple[int, int]
) -> None:
    page = open_page(size=size)
    to_method(page, rows)
    layers = page.locator(".ts-layers")
    expect(layers).to_contain_text("4,884,480 of 139,399,488 weights learn")
    page.get_by_label("Rank", exact=True).locator("visible=true").fill("8")
    expect(layers).to_contain_text("2,442,240 of 136,957,248 weights learn")
    page.get_by_role("radio", name=re.compile("^Top layers only")).click()
    count = page.get_by_label("Layers that learn")
    expect(count).to_be_visible()
    expect(layers.get_by_text("Layers 29 to 30")).to_be_visible()
    top = count.evaluate("(node) => node.getBoundingClientRect().top + scrollY")
    count.fill("6")
    expect(layers.get_by_text("Layers 25 to 30")).to_be_visible()
    assert count.evaluate("(node) => node.getBoundingClientRect().top + scrollY") == top, (
        "what is edited stays in place"
    )
    count.fill("40")
    expect(layers).to_contain_text("has 30 layers, not 40")
    count.fill("2")
    page.get_by_role("radio", name=re.compile("all-MiniLM-L6-v2")).click()
    page.get_by_role("radio", name=re.compile(r"^Classify \(choose a label\)")).click()
    expect(layers.get_by_text("Layers 5 to 6")).to_be_visible()
    expect(layers.get_by_text("weights for each label learn")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_a_fold_that_was_opened_stays_open_when_the_cards_are_drawn_anew(browser_page: Page, rows: Path) -> None:
    page = browser_page
    to_method(page, rows)
    page.get_by_text("Soft prompts").click()
    prompt = page.get_by_role("radio", name="Prompt tuning", exact=True)
    expect(prompt).to_be_visible()
    page.get_by_role("radio", name=re.compile("^Bottleneck adapters")).click()
    # The server has answered with cards in which it is the chosen one.
    expect(page.locator(".ts-card input[value=adapter][checked]")).to_be_attached()
    expect(prompt).to_be_visible()
    prompt.click()
    expect(prompt).to_be_checked()
    expect(page.locator(".ts-layers").get_by_text("Before each text")).to_be_visible()


def test_a_classifier_on_fixed_features_is_fitted_and_told_in_its_own_words(
    browser_page: Page, page_server: PageServer, rows: Path
) -> None:
    models.tiny_encoder(page_server.home / "models" / "reader")
    page = browser_page
    to_method(page, rows)
    page.get_by_role("radio", name=re.compile("^reader")).click()
    expect(page.get_by_role("radio", name=re.compile("^Classify"))).to_be_checked()
    expect(page.get_by_label("Passes")).to_be_visible()
    page.get_by_role("radio", name=re.compile("^Classifier on fixed features")).click()
    expect(page.get_by_label("Passes")).to_be_hidden()
    page.get_by_role("button", name="Next: check the plan").click()
    expect(page.get_by_text(re.compile("64 rows, each read once"))).to_be_visible(timeout=SLOW)
    expect(page.get_by_text("learns which label goes with it")).to_be_visible()
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(re.compile(r"\?run="), timeout=SLOW)
    expect(page.get_by_text("At it for")).to_be_attached()
    expect(page.locator(".ts-facts").get_by_text("Training loss")).to_have_count(0)
    expect(page.locator("#ts-run [role=status]").first).to_have_text(re.compile("^Finished on"), timeout=SLOW)
    expect(page.get_by_text(re.compile(r"The model stayed as it is. A classifier of [\d,]+ numbers"))).to_be_visible()


def test_the_prompt_of_cloze_and_its_words_are_seen_while_they_are_written(
    browser_page: Page, rows: Path, tiny: Path
) -> None:
    page = browser_page
    to_method(page, rows)
    page.get_by_role("radio", name=re.compile("^tiny")).click()
    goal = page.get_by_role("radio", name=re.compile("^Fill in the label"))
    goal.click()
    prompt = page.get_by_role("region", name="The prompt, with one of your rows")
    expect(prompt).to_contain_text("Where is my card number 0?", timeout=SLOW)
    expect(page.get_by_role("row", name=re.compile("^card arrival card arrival"))).to_be_visible()
    page.get_by_label("Template").fill("They ask: {text} It is about {label}.")
    expect(prompt).to_have_text(re.compile(r"^They ask: Where is my card number 0\? It is about the label’s word"))
    page.get_by_label("Label words").fill("card arrival = letter\nexchange rate = money")
    expect(page.get_by_role("row", name=re.compile("^exchange rate money"))).to_be_visible()
    expect(page.locator(".ts-slot-told[aria-live]")).to_have_text(re.compile("^2 labels"))
    page.get_by_label("Template").fill("They ask: {text}")
    expect(page.locator(".ts-slot-told[aria-live]")).to_contain_text("To mend:")
    expect(goal).to_be_checked()
    assert grave(page) == []
