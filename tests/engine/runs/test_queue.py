"""Runs, their queue and their supervisors, with real processes and a fake worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import home
from engine.data.prepare import Prepared
from engine.errors import DataError, RunError
from engine.files import read_json
from engine.home import CHECKOUT
from engine.runs import process, queue, store
from tests.fakes import runs

SECONDS_AT_MOST = 40


@pytest.fixture(autouse=True)
def _fake_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TUNESMITH_WORKER", json.dumps([sys.executable, "-m", "tests.fakes.worker"]))
    yield
    for child in queue._children:
        if child.poll() is None:
            child.kill()
        child.wait()
    queue._children.clear()


def made(*orders: str, owner: str = "local", name: str = "") -> store.Run:
    spec = runs.spec(Path("/nowhere"), "chat", "lora")
    run = store.create(spec, Prepared(runs.examples("messages"), [], [], []), owner)
    (run.folder / "orders.json").write_text(json.dumps(orders), encoding="utf-8")
    if name:
        store.rename(run, name)
    return run


def until(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS_AT_MOST
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def comes_to(run: store.Run, state: str) -> None:
    seen = []

    def reached() -> bool:
        queue.reconcile()
        seen.append(store.get(run.id).state)
        return seen[-1] == state

    try:
        until(reached)
    except AssertionError:
        raise AssertionError(f"{run.id} went {list(dict.fromkeys(seen))}, not to {state}: {texts(run)}") from None


def texts(run: store.Run) -> list[str]:
    return [getattr(event, "text", None) or getattr(event, "problem", "") for event in run.events(0)[0]]


def worker_of(run: store.Run) -> dict[str, Any]:
    return until(lambda: (known := read_json(run.folder / "worker.json")) and process.alive(known) and known)


def attempts(run: store.Run) -> int:
    path = run.folder / "attempts"
    return len(path.read_text(encoding="utf-8")) if path.exists() else 0


def test_a_run_goes_from_the_queue_to_its_end() -> None:
    run = made("finish")
    assert store.get(run.id).state == "created"
    queue.start(run)
    comes_to(run, "finished")
    assert read_json(run.folder / "exit.json")["outcome"] == "finished"  # type: ignore[index]


def test_a_second_run_waits_until_the_first_has_ended() -> None:
    first, second = made("wait"), made("finish")
    queue.start(first)
    queue.start(second)
    worker_of(first)
    assert store.get(second.id).state == "queued"
    queue.stop(first)
    comes_to(second, "finished")
    assert store.get(first.id).state == "stopped"


def test_two_runs_go_at_once_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_PARALLEL", "2")
    first, second = made("wait"), made("wait")
    queue.start(first)
    queue.start(second)
    assert [store.get(run.id).state for run in (first, second)] == ["running", "running"]
    for run in (first, second):
        worker_of(run)
        queue.stop(run)
        comes_to(run, "stopped")


def test_a_stopped_run_resumes_from_its_checkpoint() -> None:
    run = made("wait", "finish")
    queue.start(run)
    worker_of(run)
    queue.stop(run)
    comes_to(run, "stopped")
    assert not queue._children or attempts(run) == 1
    queue.resume(run)
    comes_to(run, "finished")
    assert attempts(run) == 2


def test_a_queued_run_that_is_stopped_never_starts() -> None:
    first, second = made("wait"), made("finish")
    queue.start(first)
    queue.start(second)
    queue.stop(second)
    worker_of(first)
    queue.stop(first)
    comes_to(first, "stopped")
    assert store.get(second.id).state == "stopped" and attempts(second) == 0


def test_a_run_that_does_not_heed_the_stop_can_be_ended_by_force() -> None:
    run = made("wait")
    queue.start(run)
    known = worker_of(run)
    os.kill(known["pid"], signal.SIGSTOP)  # hangs
    queue.stop(run)
    queue.stop(run, force=True)
    comes_to(run, "stopped")


def test_a_killed_worker_is_started_again_from_its_newest_checkpoint() -> None:
    run = made("wait-checkpoints", "finish")
    queue.start(run)
    known = worker_of(run)
    until(lambda: (run.folder / "checkpoints" / "step-3" / "manifest.json").exists())
    os.kill(known["pid"], signal.SIGKILL)
    comes_to(run, "finished")
    assert any("ended by SIGKILL; it goes on from step" in text for text in texts(run))


def test_a_worker_whose_supervisor_was_killed_works_on_and_its_end_is_seen() -> None:
    run = made("wait", "finish")
    queue.start(run)
    known = worker_of(run)
    os.kill(read_json(run.folder / "supervisor.json")["pid"], signal.SIGKILL)  # type: ignore[index]
    queue.reconcile()
    assert store.get(run.id).state == "running" and process.alive(known)
    (run.folder / "stop").touch()
    comes_to(run, "stopped")


def test_a_run_whose_supervisor_and_worker_were_killed_is_taken_up_again() -> None:
    run = made("wait-checkpoints", "finish")
    queue.start(run)
    known = worker_of(run)
    until(lambda: (run.folder / "checkpoints" / "step-2" / "manifest.json").exists())
    os.kill(read_json(run.folder / "supervisor.json")["pid"], signal.SIGKILL)  # type: ignore[index]
    os.kill(known["pid"], signal.SIGKILL)
    comes_to(run, "finished")
    assert any("taken up again" in text for text in texts(run))


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


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ("disk-full", "The disk is full."),
        ("user-error", "Row 17 has no answer."),
        ("crash", "something nobody thought of"),
    ],
)
def test_a_run_that_can_not_go_on_fails_once_and_says_why(order: str, problem: str) -> None:
    run = made(order)
    queue.start(run)
    comes_to(run, "failed")
    assert attempts(run) == 1
    assert problem in texts(run)[-1]


def test_a_worker_that_prints_a_lot_is_not_held_up() -> None:
    run = made("flood")
    queue.start(run)
    comes_to(run, "finished")
    assert (run.folder / "worker.log").stat().st_size > 300_000


RECONCILE = "from engine.runs import queue; queue.reconcile()"


def test_two_servers_that_find_a_dead_run_start_it_once() -> None:
    run = made("wait-checkpoints", "wait")
    queue.start(run)
    known = worker_of(run)
    until(lambda: attempts(run) == 1)
    os.kill(read_json(run.folder / "supervisor.json")["pid"], signal.SIGKILL)  # type: ignore[index]
    os.kill(known["pid"], signal.SIGKILL)
    until(lambda: not process.alive(known))
    servers = [subprocess.Popen([sys.executable, "-c", RECONCILE], cwd=CHECKOUT) for _ in range(2)]
    assert [server.wait(SECONDS_AT_MOST) for server in servers] == [0, 0]
    until(lambda: attempts(run) == 2)
    queue.stop(run)
    comes_to(run, "stopped")
    assert attempts(run) == 2


def test_an_index_that_was_lost_is_made_again_from_the_folders() -> None:
    run = made("finish", name="kept name")
    queue.start(run)
    comes_to(run, "finished")
    for file in home.runs().glob("index.sqlite*"):
        file.unlink()
    again = store.get(run.id)
    assert (again.state, again.name, again.owner) == ("finished", "kept name", "local")


def test_a_damaged_index_is_set_aside_and_made_again() -> None:
    run = made("finish")
    for file in home.runs().glob("index.sqlite*"):
        file.unlink()
    (home.runs() / "index.sqlite").write_bytes(b"this is no database " * 100)
    assert store.get(run.id).state == "created"
    assert list(home.runs().glob("*damaged*"))


def test_a_damaged_exit_file_does_not_hide_what_the_events_say() -> None:
    run = made("finish")
    queue.start(run)
    comes_to(run, "finished")
    (run.folder / "exit.json").write_text("{cut", encoding="utf-8")
    with store.index() as rows:
        rows.execute("UPDATE runs SET state = 'running' WHERE id = ?", (run.id,))
    comes_to(run, "finished")


WRITES = """
import sys
from pathlib import Path
from engine.data.prepare import Prepared
from engine.runs import store
from tests.fakes import runs
for _ in range(25):
    store.create(runs.spec(Path("/nowhere"), "chat", "lora"), Prepared(runs.examples("messages"), [], [], []))
"""


def test_four_writers_at_once_lose_nothing() -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITES], cwd=CHECKOUT) for _ in range(4)]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    assert len(store.listed()) == 100


def test_a_run_of_somebody_else_looks_like_none() -> None:
    run = made("finish", owner="ada")
    with pytest.raises(RunError, match="There is no run"):
        store.get(run.id, owner="bob")
    assert store.listed(owner="bob") == [] and len(store.listed(owner="ada")) == 1


@pytest.mark.parametrize("run_id", ["../etc", "", "20261122-120000-abc", "20261122-120000-abcdefg!", "x" * 500])
def test_an_id_that_is_none_is_refused(run_id: str) -> None:
    with pytest.raises(RunError):
        store.get(run_id)


def test_a_running_run_is_not_deleted_and_a_stopped_one_is() -> None:
    run = made("wait")
    queue.start(run)
    worker_of(run)
    with pytest.raises(RunError, match="Stop it first"):
        store.delete(store.get(run.id))
    queue.stop(run)
    comes_to(run, "stopped")
    store.delete(store.get(run.id))
    assert not run.folder.exists() and store.listed() == []


def test_a_folder_removed_by_hand_leaves_the_list_readable() -> None:
    import shutil

    run = made("finish")
    shutil.rmtree(run.folder)
    assert store.listed() == []


def test_rows_with_problems_keep_a_run_from_being_made() -> None:
    from engine.data.rows import RowProblem

    problem = RowProblem(3, "line 4", "The answer is empty.", "Fill it in.")
    spec = runs.spec(Path("/nowhere"), "chat", "lora")
    with pytest.raises(DataError, match="The answer is empty"):
        store.create(spec, Prepared([], [problem], [], [], [problem]))
    assert store.listed() == []


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_runs_can_be_read_by_their_owner_alone() -> None:
    made("finish")
    assert home.runs().stat().st_mode & 0o077 == 0


def test_a_search_finds_runs_by_name() -> None:
    made("finish", name="Bank intents"), made("finish", name="Poems")
    assert [run.name for run in store.listed(search="bank")] == ["Bank intents"]
