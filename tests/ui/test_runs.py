"""The routes of the Runs view: the owner's runs alone, found, sorted and deleted; notes, presets, comparisons."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from engine.runs import store
from engine.specs import presets
from tests.fakes import outcomes, runs
from tests.fakes.living import prepared
from tests.fakes.outcomes import STORIES
from ui import feed, history, owner, prefill

FOREIGN = "visitor"


@pytest.fixture
def client() -> TestClient:
    return TestClient(Starlette(routes=[*history.routes(), *feed.routes()]))


def made(name: str = "", who: str = "local", state: str = "") -> store.Run:
    run = store.create(replace(runs.spec(Path("/nowhere"), "chat", "lora"), name=name), prepared(), who)
    if state:
        with store.index() as rows:
            rows.execute("UPDATE runs SET state = ? WHERE id = ?", (state, run.id))
    return store.get(run.id)


def named(answer: Any) -> list[str]:
    return [run["name"] for run in answer.json()["runs"]]


def test_the_list_is_the_owners_alone(client: TestClient) -> None:
    made("mine")
    theirs = made("theirs", FOREIGN)
    found = client.get("/tunesmith/history").json()
    assert [run["name"] for run in found["runs"]] == ["mine"] and found["total"] == 1
    assert client.get(f"/tunesmith/history?of={theirs.id}").json()["runs"] == []


def test_runs_are_found_by_words_state_and_tag(client: TestClient) -> None:
    store.annotate(made("bank"), note="the rare labels", tags=["Paper"])
    made("poems", state="failed")
    assert named(client.get("/tunesmith/history?search=RARE")) == ["bank"]
    assert named(client.get("/tunesmith/history?state=failed")) == ["poems"]
    assert named(client.get("/tunesmith/history?tag=paper")) == ["bank"]
    found = client.get("/tunesmith/history?search=nothing+like+it").json()
    assert (found["runs"], found["found"], found["total"], found["tags"]) == ([], 0, 2, ["Paper"])
    assert found["states"] == {"created": 1, "failed": 1}


def test_runs_without_the_figure_stand_last_whichever_way_they_are_sorted(client: TestClient) -> None:
    for name in ("better", "overfitted", "stopped"):
        outcomes.told(replace(STORIES[name], name=name, rows=8, validation=4))
    assert named(client.get("/tunesmith/history?sort=after&order=desc")) == ["better", "overfitted", "stopped"]
    assert named(client.get("/tunesmith/history?sort=after&order=asc")) == ["overfitted", "better", "stopped"]
    assert named(client.get("/tunesmith/history?sort=name&order=desc")) == ["stopped", "overfitted", "better"]
    for column in history.SORTS:
        assert client.get(f"/tunesmith/history?sort={column}").status_code == 200
    assert client.get("/tunesmith/history?sort=folder").status_code == 422


def test_many_runs_come_page_by_page_and_a_page_beyond_the_last_is_the_last(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PAGE", 2)
    for name in "abc":
        made(name)
    assert named(client.get("/tunesmith/history?page=1")) == ["a"]
    found = client.get("/tunesmith/history?page=999").json()
    assert (found["page"], found["pages"]) == (1, 2)
    for page in ("-1", "x", "9" * 30, "²"):
        assert client.get(f"/tunesmith/history?page={page}").json()["page"] == 0


def test_a_thousand_runs_are_listed_and_sorted_within_a_second(client: TestClient) -> None:
    told = outcomes.told(replace(STORIES["better"], name="one", rows=8, validation=4))
    with store.index() as rows:
        for number in range(1000):
            run_id = f"20260101-{number:06d}-abcdefgh"
            (told.folder.parent / run_id).symlink_to(told.folder, target_is_directory=True)
            rows.execute(
                "INSERT INTO runs (id, owner, name, created, state, about) SELECT ?, owner, ?, ?, state, about FROM runs "
                "WHERE id = ?",
                (run_id, f"run {number}", float(number), told.id),
            )
    client.get("/tunesmith/history?sort=after")
    began = time.process_time()  # of this process alone: others may keep the machine busy
    answer = client.get("/tunesmith/history?sort=after&search=run")
    assert time.process_time() - began < 1.0
    assert answer.json()["found"] == 1000 and len(answer.content) < 40_000
    assert len(client.get("/tunesmith/runs").json()) == feed.MOST_IN_RAIL


def test_the_list_beside_the_page_keeps_old_runs_that_are_at_work(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_IN_RAIL", 1)
    working, _, newest = made("working", state="running"), made("old"), made("newest")
    assert [run["id"] for run in client.get("/tunesmith/runs").json()] == [newest.id, working.id]


def test_a_list_that_did_not_change_is_not_sent_again(client: TestClient) -> None:
    run = made("one")
    tag = client.get("/tunesmith/runs").headers["etag"]
    again = client.get("/tunesmith/runs", headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    store.rename(run, "two")
    assert client.get("/tunesmith/runs", headers={"if-none-match": tag}).status_code == 200


def test_a_look_in_passing_brings_those_asked_for_and_tells_when_the_list_is_another(client: TestClient) -> None:
    first, _ = made("one", state="running"), made("two")
    mark = client.get("/tunesmith/history").json()["mark"]
    news = client.get(f"/tunesmith/history?of={first.id}").json()
    assert ([run["name"] for run in news["runs"]], news["mark"]) == (["one"], mark)
    store.annotate(first, tags=["new"])
    assert client.get("/tunesmith/history?of=").json()["mark"] != mark


def test_several_runs_are_deleted_and_one_that_can_not_be_is_told(client: TestClient) -> None:
    gone, working, theirs = made("gone"), made("working", state="running"), made("theirs", FOREIGN)
    ids = [gone.id, working.id, theirs.id, "../etc"]
    answer = client.post("/tunesmith/history/delete", json={"runs": ids}).json()
    assert answer["deleted"] == 1 and [kept["id"] for kept in answer["kept"]] == ids[1:]
    assert answer["kept"][0]["fix"] == "Stop it first, then delete it."
    assert {run.id for run in store.listed()} == {working.id, theirs.id}


def test_what_is_said_of_a_run_is_kept_and_shown(client: TestClient) -> None:
    run = made("one")
    said = {"name": "two", "note": "<b>bold</b>", "tags": ["x", " x ", "y"]}
    answer = client.post(f"/tunesmith/runs/{run.id}/said", json=said).json()
    assert answer == {"name": "two", "note": "<b>bold</b>", "tags": ["x", "y"]}
    assert client.get(f"/tunesmith/runs/{run.id}").json()["summary"]["tags"] == ["x", "y"]


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b"x" * 50_000,
        b'{"name": 3}',
        b'{"tags": "one"}',
        b'{"tags": [1]}',
        b'{"name": ""}',
        b'{"note": {}}',
    ],
)
def test_what_is_no_note_is_refused_and_changes_nothing(client: TestClient, body: bytes) -> None:
    run = made("one")
    answer = client.post(f"/tunesmith/runs/{run.id}/said", content=body)
    assert answer.status_code == 422 and answer.json()["fix"]
    assert store.get(run.id) == run


def test_runs_of_others_can_be_neither_named_nor_saved_nor_compared(client: TestClient) -> None:
    mine, theirs = made("mine"), made("theirs", FOREIGN)
    assert client.post(f"/tunesmith/runs/{theirs.id}/said", json={"name": "x"}).status_code == 404
    assert client.post(f"/tunesmith/runs/{theirs.id}/preset", json={"name": "x"}).status_code == 404
    assert client.get(f"/tunesmith/compare?runs={mine.id},{theirs.id}").status_code == 404
    assert store.get(theirs.id).name == "theirs" and presets.listed("local") == []


def test_two_runs_are_compared(client: TestClient) -> None:
    a, b = outcomes.told(STORIES["better"]), outcomes.told(STORIES["overfitted"])
    found = client.get(f"/tunesmith/compare?runs={a.id},{b.id}").json()
    assert "A does better" in found["sentence"] and found["counts"]["A"] == 7
    for wrong in ("", a.id, f"{a.id},{a.id}", f"{a.id},{b.id},{a.id}"):
        assert client.get(f"/tunesmith/compare?runs={wrong}").status_code == 422


@pytest.fixture
def preset(client: TestClient) -> Iterator[str]:
    run = made("one")
    assert client.post(f"/tunesmith/runs/{run.id}/preset", json={"name": "Quick try"}).status_code == 200
    yield "Quick try"


def test_a_runs_settings_become_a_preset_that_opens_the_form(client: TestClient, preset: str) -> None:
    (found,) = client.get("/tunesmith/presets").json()
    assert (found["name"], found["objective"], found["tuner"]) == (preset, "chat", "lora")
    opened = prefill.asked("?preset=Quick%20try")
    assert isinstance(opened, prefill.Prefill)
    assert (opened.spec["training"]["max_steps"], opened.has_data) == (4, False)


def test_a_preset_is_its_owners_alone(client: TestClient, preset: str) -> None:
    with owner.acting(FOREIGN):
        told = prefill.asked("?preset=Quick%20try")
    assert isinstance(told, str) and "There is no preset" in told


def test_a_preset_is_deleted(client: TestClient, preset: str) -> None:
    assert client.post("/tunesmith/presets/delete", json={"name": preset}).status_code == 200
    assert client.get("/tunesmith/presets").json() == []
    again = client.post("/tunesmith/presets/delete", json={"name": "../../local/Quick try"})
    assert again.status_code == 422 and "There is no preset" in json.dumps(again.json())
