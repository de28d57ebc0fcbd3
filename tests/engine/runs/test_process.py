"""A process is known by more than its pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from engine.runs import process
from tests.fakes.living import until

SLEEPS = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEPS, start_new_session=True, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        started.stdout.readline()
        yield started
        started.kill()


def test_a_process_that_runs_is_alive(child: subprocess.Popen[bytes]) -> None:
    assert process.alive(process.identity(child.pid))


def test_one_that_has_ended_and_was_not_collected_is_dead(child: subprocess.Popen[bytes]) -> None:
    known = process.identity(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: not process.alive(known))
    assert child.returncode is None


@pytest.mark.parametrize(
    "change", [{"start": 1.0}, {"boot": "an earlier one"}, {"pid": "none"}, {"pid": 2**22 + 1}, {"pid": None}]
)
def test_another_process_with_the_same_pid_is_not_it(change: dict[str, object]) -> None:
    assert not process.alive({**process.identity(os.getpid()), **change})


@pytest.mark.parametrize("known", [None, {}, {"pid": 1}])
def test_nothing_known_is_dead(known: dict[str, object] | None) -> None:
    assert not process.alive(known)


def test_a_process_that_does_not_exist_has_no_identity() -> None:
    with pytest.raises(ProcessLookupError):
        process.identity(2**22 + 1)


def test_a_program_whose_name_looks_like_more_fields_is_read_right(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to(sys.executable)
    environment = {**os.environ, "PYTHONHOME": sys.base_prefix}
    with subprocess.Popen([program, *SLEEPS[1:]], stdout=subprocess.PIPE, env=environment) as odd:
        assert odd.stdout is not None
        odd.stdout.readline()
        assert process.alive(process.identity(odd.pid))
        odd.kill()


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX")
def test_force_ends_what_a_process_started_too() -> None:
    script = f"import subprocess; print(subprocess.Popen({SLEEPS[:1]!r} + ['-c', 'import time; time.sleep(60)']).pid, flush=True); import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        grandchild = process.identity(int(parent.stdout.readline()))
        process.end(process.identity(parent.pid), force=True)
        until(lambda: not process.alive(grandchild))


def test_ending_a_process_that_is_gone_does_nothing(child: subprocess.Popen[bytes]) -> None:
    known = process.identity(child.pid)
    child.kill()
    child.wait()
    process.end(known, force=True)


def test_a_run_is_worked_on_while_somebody_holds_its_lock(tmp_path: Path) -> None:
    assert not process.worked_on(tmp_path)
    with FileLock(tmp_path / process.WORKER_LOCK):
        assert process.worked_on(tmp_path) and not process.supervised(tmp_path)
    assert not process.worked_on(tmp_path)
