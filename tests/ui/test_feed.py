"""What the page's scripts get: small, and only what is new."""

from __future__ import annotations

import json
from pathlib import Path

from starlette.applications import Starlette
from starlette.testclient import TestClient

from engine.data.prepare import Prepared
from engine.events import Evaluation, Finished, Notice, Progress, Writer
from engine.runs import store
from tests.fakes import runs
from ui import feed


def client() -> TestClient:
    return TestClient(Starlette(routes=feed.routes()))


def made() -> store.Run:
    spec = runs.spec(Path("/nowhere"), "chat", "lora")
    return store.create(spec, Prepared(runs.examples("messages"), [], [], []))


def progress(step: int) -> Progress:
    return Progress(step, 10_000, 0.5, 2.0 - step / 9_000, 2e-4, 0.7, 12_345.6, 3_000_000_000, step * 0.3)


def test_a_second_look_brings_only_what_is_new() -> None:
    run, asked = made(), client()
    with Writer(run.folder / "events.jsonl") as writer:
        writer.write(progress(1))
        first = asked.get(f"/tunesmith/runs/{run.id}/feed").json()
        writer.write(progress(2))
        second = asked.get(f"/tunesmith/runs/{run.id}/feed?offset={first['offset']}").json()
        third = asked.get(f"/tunesmith/runs/{run.id}/feed?offset={second['offset']}").json()
    assert [event["step"] for event in second["events"]] == [2]
    assert third["events"] == []


def test_a_live_page_costs_less_than_two_kilobytes_a_second() -> None:
    run, asked = made(), client()
    with Writer(run.folder / "events.jsonl") as writer:
        for step in range(1, 10_001):
            writer.write(progress(step))
        offset = asked.get(f"/tunesmith/runs/{run.id}/feed").json()["offset"]
        for step in (10_001, 10_002):  # a run writes at most two a second
            writer.write(progress(step))
    answer = asked.get(f"/tunesmith/runs/{run.id}/feed?offset={offset}")
    assert len(answer.content) < 1000


def test_a_long_run_is_thinned_when_it_is_opened_and_keeps_its_ends() -> None:
    run = made()
    with Writer(run.folder / "events.jsonl") as writer:
        for step in range(1, 10_001):
            writer.write(progress(step))
            writer.write(Notice(f"line {step}"))
        writer.write(Evaluation(10_000, {"loss": 1.0}))
    answer = client().get(f"/tunesmith/runs/{run.id}/feed")
    events = answer.json()["events"]
    assert len(events) <= feed.MOST_POINTS + feed.MOST_LINES
    assert events[-1]["type"] == "evaluation"
    assert max(event["step"] for event in events if event["type"] == "progress") == 10_000
    assert len(answer.content) < 150_000


def test_an_offset_that_is_none_begins_at_the_beginning() -> None:
    run = made()
    with Writer(run.folder / "events.jsonl") as writer:
        writer.write(Notice("hello"))
    for offset in ("-1", "x", "9" * 40):
        assert len(client().get(f"/tunesmith/runs/{run.id}/feed?offset={offset}").json()["events"]) == 1


def test_a_result_names_the_rows_that_got_worst_and_best() -> None:
    run = made()
    (run.folder / "scores").mkdir()
    for name, answers in (("before", ["x", "x", "x"]), ("after", ["a", "b", "wrong"])):
        rows = [
            {
                "row": i,
                "prompt": f"p{i}",
                "expected": "abc"[i],
                "answer": answers[i],
                "score": float(answers[i] == "abc"[i]),
                "loss": 0.5,
            }
            for i in range(3)
        ]
        (run.folder / "scores" / f"{name}.json").write_text(
            json.dumps({"main": "exact_match", "metrics": {}, "rows": rows})
        )
    with Writer(run.folder / "events.jsonl") as writer:
        writer.write(Finished({"main": "exact_match"}, 1, 2, 3.0, 4, 5))
    with store.index() as rows:
        rows.execute("UPDATE runs SET state = 'finished'")
    found = feed.result(store.get(run.id))
    assert found is not None and found["talks"]
    assert [(row["row"], row["was"]) for row in found["worst"]] == [(2, "x")]
    assert {row["row"] for row in found["best"]} == {0, 1}


def test_the_list_of_runs_is_the_owners() -> None:
    mine = made()
    spec = runs.spec(Path("/nowhere"), "chat", "lora")
    store.create(spec, Prepared(runs.examples("messages"), [], [], []), "somebody")
    assert [run["id"] for run in client().get("/tunesmith/runs").json()] == [mine.id]
