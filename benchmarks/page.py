"""What the page costs: `python -m benchmarks.page`.

Start, several times from cold: seconds from the command to the first byte, and from there to the page that a person
sees in Chromium; kilobytes on the wire. Watching: a page that follows a run which has told 10,000 lines and 2,000
steps and tells one of each a second; kilobytes a second and the share of the browser's main thread. Crowd: how long
an answer takes, and how large it is, while 20 sessions follow that run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from benchmarks.record import keep
from engine import demo
from engine.data.prepare import prepare
from engine.events import Notice, Progress, Writer
from engine.files import write_json
from engine.runs import process, store
from tests.browser.server import PageServer, launch

LINES = 10_000
STEPS = 2_000
MOST_KILOBYTES_A_SECOND = 2.0
MOST_MAIN_THREAD = 0.10
SETTLE_SECONDS = 8
SESSIONS = 20
SESSION_SECONDS = 10


def main() -> int:
    parser = argparse.ArgumentParser(description="What the page costs to start and to watch.")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=30, help="how long the page is watched")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tunesmith-benchmark-") as place, sync_playwright() as playwright:
        os.environ["TUNESMITH_HOME"] = str(Path(place) / "home")
        server = PageServer(Path(place) / "home")
        server.home.mkdir()
        browser = launch(playwright)
        starts = [start(server, browser) for _ in range(options.starts)]
        found = {name: round(statistics.median(item[name] for item in starts), 2) for name in starts[0]}
        with told_run() as run_id:
            server.start()
            found |= watch(server, browser, run_id, options.seconds)
            found |= crowd(server, run_id)
        server.stop()
        browser.close()
    for name, value in found.items():
        print(f"{name.replace('_', ' ')}: {value}")
    keep("page", found)
    cheap = found["watching_kilobytes_a_second"] <= MOST_KILOBYTES_A_SECOND
    return 0 if cheap and found["watching_main_thread_share"] <= MOST_MAIN_THREAD else 1


def start(server: PageServer, browser: Browser) -> dict[str, float]:
    """One cold start, looked at with a fresh profile."""
    began = time.monotonic()
    server.start()
    first_byte = time.monotonic() - began
    context = browser.new_context()
    page = context.new_page()
    wire = Wire(context.new_cdp_session(page))
    began = time.monotonic()
    page.goto(server.url)
    page.locator("button:visible").first.wait_for(timeout=60_000)
    view = time.monotonic() - began
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null")
    page.wait_for_timeout(1_000)
    found = {
        "start_first_byte_s": first_byte,
        "start_first_paint_s": (painted or 0) / 1000,
        "start_first_view_s": view,
        "start_kilobytes": wire.bytes / 1000,
    }
    context.close()
    server.stop()
    return found


def watch(server: PageServer, browser: Browser, run_id: str, seconds: int) -> dict[str, float]:
    context = browser.new_context()
    page = context.new_page()
    session = context.new_cdp_session(page)
    wire = Wire(session)
    session.send("Performance.enable")
    page.goto(f"{server.url}/?run={run_id}")
    require_run(page)
    page.wait_for_timeout(SETTLE_SECONDS * 1000)
    before, sent = task_seconds(session), wire.bytes
    began = time.monotonic()
    page.wait_for_timeout(seconds * 1000)
    took = time.monotonic() - began
    found = {
        "watching_kilobytes_a_second": round((wire.bytes - sent) / 1000 / took, 2),
        "watching_main_thread_share": round((task_seconds(session) - before) / took, 4),
    }
    context.close()
    return found


def crowd(server: PageServer, run_id: str) -> dict[str, float]:
    """SESSIONS sessions ask for the run's news once a second, as pages do."""
    with ThreadPoolExecutor(SESSIONS) as pool:
        every = [item for found in pool.map(lambda _: polled(server, run_id), range(SESSIONS)) for item in found]
    return {
        "crowd_median_ms": round(1000 * statistics.median(seconds for seconds, _ in every), 1),
        "crowd_slowest_ms": round(1000 * max(seconds for seconds, _ in every), 1),
        "crowd_median_bytes": statistics.median(size for _, size in every),
    }


def polled(server: PageServer, run_id: str) -> list[tuple[float, int]]:
    """Seconds and bytes of each answer after the first, which brings what was told before."""
    offset, found = 0, []
    for asked in range(SESSION_SECONDS + 1):
        began = time.monotonic()
        address = f"{server.url}/tunesmith/runs/{run_id}/feed?offset={offset}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            body = answer.read()
        took = time.monotonic() - began
        offset = json.loads(body)["offset"]
        if asked:
            found.append((took, len(body)))
        time.sleep(max(0.0, 1.0 - took))
    return found


def require_run(page: Page) -> None:
    """An empty page would be cheap to watch: this one must show the newest step."""
    page.wait_for_function(f"document.body.innerText.replace(/[^0-9]/g, '').includes('{STEPS * 2}')", timeout=60_000)


def task_seconds(session: CDPSession) -> float:
    metrics: list[dict[str, Any]] = session.send("Performance.getMetrics")["metrics"]
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")


class Wire:
    """Counts what a page receives, headers and streams included."""

    def __init__(self, session: CDPSession) -> None:
        self.bytes = 0
        session.send("Network.enable")
        session.on("Network.dataReceived", self._data)
        session.on("Network.responseReceived", self._response)

    def _data(self, event: dict[str, Any]) -> None:
        self.bytes += event.get("encodedDataLength") or event.get("dataLength", 0)

    def _response(self, event: dict[str, Any]) -> None:
        self.bytes += int(event["response"].get("encodedDataLength", 0))


@contextmanager
def told_run() -> Iterator[str]:
    """A run that has told much already and goes on telling. This process plays its worker."""
    spec = demo.spec()
    prepared = prepare(spec.data, spec.objective.wants, spec.training.seed)
    run = store.create(spec, replace(prepared, examples=prepared.examples[:50]))
    writer = Writer(run.folder / "events.jsonl")
    for line in range(LINES):
        if line % (LINES // STEPS) == 0:
            writer.write(step(line // (LINES // STEPS) + 1))
        writer.write(Notice(f"Line {line} of what a run may tell while it works."))
    for name in ("supervisor.json", "worker.json"):
        write_json(run.folder / name, process.identity(os.getpid()))
    with store.index() as rows:
        rows.execute("UPDATE runs SET state = 'running' WHERE id = ?", (run.id,))
    ended = threading.Event()

    def tell() -> None:
        number = STEPS
        while not ended.wait(1.0):
            number += 1
            writer.write(step(number))
            writer.write(Notice(f"Step {number} is done."))

    thread = threading.Thread(target=tell)
    thread.start()
    try:
        yield run.id
    finally:
        ended.set()
        thread.join()
        writer.close()


def step(number: int) -> Progress:
    return Progress(
        step=number,
        total_steps=STEPS * 2,
        epoch=number / 700,
        loss=2.0 / (1 + number / 300),
        learning_rate=2e-4,
        grad_norm=1.0,
        tokens_per_second=1200.0,
        memory_bytes=3_000_000_000,
        seconds=float(number),
    )


if __name__ == "__main__":
    sys.exit(main())
