"""What the page's scripts get: small, and only what is new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from engine.data.prepare import Prepared
from engine.events import Evaluation, Finished, Notice, Progress, Writer
from engine.runs import store
from engine.teachers import keys
from tests.fakes import outcomes, runs
from ui import feed


def client() -> TestClient:
    return TestClient(Starlette(routes=feed.routes()))


def made(owner: str = "local") -> store.Run:
    spec = runs.spec(Path("/nowhere"), "chat", "lora")
    return store.create(spec, Prepared(runs.examples("messages"), [], [], []), owner)


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
    assert [step for step, _ in second["steps"]] == [2]
    assert third["steps"] == third["events"] == [] and "now" not in third


def test_a_fit_is_told_without_losses() -> None:
    spec = runs.spec(Path("/nowhere"), "classify", "head")
    run, asked = store.create(spec, Prepared(runs.examples("labelled"), [], [], [])), client()
    with Writer(run.folder / "events.jsonl") as writer:
        assert asked.get(f"/tunesmith/runs/{run.id}/feed").json()["fits"]
        writer.write(Progress(7, 31, memory_bytes=790_000_000, seconds=3.0))
    found = asked.get(f"/tunesmith/runs/{run.id}/feed").json()
    assert found["steps"] == [] and (found["now"]["step"], found["now"]["total_steps"]) == (7, 31)
    assert "fits" not in asked.get(f"/tunesmith/runs/{made().id}/feed").json()


def test_a_live_page_costs_less_than_a_kilobyte_a_second() -> None:
    run, asked = made(), client()
    with Writer(run.folder / "events.jsonl") as writer:
        for step in range(1, 10_001):
            writer.write(progress(step))
        offset = asked.get(f"/tunesmith/runs/{run.id}/feed").json()["offset"]
        for step in range(10_001, 10_101):
            writer.write(progress(step))
    answer = asked.get(f"/tunesmith/runs/{run.id}/feed?offset={offset}")
    assert len(answer.content) < 1000
    assert answer.json()["now"]["step"] == 10_100


def test_a_long_run_is_thinned_when_it_is_opened_and_keeps_its_ends() -> None:
    run = made()
    with Writer(run.folder / "events.jsonl") as writer:
        for step in range(1, 10_001):
            writer.write(progress(step))
            writer.write(Notice(f"line {step}"))
    found = feed.delta(run, 0)
    steps, others = feed.AT_FIRST
    assert len(found["steps"]) <= steps and len(found["events"]) == others
    assert found["steps"][-1][0] == 10_000
    assert found["left_out"] == 10_000 - others
    assert len(json.dumps(found)) < 60_000


def test_checks_of_the_held_out_loss_are_kept_from_the_beginning_on() -> None:
    run = made()
    with Writer(run.folder / "events.jsonl") as writer:
        for step in range(1, 1001):
            writer.write(Notice(f"line {step}"))
            if step % 250 == 0:
                writer.write(Evaluation(step, {"loss": 1.0}))
    kept = [event["step"] for event in feed.delta(run, 0)["events"] if event["type"] == "evaluation"]
    assert kept == [250, 500, 750, 1000]


def test_what_was_missed_for_long_is_brought_as_at_first() -> None:
    run = made()
    with Writer(run.folder / "events.jsonl") as writer:
        writer.write(progress(1))
        offset = feed.delta(run, 0)["offset"]
        for step in range(2, 1001):
            writer.write(progress(step))
    assert len(feed.delta(run, offset)["steps"]) > feed.AT_ONCE[0]


@pytest.mark.parametrize("offset", ["-1", "x", "9" * 40, "²"])
def test_an_offset_that_is_none_begins_at_the_beginning(offset: str) -> None:
    run = made()
    with Writer(run.folder / "events.jsonl") as writer:
        writer.write(Notice("hello"))
    assert len(client().get(f"/tunesmith/runs/{run.id}/feed?offset={offset}").json()["events"]) == 1


def finished(run: store.Run) -> store.Run:
    (run.folder / "scores").mkdir()
    for name, answers in (("before", "xxx"), ("after", ["a", "b", "wrong"])):
        rows = [
            {"row": i, "prompt": f"p{i}", "expected": "abc"[i], "answer": answers[i], "loss": 0.5}
            | {"score": float(answers[i] == "abc"[i])}
            for i in range(3)
        ]
        (run.folder / "scores" / f"{name}.json").write_text(json.dumps({"main": "exact_match", "rows": rows}))
    with Writer(run.folder / "events.jsonl") as writer:
        writer.write(Finished({"main": "exact_match", "after": {"exact_match": 0.7}}, 1, 2, 3.0, 4, 5))
    with store.index() as rows:
        rows.execute("UPDATE runs SET state = 'finished' WHERE id = ?", (run.id,))
    return store.get(run.id)


def asked_about(run: store.Run) -> dict[str, Any]:
    found: dict[str, Any] = client().get(f"/tunesmith/runs/{run.id}").json()
    return found


def test_a_finished_run_is_told_with_its_figures_its_verdict_and_advice() -> None:
    found = asked_about(outcomes.told(outcomes.STORIES["overfitted"]))
    assert found["result"]["talks"] and found["result"]["measures"]["exact_match"]["title"] == "Exact match"
    assert found["verdict"]["headline"] == "Exact match rose from 0.0 % to 75.0 %"
    assert found["verdict"]["rows"]["counts"] == {"better": 30, "worse": 0, "still_wrong": 10, "right": 0}
    assert found["verdict"]["advice"][0]["changes"] == {"training.epochs": 5.0, "evaluation.early_stopping": 2}


def test_a_failed_run_has_a_verdict_and_no_result() -> None:
    found = asked_about(outcomes.told(outcomes.STORIES["failed"]))
    assert found["result"] is None and found["verdict"]["kinds"] == ["diverged", "failed"]


def test_a_run_on_its_way_has_neither() -> None:
    found = asked_about(made())
    assert found["result"] is None and found["verdict"] is None


def test_a_run_whose_settings_are_damaged_is_shown_without_a_verdict() -> None:
    run = outcomes.told(outcomes.STORIES["better"])
    (run.folder / "spec.yaml").write_text("model: [", encoding="utf-8")
    found = asked_about(run)
    assert found["verdict"] is None and found["result"]["metrics"]["rows"] == 40


def test_the_script_of_a_run_is_given_as_text() -> None:
    run = outcomes.told(outcomes.STORIES["better"])
    assert client().get(f"/tunesmith/runs/{run.id}/download/source").status_code == 404
    (run.folder / "model").mkdir()
    (run.folder / "model" / "train.py").write_text("print(1)\n", encoding="utf-8")
    answer = client().get(f"/tunesmith/runs/{run.id}/download/source")
    assert answer.text == "print(1)\n" and answer.headers["content-type"].startswith("text/plain")


def test_the_list_of_runs_is_the_owners() -> None:
    mine = made()
    made("somebody")
    assert [run["id"] for run in client().get("/tunesmith/runs").json()] == [mine.id]


def test_the_list_of_runs_tells_a_score_as_soon_as_there_is_one() -> None:
    run, asked = made(), client()
    assert asked.get("/tunesmith/runs").json()[0]["after"] is None
    finished(run)
    assert asked.get("/tunesmith/runs").json()[0]["after"] == 0.7


def test_the_settings_of_a_run_are_given_as_yaml() -> None:
    answer = client().get(f"/tunesmith/runs/{made().id}/download/spec")
    assert answer.status_code == 200 and "version: 1" in answer.text


def test_a_download_of_a_result_that_is_not_there_says_so() -> None:
    answer = client().get(f"/tunesmith/runs/{made().id}/download/zip")
    assert answer.status_code == 404 and "no result yet" in answer.json()["problem"]


def test_a_run_that_turns_to_a_service_says_so_and_takes_its_key_when_it_is_resumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective = {"name": "imitate-service", "service": "http://127.0.0.1:9/v1", "model": "large"}
    run = store.create(
        runs.spec(Path("/nowhere"), objective, "lora"), Prepared(runs.examples("messages"), [], [], []), "local"
    )
    monkeypatch.setattr(feed.limits.queue, "resume", lambda run: None)
    asked = client()
    assert asked.get(f"/tunesmith/runs/{run.id}").json()["service"] == "127.0.0.1"
    assert asked.get(f"/tunesmith/runs/{made().id}").json()["service"] is None
    assert asked.post(f"/tunesmith/runs/{run.id}/resume", json={"key": "sk-typed-12345"}).json() == {"done": True}
    assert keys.environment(run.folder) == {keys.VARIABLE: "sk-typed-12345"}
    assert asked.post(f"/tunesmith/runs/{run.id}/resume", json={"key": "two words"}).status_code == 422
    store.delete(run)
    assert keys.environment(run.folder) == {}
