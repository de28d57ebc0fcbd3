"""A run's webhook hears of its end: from a real supervisor, without rows or secrets, and never in anybody's way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.events import Notice
from engine.files import read_json
from engine.runs import messages, process, queue, store
from engine.runs.index import index
from engine.specs.spec import RunSpec
from tests.fakes import outcomes, runs
from tests.fakes.hook import hook
from tests.fakes.living import comes_to, prepared, texts, until


def hooked(address: str, *orders: str, owner: str = "local") -> store.Run:
    spec = runs.spec(Path("/nowhere"), "chat", "lora").as_dict()
    run = store.create(RunSpec.parse({**spec, "name": "bank", "output": {"webhook": address}}), prepared(), owner)
    (run.folder / "orders.json").write_text(json.dumps(orders), encoding="utf-8")
    return run


def told(address: str, story: str) -> store.Run:
    known = outcomes.STORIES[story]
    return outcomes.told(replace(known, name="bank", settings={**known.settings, "output": {"webhook": address}}))


@pytest.mark.parametrize(("order", "state"), [("finish", "finished"), ("user-error", "failed")])
def test_a_supervisor_tells_how_its_run_ended(order: str, state: str) -> None:
    with hook() as served:
        run = hooked(f"{served.url}/secret-path", order)
        queue.start(run)
        comes_to(run, state)
        until(lambda: "127.0.0.1 was told how this run ended." in texts(run))
    ((path, _, body),) = served.received
    assert path == "/secret-path"
    assert (body["run"], body["name"], body["state"]) == (run.id, "bank", state)
    assert not any("secret-path" in text for text in texts(run))


def test_a_run_that_is_stopped_is_told_too() -> None:
    with hook() as served:
        run = hooked(served.url, "wait")
        queue.start(run)
        until(lambda: store.get(run.id).state == "running" and run.events(0)[0])
        queue.stop(run)
        comes_to(run, "stopped")
        until(lambda: served.received)
    assert served.received[0][2]["state"] == "stopped"


def test_a_run_that_is_stopped_while_it_waits_is_told_too() -> None:
    with hook() as served:
        ahead, behind = hooked("", "wait"), hooked(served.url, "finish")
        queue.start(ahead)
        queue.start(behind)
        queue.stop(behind)
        until(lambda: served.received)
        queue.stop(ahead)
        comes_to(ahead, "stopped")
    assert served.received[0][2]["state"] == "stopped"


def test_a_run_that_is_given_up_is_told_too() -> None:
    with hook() as served:
        run = hooked(served.url, "wait")
        queue.start(run)
        until(lambda: (run.folder / "worker.json").exists())
        with index() as rows:
            rows.execute("UPDATE runs SET deaths = ?", (queue.MOST_DEATHS,))
        for name in ("supervisor.json", "worker.json"):
            process.end(read_json(run.folder / name), force=True)
        comes_to(run, "failed")
        until(lambda: served.received)
    assert served.received[0][2]["state"] == "failed"


def test_a_hook_that_does_not_answer_holds_up_no_other_run() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        first = hooked(f"http://127.0.0.1:{deaf.getsockname()[1]}/", "finish")
        second = hooked("http://127.0.0.1:9/", "finish")
        queue.start(first)
        queue.start(second)
        comes_to(second, "finished")
        assert not any("could not be told" in text for text in texts(first))
        until(lambda: any("could not be told" in text for text in texts(first)))
    assert store.get(first.id).state == "finished"


def test_the_message_says_what_the_run_came_to_in_words_and_figures() -> None:
    with hook() as served:
        run = told(served.url, "better")
        messages.send(run.folder)
    body = served.received[0][2]
    assert body["text"] == "bank: Exact match rose from 0.0 % to 92.5 %."
    assert (body["main"], body["before"], body["after"]) == ("exact_match", 0.0, 0.925)
    assert (body["model"], body["objective"], body["tuner"]) == ("nowhere", "chat", "lora")


@pytest.mark.parametrize("story", ["better", "failed"])
def test_the_message_holds_no_row_no_path_and_no_address(story: str) -> None:
    with hook() as served:
        run = told(f"{served.url}/secret-path", story)
        messages.send(run.folder)
    sent = json.dumps(served.received[0][2])
    rows = json.loads((run.folder / "examples.jsonl").read_text(encoding="utf-8").splitlines()[0])
    hidden = [rows["messages"][0]["content"], *outcomes.LABELS, str(run.folder.parent), "secret-path", "/nowhere"]
    assert not [text for text in hidden if text in sent]


@pytest.mark.parametrize(("statuses", "tries"), [((500, 429, 200), 3), ((503,), 3), ((404,), 1), ((302,), 1)])
def test_what_may_pass_is_tried_again_and_no_more_than_thrice(
    statuses: tuple[int, ...], tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "SECONDS_BETWEEN_TRIES", 0.01)
    with hook(*statuses) as served:
        run = told(served.url, "better")
        messages.send(run.folder)
    assert len(served.received) == tries
    last = run.last_events()[-1]
    assert isinstance(last, Notice)
    assert (last.level == "info") == (statuses[-1] == 200)


def test_a_run_without_a_webhook_says_nothing() -> None:
    run = outcomes.told(outcomes.STORIES["better"])
    before = (run.folder / "events.jsonl").stat().st_size
    messages.send(run.folder)
    assert (run.folder / "events.jsonl").stat().st_size == before


def test_a_visitors_run_reaches_nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with hook() as served:
        run = told(served.url, "better")
        record: dict[str, Any] = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
        (run.folder / "run.json").write_text(json.dumps({**record, "owner": "visitor"}), encoding="utf-8")
        messages.send(run.folder)
        assert served.received == []
    assert "127.0.0.1 lies in a private network." in texts(run)[-1]


def test_a_visitors_run_with_such_a_webhook_is_not_even_made() -> None:
    from engine.errors import SettingError

    with pytest.raises(SettingError, match="private network"):
        hooked("http://127.0.0.1:8080/", owner="visitor")
    assert store.listed() == []


def test_a_run_whose_folder_is_gone_is_told_to_nobody(tmp_path: Path) -> None:
    messages.send(tmp_path / "20260101-000000-abcdefgh")
