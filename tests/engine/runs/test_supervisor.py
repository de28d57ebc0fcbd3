"""What a supervisor makes of its worker's end."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from engine.files import read_json, write_json
from engine.runs import process, queue, store, supervisor, view, worker
from tests.fakes.living import attempts, comes_to, made, texts


def test_a_run_that_keeps_dying_without_progress_fails_with_a_reason() -> None:
    run = made("kill")
    queue.start(run)
    comes_to(run, "failed")
    assert attempts(run) == 4
    assert "most likely because the machine ran out of memory" in texts(run)[-1]


def test_a_run_that_dies_but_gets_on_is_not_given_up() -> None:
    run = made(*["checkpoint-kill"] * 6, "finish")
    queue.start(run)
    comes_to(run, "finished")
    assert attempts(run) == 7


def test_memory_that_runs_out_halves_the_rows_at_a_time_and_says_so() -> None:
    run = made("oom", "oom", "finish")
    queue.start(run)
    comes_to(run, "finished")
    assert read_json(run.folder / "attempt.json") == {"micro_batch": 1}
    assert any("with 4 rows at a time" in text and "with 2" in text for text in texts(run))


def test_memory_that_runs_out_with_one_row_fails_with_what_to_do() -> None:
    run = made("oom")
    queue.start(run)
    comes_to(run, "failed")
    assert texts(run)[-1] == "Memory ran out with a single row at a time."


def test_rows_are_halved_from_the_last_attempt_where_this_one_made_no_plan(tmp_path: Path) -> None:
    write_json(tmp_path / "plan.json", {"micro_batch": 8})
    found = []
    while supervisor._halved(tmp_path):
        found.append((read_json(tmp_path / "attempt.json") or {})["micro_batch"])
    assert found == [4, 2, 1]


def test_a_worker_that_the_system_ended_for_want_of_memory_has_run_out_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orders.json").write_text(json.dumps(["kill"]), encoding="utf-8")
    kills = iter([3, 4])
    monkeypatch.setattr(process, "memory_kills", lambda: next(kills))
    assert supervisor._worked(tmp_path) == worker.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ("disk-full", "The disk is full."),
        ("user-error", "Row 17 has no answer."),
        ("crash", "The run broke (exit code 1): ValueError: something nobody thought of"),
        ("mute", "The run broke (exit code 1): it left no message"),
    ],
)
def test_a_run_that_can_not_go_on_fails_once_and_says_why(order: str, problem: str) -> None:
    run = made(order)
    queue.start(run)
    comes_to(run, "failed")
    assert attempts(run) == 1
    assert view.summary(store.get(run.id))["problem"] == problem


def test_half_a_checkpoint_that_filled_the_disk_is_removed() -> None:
    run = made("disk-full")
    queue.start(run)
    comes_to(run, "failed")
    assert not list((run.folder / "checkpoints").iterdir())


def test_a_failure_before_the_first_word_is_not_taken_for_the_one_before() -> None:
    run = made("user-error", "mute")
    queue.start(run)
    comes_to(run, "failed")
    queue.resume(run)
    comes_to(run, "failed")
    assert "The run broke" in texts(run)[-1]


def test_a_worker_that_prints_a_lot_is_not_held_up() -> None:
    run = made("flood")
    queue.start(run)
    comes_to(run, "finished")
    assert (run.folder / "worker.log").stat().st_size > 300_000


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_what_the_processes_write_is_for_their_owner_alone() -> None:
    run = made("finish")
    queue.start(run)
    comes_to(run, "finished")
    for name in ("events.jsonl", "exit.json", "plan.json"):
        assert (run.folder / name).stat().st_mode & 0o077 == 0, name


def test_nothing_that_was_started_gets_a_secret_on_its_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    real = subprocess.Popen

    def noting(command: list[str], **arguments: object) -> subprocess.Popen[bytes]:
        given.append(command)
        return real(command, **arguments)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(subprocess, "Popen", noting)
    run = made("finish")
    queue.start(run)
    comes_to(run, "finished")
    assert given and not any("hf_secret" in word for command in given for word in command)
    assert not any(b"hf_secret" in file.read_bytes() for file in run.folder.rglob("*") if file.is_file())
