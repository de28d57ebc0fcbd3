"""A run at a glance."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.events import Failed, Finished, Notice, Progress, Writer
from engine.runs import store, view
from tests.fakes.living import made


def told(run: store.Run, *events: object, state: str = "running") -> dict[str, object]:
    with Writer(run.folder / "events.jsonl") as writer:
        for event in events:
            writer.write(event)  # type: ignore[arg-type]
    return view.summary(replace(run, state=state))


def step(number: int, seconds: float, **more: float) -> Progress:
    return Progress(number, 100, loss=2.0 / number, tokens_per_second=500.0, memory_bytes=7, seconds=seconds, **more)


def test_a_run_that_told_nothing_is_shown_without_figures() -> None:
    found = view.summary(made("finish"))
    assert found["state"] == "created" and found["step"] is found["percent"] is found["eta_seconds"] is None


def test_a_running_run_is_shown_with_its_newest_figures() -> None:
    found = told(made("wait"), step(1, 1.0), step(4, 8.0), Notice("saved"))
    assert (found["step"], found["total_steps"], found["percent"], found["seconds"]) == (4, 100, 4.0, 8.0)
    assert (found["loss"], found["tokens_per_second"], found["memory_bytes"]) == (0.5, 500.0, 7)


def test_the_time_left_follows_the_latest_pace() -> None:
    assert told(made("wait"), step(10, 100.0), step(20, 110.0))["eta_seconds"] == 80.0


def test_the_time_left_does_not_count_steps_that_were_made_twice() -> None:
    found = told(made("wait"), step(10, 10.0), step(40, 40.0), step(30, 30.0), step(40, 60.0))
    assert found["eta_seconds"] == 180.0


def test_a_single_figure_gives_a_time_left_too() -> None:
    assert told(made("wait"), step(10, 20.0))["eta_seconds"] == 180.0


@pytest.mark.parametrize("state", ["stopped", "queued", "failed"])
def test_a_run_that_stands_still_has_no_time_left(state: str) -> None:
    assert told(made("wait"), step(10, 20.0), state=state)["eta_seconds"] is None


def test_the_last_step_is_found_behind_a_long_scoring() -> None:
    scoring = [Progress(row, 2000, phase="score after", memory_bytes=7) for row in range(2000)]
    found = told(made("wait"), step(100, 50.0), *scoring)
    assert (found["step"], found["phase"], found["phase_done"], found["phase_total"]) == (
        100,
        "score after",
        1999,
        2000,
    )


def test_a_finished_run_is_shown_with_its_scores() -> None:
    metrics = {"main": "accuracy", "before": {"accuracy": 0.1}, "after": {"accuracy": 0.9}}
    found = told(made("finish"), step(100, 50.0), Finished(metrics, 1, 2, 51.0, 9, 10), state="finished")
    assert (found["main"], found["before"], found["after"]) == ("accuracy", 0.1, 0.9)
    assert (found["seconds"], found["memory_bytes"], found["artifact_bytes"]) == (51.0, 9, 10)


def test_a_run_without_held_out_rows_has_no_scores() -> None:
    metrics = {"main": "accuracy", "before": None, "after": None}
    found = told(made("finish"), Finished(metrics, 1, 2, 51.0, 9, 10), state="finished")
    assert found["before"] is found["after"] is None


def test_a_failed_run_says_why_and_a_resumed_one_no_longer_does() -> None:
    run = made("finish")
    assert told(run, Failed("The disk is full.", "Make room."), state="failed")["problem"] == "The disk is full."
    assert told(run, Notice("Resumed."))["problem"] is None


def test_new_events_are_seen_at_once() -> None:
    run = made("wait")
    assert [told(run, step(number, float(number)))["step"] for number in range(1, 20)] == list(range(1, 20))
