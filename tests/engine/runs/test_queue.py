"""The queue and its supervisors, with real processes and a fake worker."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine.errors import MachineError, RunError, SettingError
from engine.files import read_json, write_json
from engine.home import CHECKOUT
from engine.runs import process, queue, store
from tests.fakes.living import (
    SECONDS_AT_MOST,
    at_work,
    attempts,
    comes_to,
    has_checkpoint,
    killed,
    living,
    made,
    texts,
    until,
)


def test_a_run_goes_from_the_queue_to_its_end() -> None:
    run = made("finish")
    assert store.get(run.id).state == "created"
    queue.start(run)
    comes_to(run, "finished")
    exit = read_json(run.folder / "exit.json") or {}
    assert (exit["code"], exit["signal"], exit["outcome"]) == (0, None, "finished") and exit["time"] > run.created


def test_a_second_run_waits_until_the_first_has_ended() -> None:
    first, second = made("wait"), made("finish")
    queue.start(first)
    queue.start(second)
    at_work(first)
    assert store.get(second.id).state == "queued"
    queue.stop(first)
    comes_to(second, "finished")
    assert store.get(first.id).state == "stopped"


def test_waiting_runs_go_in_the_order_in_which_they_were_started() -> None:
    first, second, third = made("wait"), made("finish"), made("finish")
    for run in (first, third, second):
        queue.start(run)
    at_work(first)
    (first.folder / "go").touch()
    comes_to(second, "finished")
    ends = [(read_json(run.folder / "exit.json") or {})["time"] for run in (first, third, second)]
    assert ends == sorted(ends)


def test_two_runs_go_at_once_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_PARALLEL", "2")
    first, second = made("wait"), made("wait")
    queue.start(first)
    queue.start(second)
    comes_to(second, "running")
    assert store.get(first.id).state == "running"
    for run in (first, second):
        at_work(run)
        queue.stop(run)
        comes_to(run, "stopped")


def test_a_number_of_runs_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_PARALLEL", "many")
    with pytest.raises(SettingError, match="TUNESMITH_PARALLEL is 'many'"):
        queue.start(made("finish"))


def test_a_run_that_is_at_work_is_not_started_again() -> None:
    run = made("wait")
    queue.start(run)
    with pytest.raises(RunError, match="is running already"):
        queue.start(run)


def test_a_finished_run_is_not_resumed() -> None:
    run = made("finish")
    queue.start(run)
    comes_to(run, "finished")
    with pytest.raises(RunError, match="has finished"):
        queue.resume(run)


# --- stop and resume


def test_a_stopped_run_resumes_from_its_checkpoint() -> None:
    run = made("wait", "finish")
    queue.start(run)
    at_work(run)
    queue.stop(run)
    comes_to(run, "stopped")
    assert attempts(run) == 1
    queue.resume(run)
    comes_to(run, "finished")
    assert attempts(run) == 2 and "Resumed." in texts(run)


def test_a_queued_run_that_is_stopped_never_starts() -> None:
    first, second = made("wait"), made("finish")
    queue.start(first)
    queue.start(second)
    queue.stop(second)
    at_work(first)
    queue.stop(first)
    comes_to(first, "stopped")
    assert store.get(second.id).state == "stopped" and attempts(second) == 0


def test_a_run_that_does_not_run_can_not_be_stopped() -> None:
    with pytest.raises(RunError, match="is created, not running"):
        queue.stop(made("finish"))


def test_a_run_that_does_not_heed_the_stop_can_be_ended_by_force() -> None:
    run = made("wait")
    queue.start(run)
    os.kill(at_work(run)["pid"], signal.SIGSTOP)  # hangs
    queue.stop(run)
    queue.stop(run, force=True)
    comes_to(run, "stopped")
    assert attempts(run) == 1


def test_a_run_that_is_resumed_while_its_old_supervisor_leaves_goes_on() -> None:
    run = made("wait", "wait", "wait", "finish")
    queue.start(run)
    for number in range(1, 4):
        until(lambda number=number: attempts(run) == number)  # type: ignore[misc]
        queue.stop(run)
        until(lambda: store.get(run.id).state == "stopped")  # without a look that would set things right
        queue.resume(run)
    until(lambda: store.get(run.id).state == "finished")
    assert attempts(run) == 4 and not any("taken up" in text for text in texts(run))


def test_a_stopped_run_stays_stopped_when_a_server_starts() -> None:
    run = made("wait")
    queue.start(run)
    worker = at_work(run)
    killed(living(run, "supervisor"))
    (run.folder / "stop").touch()
    until(lambda: not process.alive(worker))
    comes_to(run, "stopped")
    queue.reconcile()
    assert store.get(run.id).state == "stopped" and attempts(run) == 1


# --- kill -9


def test_a_killed_worker_is_started_again_from_its_newest_checkpoint() -> None:
    run = made("wait-checkpoints", "finish")
    queue.start(run)
    worker = at_work(run)
    has_checkpoint(run, 3)
    killed(worker)
    comes_to(run, "finished")
    assert any("ended by SIGKILL; it goes on from step" in text for text in texts(run))


def test_a_worker_whose_supervisor_was_killed_works_on_and_gets_a_new_one() -> None:
    run, waiting = made("wait"), made("finish")
    queue.start(run)
    queue.start(waiting)
    worker, first = at_work(run), living(run, "supervisor")
    killed(first)
    queue.reconcile()
    assert store.get(run.id).state == "running" and process.alive(worker)
    assert living(run, "supervisor") != first
    (run.folder / "go").touch()
    until(lambda: store.get(run.id).state == "finished")  # nobody looks: the new supervisor saw it
    until(lambda: store.get(waiting.id).state == "finished")
    assert attempts(run) == 1


def test_a_run_whose_supervisor_and_worker_were_killed_is_taken_up_again() -> None:
    run = made("wait-checkpoints", "finish")
    queue.start(run)
    worker = at_work(run)
    has_checkpoint(run, 2)
    killed(living(run, "supervisor"))
    killed(worker)
    comes_to(run, "finished")
    assert any("ended unexpectedly; the run is taken up again, from its checkpoint" in text for text in texts(run))


@pytest.mark.parametrize("victims", [("supervisor",), ("worker",), ("supervisor", "worker"), ("worker", "supervisor")])
def test_kills_at_any_moment_end_in_a_finished_run(victims: tuple[str, ...]) -> None:
    chance = random.Random(str(victims))
    run = made(*["wait-checkpoints"] * 2, "finish")
    queue.start(run)
    for _ in range(2):
        time.sleep(chance.uniform(0.0, 1.2))  # any moment is what is meant
        for name in victims:
            known = read_json(run.folder / f"{name}.json")
            if process.alive(known):
                process.end(known, force=True)
        queue.reconcile()
    while store.get(run.id).state in store.ACTIVE:
        (run.folder / "go").touch()  # whichever attempt it is at
        queue.reconcile()
        time.sleep(0.05)
    assert store.get(run.id).state == "finished", texts(run)


def test_a_restart_of_the_machine_is_told() -> None:
    run = made("wait", "finish")
    queue.start(run)
    worker, supervisor = at_work(run), living(run, "supervisor")
    killed(supervisor)
    killed(worker)
    # After a restart the same pids and start ticks may well belong to others.
    for name in ("supervisor", "worker"):
        write_json(run.folder / f"{name}.json", {**process.identity(os.getpid()), "boot": "an earlier one"})
    comes_to(run, "finished")
    assert "The machine was restarted; the run is taken up again, from the start." in texts(run)


def test_a_run_that_dies_before_its_first_word_is_not_given_its_last_failure() -> None:
    run = made("user-error", "wait", "finish")
    queue.start(run)
    comes_to(run, "failed")
    queue.resume(run)
    for known in (living(run, "supervisor"), living(run, "worker")):
        process.end(known, force=True)
    (run.folder / "go").touch()
    comes_to(run, "finished")


def test_a_run_whose_processes_keep_dying_fails_in_the_end() -> None:
    run = made("wait")
    queue.start(run)
    for _ in range(queue.MOST_DEATHS + 1):
        until(lambda: living(run, "supervisor") and living(run, "worker"))
        killed(living(run, "supervisor"))
        killed(living(run, "worker"))
        queue.reconcile()
    assert store.get(run.id).state == "failed"
    assert texts(run)[-1] == "The run's processes ended 4 times without reaching a new checkpoint."


RECONCILE = "from engine.runs import queue; queue.reconcile()"


def test_two_servers_that_find_a_dead_run_start_it_once() -> None:
    run = made("wait-checkpoints", "wait")
    queue.start(run)
    worker = at_work(run)
    killed(living(run, "supervisor"))
    killed(worker)
    servers = [subprocess.Popen([sys.executable, "-c", RECONCILE], cwd=CHECKOUT) for _ in range(2)]
    assert [server.wait(SECONDS_AT_MOST) for server in servers] == [0, 0]
    until(lambda: attempts(run) == 2)
    queue.stop(run)
    comes_to(run, "stopped")
    assert attempts(run) == 2


def test_a_supervisor_that_was_started_twice_does_the_work_once() -> None:
    run = made("wait")
    queue.start(run)
    at_work(run)
    queue._launch(run.folder, "")
    queue._launch(run.folder, "")
    (run.folder / "go").touch()
    comes_to(run, "finished")
    assert [child.wait(SECONDS_AT_MOST) for child in queue._children] == [0, 0, 0]
    assert attempts(run) == 1 and store.get(run.id).state == "finished"


# --- what else goes wrong


def test_a_damaged_exit_file_does_not_hide_what_the_events_say() -> None:
    run = made("finish")
    queue.start(run)
    comes_to(run, "finished")
    (run.folder / "exit.json").write_text("{cut", encoding="utf-8")
    with store.index() as rows:
        rows.execute("UPDATE runs SET state = 'running' WHERE id = ?", (run.id,))
    comes_to(run, "finished")


def test_a_running_run_whose_folder_was_removed_by_hand_does_not_hold_up_the_others() -> None:
    first, second = made("wait"), made("finish")
    queue.start(first)
    worker = at_work(first)
    queue.start(second)
    killed(living(first, "supervisor"))
    killed(worker)
    shutil.rmtree(first.folder)
    comes_to(second, "finished")
    for call in (queue.start, queue.stop):
        with pytest.raises(RunError, match="There is no run"):
            call(first)


def test_a_run_that_can_not_be_started_fails_and_does_not_hold_up_the_others() -> None:
    first, second = made("finish"), made("finish")
    (first.folder / "supervisor.log").mkdir()
    queue.start(first)
    assert store.get(first.id).state == "failed"
    assert texts(first) == ["The run can't be started: Is a directory."]
    queue.start(second)
    comes_to(second, "finished")


def test_a_full_disk_lets_runs_wait_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    run = made("finish")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(queue, "_launch", full)
        with pytest.raises(MachineError, match="No space left on device"):
            queue.start(run)
    assert store.get(run.id).state == "queued"
    comes_to(run, "finished")


@pytest.mark.skipif(os.name != "posix", reason="as the shell has it")
def test_a_home_that_is_given_from_here_is_the_same_for_the_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNESMITH_HOME", "my runs, größer")
    run = made("finish")
    queue.start(run)
    comes_to(run, "finished")
    assert run.folder.is_relative_to(tmp_path / "my runs, größer") and attempts(run) == 1
