"""What a visitor may use: disk, runs, time, uploads, requests; how long it is kept, and the settings that tell it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from engine import home
from engine.bases import models
from engine.data.prepare import Prepared
from engine.errors import MachineError, ModelError, RunError, SettingError
from engine.events import Notice
from engine.runs import queue, store
from engine.runs.index import index
from engine.specs.sections import Model
from tests.fakes import pages, runs
from ui import account, limits, owner, rate, retention, sources
from ui.owner import Visitor

ADA, BOB = Visitor("v-" + "a" * 24), Visitor("v-" + "b" * 24)


@pytest.fixture(autouse=True)
def _counts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "usage", limits.Usage())


@pytest.fixture
def shared() -> Iterator[None]:
    with pages.opened():
        yield


def made(name: str, state: str = "created") -> store.Run:
    run = store.create(
        runs.spec(Path("/nowhere"), "chat", "lora"), Prepared(runs.examples("messages"), [], [], []), name
    )
    with index() as rows:
        rows.execute("UPDATE runs SET state = ? WHERE id = ?", (state, run.id))
    return store.get(run.id)


def uploaded(name: str, size: int = 1000) -> Path:
    path = home.files(name) / "rows.csv"
    path.write_bytes(b"x" * size)
    return path


# --- what they are


@pytest.mark.parametrize("limit", limits.LIMITS, ids=lambda limit: limit.variable)
def test_each_limit_has_a_variable_a_unit_and_stands_in_the_table(
    limit: limits.Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert limit.help.endswith(".") and f"| `{limit.variable}` | {limit.default:g} {limit.unit} |" in limits.table()
    monkeypatch.setenv(limit.variable, "0.5")
    assert limit.value == 0.5


@pytest.mark.parametrize("given", ["many", "-1", "0", "nan", "inf"])
def test_what_is_no_limit_is_refused_at_the_start(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.RUNS.variable, given)
    with pytest.raises(SettingError, match=limits.RUNS.variable):
        limits.check()


# --- runs


def test_a_visitor_has_so_many_runs_at_a_time(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.RUNS.variable, "2")
    made(ADA.name, "running")
    made(ADA.name, "finished")
    with owner.acting(ADA):
        limits.require_turn()
        made(ADA.name, "queued")
        with pytest.raises(RunError, match="2 runs that wait or work") as caught:
            limits.require_turn()
    assert "stop one" in caught.value.fix
    with owner.acting(BOB):
        limits.require_turn()


def test_resuming_counts_as_starting(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.RUNS.variable, "1")
    made(ADA.name, "running")
    stopped = made(ADA.name, "stopped")
    with owner.acting(ADA), pytest.raises(RunError, match="at a time"):
        limits.resume(stopped)


def test_nobody_is_bound_on_a_page_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.RUNS.variable, "1")
    for _ in range(3):
        made("local", "queued")
    limits.require_turn()
    limits.require_disk(10**15)


def test_the_host_of_a_shared_page_is_not_bound(shared: None) -> None:
    with owner.acting(owner.HOST):
        limits.require_disk(10**15)


def test_a_run_that_works_too_long_is_stopped_and_says_why(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.HOURS.variable, "2")
    stopped: list[str] = []
    monkeypatch.setattr(queue, "stop", lambda run: stopped.append(run.id))
    long, short, hosts = made(ADA.name, "running"), made(BOB.name, "running"), made("local", "running")
    for run, hours in ((long, 2.1), (short, 1.9), (hosts, 50)):
        (run.folder / "supervisor.json").write_text("{}")
        began = time.time() - hours * 3600
        os.utime(run.folder / "supervisor.json", (began, began))
    limits.look_after_runs()
    assert stopped == [long.id]
    told = [event.text for event in long.events()[0] if isinstance(event, Notice)]
    assert "worked for 2 hours, which is the most" in told[0] and "resumed" in told[0]
    assert not short.events()[0] and not hosts.events()[0]


def test_a_run_that_fills_its_visitors_disk_is_stopped_and_says_why(
    shared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(limits.DISK.variable, "0.00001")
    stopped: list[str] = []
    monkeypatch.setattr(queue, "stop", lambda run: stopped.append(run.id))
    run = made(ADA.name, "running")
    (run.folder / "big").write_bytes(b"x" * 20_000)
    limits.look_after_runs()
    assert stopped == [run.id]
    assert "more than the 1e-05 GB" in str(run.events()[0][0])


# --- disk


def test_files_and_runs_of_a_visitor_are_counted_together(shared: None) -> None:
    run = made(ADA.name)
    (run.folder / "model").mkdir()
    (run.folder / "model" / "weights").write_bytes(b"x" * 5000)
    uploaded(ADA.name, 3000)
    uploaded(BOB.name, 9000)
    assert limits.usage.of(ADA.name) == limits.size_of(run.folder) + 3000 > 8000


def test_what_does_not_fit_is_refused_with_the_way_out(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.DISK.variable, "0.00001")
    uploaded(ADA.name, 9000)
    with owner.acting(ADA):
        limits.require_disk(500)
        with pytest.raises(MachineError, match="each visitor of this page may have") as caught:
            limits.require_disk(2000)
    assert "settings" in caught.value.fix


def test_all_visitors_together_do_not_fill_the_disk(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.ALL_DISK.variable, "0.00001")
    uploaded(BOB.name, 11_000)
    uploaded("local", 10)
    with owner.acting(ADA), pytest.raises(MachineError, match="for its visitors is full"):
        limits.require_disk()


def test_an_upload_that_is_too_large_is_refused_before_it_is_kept(
    shared: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(limits.FILE.variable, "0.001")
    upload = tmp_path / "rows.csv"
    upload.write_bytes(b"x" * 2000)
    with owner.acting(ADA), pytest.raises(MachineError, match=r"0\.001 MB"):
        sources.uploaded(str(upload))
    assert not limits.folder_of(ADA.name).exists() or not list(limits.folder_of(ADA.name).iterdir())


def test_pasted_rows_count_too(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.DISK.variable, "0.000001")
    with owner.acting(ADA), pytest.raises(MachineError):
        sources.kept("text,label\n" + "some words,a\n" * 200)


def test_a_model_that_is_too_large_to_fetch_is_refused(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = models.facts(Model(id="embedded:smollm2-135m"))
    assert facts.download_bytes
    monkeypatch.setenv(limits.MODEL.variable, str(facts.download_bytes / 2e9))
    with owner.acting(ADA), pytest.raises(ModelError, match="are fetched"):
        limits.require_model(Model(id="embedded:smollm2-135m"))
    with owner.acting(owner.HOST):
        limits.require_model(Model(id="embedded:smollm2-135m"))


# --- requests and uploads


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_what_it_holds_and_fills_up_again() -> None:
    clock = Clock()
    buckets = rate.Buckets(60.0, clock)
    assert [buckets.take("ada", 1, 2) for _ in range(3)] == [0, 0, 30]
    assert buckets.take("bob", 1, 2) == 0
    clock.now = 30
    assert [buckets.take("ada", 1, 2) for _ in range(2)] == [0, 30]


def test_what_buckets_remember_is_bounded() -> None:
    buckets = rate.Buckets(60.0)
    for number in range(rate.MOST_KEYS + 100):
        buckets.take(str(number), 1, 2)
    assert len(buckets._levels) == rate.MOST_KEYS


def test_who_asks_too_fast_is_told_to_wait(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.REQUESTS.variable, "3")
    browser = pages.client()
    browser.get("/")
    answers = [browser.get("/tunesmith/who") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert "more than 3 requests" in answers[-1].json()["problem"] and answers[-1].headers["retry-after"]


def test_throwing_the_cookie_away_does_not_help(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.REQUESTS.variable, "3")
    browser = pages.client()
    codes = []
    for _ in range(5):
        codes.append(browser.get("/").status_code)
        browser.cookies.clear()
    assert codes == [200, 200, 200, 429, 429]


def test_the_host_is_not_slowed(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.REQUESTS.variable, "1")
    browser = pages.client()
    browser.get(f"/?host={pages.KEY}")
    assert {browser.get("/tunesmith/who").status_code for _ in range(5)} == {200}


def test_a_page_of_ones_own_has_no_limit_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.REQUESTS.variable, "1")
    browser = pages.client()
    assert {browser.get("/tunesmith/who").status_code for _ in range(5)} == {200}


def upload(browser: TestClient, size: int, **headers: str) -> Any:
    return browser.post("/gradio_api/upload", files={"files": ("rows.csv", b"x" * size)}, headers=headers)


def test_an_upload_larger_than_allowed_is_refused_before_it_is_read(
    shared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(limits.FILE.variable, "0.02")
    browser = pages.client()
    browser.get("/")
    assert upload(browser, 15_000).status_code == 200
    answer = upload(browser, 60_000)
    assert answer.status_code == 413 and "0.02 MB" in answer.json()["problem"]


def test_uploads_of_an_hour_are_limited(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.UPLOADS.variable, "0.1")
    browser = pages.client()
    browser.get("/")
    codes = [upload(browser, 40_000).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert "in an hour" in upload(browser, 40_000).json()["problem"]


def test_an_upload_that_does_not_say_how_large_it_is_is_refused(shared: None) -> None:
    browser = pages.client()
    browser.get("/")
    answer = browser.post(
        "/gradio_api/upload", content=iter([b"a", b"b"]), headers={"content-type": "multipart/form-data"}
    )
    assert answer.status_code == 411


def test_an_upload_that_is_longer_than_it_said_ends_there() -> None:
    import asyncio

    pieces = [b"x" * 600, b"x" * 600]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(), "more_body": bool(pieces)}

    async def read() -> list[str]:
        receiving = rate._measured(receive, 1000)
        return [(await receiving())["type"], (await receiving())["type"]]

    assert asyncio.run(read()) == ["http.request", "http.disconnect"]


# --- how long it is kept


def old(run: store.Run, days: float) -> store.Run:
    then = time.time() - days * retention.DAY_S
    with index() as rows:
        rows.execute("UPDATE runs SET created = ? WHERE id = ?", (then, run.id))
    for path in run.folder.iterdir():
        os.utime(path, (then, then))
    return run


def test_what_visitors_leave_is_deleted_after_its_time(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(retention.VARIABLE, "7")
    gone, working = old(made(ADA.name, "finished"), 8), old(made(ADA.name, "running"), 8)
    fresh, hosts = old(made(ADA.name, "finished"), 6), old(made("local", "finished"), 800)
    file, kept = uploaded(ADA.name), uploaded("local")
    for path in (file, kept):
        os.utime(path, (1.0, 1.0))
    retention.sweep()
    assert {run.id for run in store.listed()} == {working.id, fresh.id, hosts.id}
    assert not gone.folder.exists() and not file.exists() and kept.exists()


def test_a_run_that_was_worked_on_lately_is_kept_however_old_it_is(
    shared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(retention.VARIABLE, "7")
    run = old(made(ADA.name, "stopped"), 30)
    (run.folder / "events.jsonl").write_text("")
    retention.sweep()
    assert run.folder.exists()


def test_on_a_page_of_ones_own_nothing_is_ever_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(retention.VARIABLE, "1")
    run = old(made(ADA.name, "finished"), 800)
    retention.sweep()
    assert retention.days() is None and run.folder.exists()


@pytest.mark.parametrize("given", ["soon", "-3", "0"])
def test_what_is_no_number_of_days_is_refused(shared: None, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(retention.VARIABLE, given)
    with pytest.raises(SettingError, match=retention.VARIABLE):
        retention.days()


def test_people_can_delete_all_that_is_theirs_and_nothing_else(shared: None) -> None:
    mine, theirs = made(ADA.name, "finished"), made(BOB.name, "finished")
    waiting = made(ADA.name, "queued")
    file, other = uploaded(ADA.name), uploaded(BOB.name)
    assert retention.delete_all(ADA.name) == 0
    assert not (mine.folder.exists() or waiting.folder.exists() or file.exists())
    assert theirs.folder.exists() and other.exists()


# --- the settings


def browser_of(*links: str) -> TestClient:
    browser = pages.client(*account.routes())
    for link in links or ("/",):
        browser.get(link)
    return browser


def name_of(browser: TestClient) -> str:
    return str(browser.get("/tunesmith/who").text.split()[0])


def test_a_visitor_is_told_what_is_stored_for_how_long_and_how_to_come_back(shared: None) -> None:
    browser = browser_of()
    uploaded(name_of(browser), 3000)
    made(name_of(browser))
    told = browser.get("/tunesmith/settings").json()
    assert (told["runs"], told["files_bytes"], told["keep_days"]) == (1, 3000, 30)
    assert told["recovery"].startswith(f"?recover={name_of(browser)}.")
    assert len(told["limits"]) == len(limits.LIMITS)


def test_a_visitor_is_told_nothing_of_others_or_of_the_machine(shared: None) -> None:
    made(BOB.name)
    answer = browser_of().get("/tunesmith/settings")
    told = answer.json()
    assert told["visitors"] == [] and told["home"] is None and told["free_bytes"] is None and not told["host"]
    assert BOB.name not in answer.text and str(home.home()) not in answer.text


def test_the_host_sees_every_visitors_runs_by_name_and_state(shared: None) -> None:
    run = made(BOB.name, "running")
    told = browser_of(f"/?host={pages.KEY}").get("/tunesmith/settings").json()
    assert told["host"] and told["recovery"] is None and told["limits"] == []
    assert [(one["short"], one["runs"][0]["id"], one["runs"][0]["active"]) for one in told["visitors"]] == [
        (BOB.name[:8], run.id, True)
    ]


def test_on_a_page_of_ones_own_the_settings_tell_what_applies() -> None:
    made("local")
    told = browser_of().get("/tunesmith/settings").json()
    assert (told["shared"], told["host"], told["recovery"], told["keep_days"]) == (False, False, None, None)
    assert told["limits"] == told["visitors"] == [] and told["home"] == str(home.home())


def test_the_host_stops_anybodys_run_and_a_visitor_nobodys(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(BOB.name, "queued")
    refused = browser_of().post(f"/tunesmith/host/stop/{run.id}")
    assert refused.status_code == 404 and "Only the host" in refused.json()["problem"]
    assert store.get(run.id).state == "queued"
    assert browser_of(f"/?host={pages.KEY}").post(f"/tunesmith/host/stop/{run.id}").status_code == 200
    assert store.get(run.id).state == "stopped"


def test_the_host_deletes_a_visitors_data_and_a_visitor_nobodys(shared: None) -> None:
    run = made(BOB.name, "finished")
    assert browser_of().post(f"/tunesmith/host/delete/{BOB.name}").status_code == 404
    assert run.folder.exists()
    assert browser_of(f"/?host={pages.KEY}").post(f"/tunesmith/host/delete/{BOB.name}").json() == {"left": 0}
    assert not run.folder.exists()


@pytest.mark.parametrize("name", ["..", "%2e%2e", "v-" + "9" * 24, "."])
def test_the_host_can_not_delete_what_is_no_visitor(shared: None, name: str) -> None:
    kept = made("local")
    assert browser_of(f"/?host={pages.KEY}").post(f"/tunesmith/host/delete/{name}").status_code in (404, 405)
    assert kept.folder.exists()


def test_a_visitor_deletes_their_own_data(shared: None) -> None:
    browser = browser_of()
    mine, theirs = made(name_of(browser), "finished"), made(BOB.name, "finished")
    assert browser.post("/tunesmith/settings/delete").json() == {"left": 0}
    assert not mine.folder.exists() and theirs.folder.exists()


def test_deleting_is_never_a_link(shared: None) -> None:
    assert browser_of().get("/tunesmith/settings/delete").status_code == 405
