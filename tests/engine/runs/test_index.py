"""The index of runs can be lost, damaged or locked; the folders tell the same."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import home
from engine.errors import MachineError
from engine.events import Failed, Writer
from engine.home import CHECKOUT
from engine.runs import queue, store
from tests.fakes.living import SECONDS_AT_MOST, at_work, attempts, comes_to, made, until


def lose_index() -> None:
    for file in home.runs().glob("index.sqlite*"):
        file.unlink()


def test_an_index_that_was_lost_is_made_again_from_the_folders() -> None:
    run = made("finish", name="kept name", owner="ada")
    queue.start(run)
    comes_to(run, "finished")
    lose_index()
    again = store.get(run.id)
    assert (again.state, again.name, again.owner, again.created) == ("finished", "kept name", "ada", run.created)


def test_the_queue_outlives_its_index() -> None:
    first, second, third = made("wait"), made("finish"), made("finish")
    for run in (first, third, second):
        queue.start(run)
    worker = at_work(first)
    lose_index()
    assert [store.get(run.id).state for run in (first, second, third)] == ["running", "queued", "queued"]
    queue.reconcile()
    assert attempts(first) == 1 and at_work(first) == worker
    (first.folder / "go").touch()
    comes_to(second, "finished")
    assert (third.folder / "exit.json").stat().st_mtime < (second.folder / "exit.json").stat().st_mtime


def test_a_run_that_was_stopped_while_it_waited_is_not_taken_up_without_its_index() -> None:
    first, second = made("wait"), made("finish")
    queue.start(first)
    queue.start(second)
    queue.stop(second)
    at_work(first)
    lose_index()
    queue.stop(first)
    comes_to(first, "stopped")
    assert store.get(second.id).state == "stopped" and attempts(second) == 0


def test_a_run_that_was_asked_to_stop_is_still_stopping_without_its_index() -> None:
    run = made("wait")
    queue.start(run)
    at_work(run)
    (run.folder / "stop").touch()
    lose_index()
    assert store.get(run.id).state in ("stopping", "stopped")
    comes_to(run, "stopped")


def test_a_run_that_was_resumed_after_a_failure_is_taken_up_again_without_its_index() -> None:
    run = made("user-error", "wait", "finish")
    queue.start(run)
    comes_to(run, "failed")
    queue.resume(run)
    until(lambda: attempts(run) == 2)
    lose_index()
    assert store.get(run.id).state == "running"
    (run.folder / "go").touch()
    comes_to(run, "finished")


def test_a_damaged_index_is_set_aside_and_made_again() -> None:
    run = made("finish")
    lose_index()
    (home.runs() / "index.sqlite").write_bytes(b"this is no database " * 100)
    assert store.get(run.id).state == "created"
    assert list(home.runs().glob("*set-aside*"))


def test_an_index_that_is_damaged_in_the_middle_is_made_again() -> None:
    ids = {made("finish").id for _ in range(30)}
    path = home.runs() / "index.sqlite"
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    lose_index()
    path.write_bytes(data)
    assert {run.id for run in store.listed()} == ids
    with store.index() as rows:
        assert rows.execute("SELECT count(*) FROM runs").fetchone()[0] == 30


def test_an_index_of_an_older_layout_is_made_again() -> None:
    run = made("finish")
    lose_index()
    rows = sqlite3.connect(home.runs() / "index.sqlite")
    rows.execute("CREATE TABLE runs (id TEXT PRIMARY KEY)")
    rows.commit()
    rows.close()
    assert store.get(run.id).state == "created"


LISTS = "from engine.runs import store; print(len(store.listed()))"


def test_of_two_that_find_the_index_damaged_one_mends_it() -> None:
    made("finish")
    lose_index()
    (home.runs() / "index.sqlite").write_bytes(b"this is no database " * 100)
    readers = [
        subprocess.Popen([sys.executable, "-c", LISTS], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [reader.communicate(timeout=SECONDS_AT_MOST)[0].strip() for reader in readers] == ["1", "1", "1"]
    assert len(list(home.runs().glob("index.set-aside*"))) == 1


@pytest.mark.parametrize("record", ["{cut", "[]", '{"created": "yesterday"}'])
def test_a_damaged_record_of_a_run_does_not_hide_it(record: str) -> None:
    run = made("finish")
    (run.folder / "run.json").write_text(record, encoding="utf-8")
    lose_index()
    again = store.get(run.id)
    assert (again.owner, again.name) == ("local", run.id)
    assert abs(again.created - run.created) < 1


def test_a_folder_that_is_no_run_is_left_out() -> None:
    made("finish")
    (home.runs() / "20260101-000000-abcdefgh").mkdir()
    (home.runs() / "notes").mkdir()
    lose_index()
    assert len(store.listed()) == 1


def test_a_run_that_was_copied_here_is_listed_and_waits_for_its_person() -> None:
    run = made("wait")
    with Writer(run.folder / "events.jsonl"):
        pass
    copied = run.folder.with_name("20260101-000000-abcdefgh")
    shutil.copytree(run.folder, copied)
    queue.reconcile()
    assert store.get(copied.name).state == "stopped"
    failed = run.folder.with_name("20260101-000000-abcdefgj")
    shutil.copytree(run.folder, failed)
    with Writer(failed / "events.jsonl") as writer:
        writer.write(Failed("Row 17 has no answer."))
    queue.reconcile()
    assert store.get(failed.name).state == "failed"


def test_what_a_crash_left_of_a_making_or_a_deletion_is_swept_up() -> None:
    made("finish")
    old, fresh = home.runs() / ".20260101-000000-abcdefgh.deleted", home.runs() / ".20260101-000000-abcdefgh"
    for place in (old, fresh):
        place.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    queue.reconcile()
    assert not old.exists() and fresh.exists()


WITHOUT_ROOM = """
import resource
from engine.errors import MachineError
from engine.runs import store
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
print([run.state for run in store.listed()], store.get(store.listed()[0].id).name)
try:
    store.rename(store.listed()[0], "new")
except MachineError as error:
    print(error.problem)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX")
def test_runs_are_listed_even_where_nothing_can_be_written() -> None:
    made("finish", name="kept")
    done = subprocess.run([sys.executable, "-c", WITHOUT_ROOM], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed, refused = done.stdout.splitlines()
    assert listed == "['created'] kept" and refused.startswith("The list of runs can't be written")


def test_a_lock_that_is_held_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made("finish")
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **given: real(path, **{**given, "timeout": 0.05}))
    with store.index(), pytest.raises(MachineError, match="database is locked"):
        store.rename(store.listed()[0], "new")


def test_a_home_that_can_not_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "file"))
    with pytest.raises(MachineError, match="Choose another home"):
        store.listed()


def test_an_index_of_the_layout_before_is_widened_and_keeps_what_only_it_knows() -> None:
    run = made("finish", name="kept", owner="ada")
    store.annotate(run, note="A note.", tags=["one"])
    rows = sqlite3.connect(home.runs() / "index.sqlite")
    rows.execute("UPDATE runs SET deaths = 2, device = 'cuda:1', state = 'stopped'")
    for column in ("note", "tags", "about"):
        rows.execute(f"ALTER TABLE runs DROP COLUMN {column}")
    rows.commit()
    rows.close()
    again = store.get(run.id)
    assert (again.state, again.name, again.note, again.tags) == ("stopped", "kept", "A note.", ("one",))
    assert again.about.model == "nowhere"
    with store.index() as known:
        assert known.execute("SELECT deaths, device FROM runs").fetchone() == (2, "cuda:1")
    assert not list(home.runs().glob("*set-aside*"))
