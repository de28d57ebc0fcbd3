from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.children import Child, Died, OutOfMemory, Settings, TooSlow
from engine.errors import ModelError, SettingError

CHECKOUT = Path(__file__).resolve().parents[2]
SETTINGS = Settings("tests.fakes.child", idle_seconds=60)
GENEROUS = 30.0


@pytest.fixture
def make() -> Iterator[Any]:
    made: list[Child] = []

    def start(**changes: Any) -> Child:
        made.append(Child(replace(SETTINGS, **changes)))
        return made[-1]

    yield start
    for child in made:
        child.close()


def pid(child: Child) -> int:
    return int(child.call({"do": "pid"}, GENEROUS))


def gone(process: int) -> bool:
    try:
        psutil.Process(process).wait(GENEROUS)
    except psutil.NoSuchProcess:
        pass
    return not psutil.pid_exists(process)


def test_a_child_answers_item_by_item(make: Any) -> None:
    assert list(make().stream({"do": "words one two"}, GENEROUS)) == ["one", "two"]


def test_one_process_answers_request_after_request(make: Any) -> None:
    child = make()
    assert pid(child) == pid(child) != os.getpid()


@pytest.mark.parametrize("text", ["a\u2028b\n", "日本 🎉", "\ud800", "x" * 300_000])
def test_every_text_passes_unchanged(make: Any, text: str) -> None:
    assert make().call({"do": f"echo {text}"}, GENEROUS) == text


def test_what_else_is_printed_goes_to_the_log(make: Any, empty_cache: Path) -> None:
    child = make()
    assert child.call({"do": "print hello there"}, GENEROUS) == "printed"
    assert "hello there" in child.log.read_text()


def test_a_child_that_takes_too_long_is_ended_and_the_next_request_answered(make: Any) -> None:
    child = make()
    first = pid(child)
    with pytest.raises(TooSlow):
        child.call({"do": "sleep 60"}, 0.2)
    assert pid(child) != first and gone(first)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit address space")
def test_a_child_gets_no_more_memory_than_allowed(make: Any) -> None:
    child = make(memory_bytes=2**30)
    with pytest.raises(OutOfMemory):
        child.call({"do": f"allocate {2**31}"}, GENEROUS)
    assert child.call({"do": "echo fine"}, GENEROUS) == "fine"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_child_gets_no_more_processor_time_than_allowed(make: Any) -> None:
    with pytest.raises(Died) as caught:
        make(cpu_seconds=1).call({"do": "spin"}, GENEROUS)
    assert caught.value.code < 0


def test_user_errors_arrive_as_they_were_raised(make: Any) -> None:
    with pytest.raises(ModelError) as caught:
        make().call({"do": "refuse"}, GENEROUS)
    assert (caught.value.problem, caught.value.fix) == ("It is no model.", "Take another.")


def test_setting_errors_keep_their_sentences(make: Any) -> None:
    with pytest.raises(SettingError, match=r"One\. Two\. Mend them\."):
        make().call({"do": "refuse-settings"}, GENEROUS)


def test_a_bug_is_told_and_its_traceback_logged(make: Any, empty_cache: Path) -> None:
    child = make()
    with pytest.raises(RuntimeError, match="KeyError: 'oh'"):
        child.call({"do": "crash oh"}, GENEROUS)
    assert "Traceback" in child.log.read_text()
    assert child.call({"do": "echo fine"}, GENEROUS) == "fine"


@pytest.mark.parametrize(("order", "code"), [("exit 3", 3), ("kill", -9)])
def test_a_child_that_dies_is_told_and_started_again(make: Any, order: str, code: int) -> None:
    child = make()
    with pytest.raises(Died) as caught:
        child.call({"do": order}, GENEROUS)
    assert caught.value.code == code
    assert child.call({"do": "echo fine"}, GENEROUS) == "fine"


def test_an_idle_child_ends_by_itself_and_starts_when_asked_again(make: Any) -> None:
    child = make(idle_seconds=0.1)
    first = pid(child)
    assert gone(first)
    assert pid(child) != first


def test_a_request_that_meets_an_ending_child_is_asked_again(make: Any) -> None:
    child = make(idle_seconds=0.001)
    assert [child.call({"do": f"echo {number}"}, GENEROUS) for number in range(5)] == list("01234")


def test_closing_the_iterator_stops_the_work_and_keeps_the_child(make: Any) -> None:
    child = make()
    first = pid(child)
    numbers = child.stream({"do": "count"}, GENEROUS)
    assert next(numbers) == "1"
    numbers.close()
    assert pid(child) == first


def test_a_child_that_ignores_being_cancelled_is_ended(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.children.CANCEL_SECONDS", 0.1)
    child = make()
    first = pid(child)
    waiting = child.stream({"do": "words one"}, GENEROUS)
    next(waiting)
    waiting.close()
    slow = child.stream({"do": "sleep 60"}, 0.1)
    with pytest.raises(TooSlow):
        next(slow)
    assert gone(first)


def test_requests_of_several_threads_wait_for_each_other(make: Any) -> None:
    child = make()
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(child.call({"do": f"echo {n}"}, GENEROUS))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list("01234567")


def test_a_child_outlives_the_thread_that_started_it(make: Any) -> None:
    child, found = make(), []
    starter = threading.Thread(target=lambda: found.append(pid(child)))
    starter.start()
    starter.join()
    assert pid(child) == found[0]


def test_secrets_of_the_page_are_kept_from_children(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("PLAIN", "seen")
    child = make()
    assert child.call({"do": "environment HF_TOKEN"}, GENEROUS) is None
    assert child.call({"do": "environment PLAIN"}, GENEROUS) == "seen"


def test_children_end_with_the_page_even_while_they_work() -> None:
    page = (
        "import os, sys\n"
        "from engine.children import Child, Settings\n"
        "child = Child(Settings('tests.fakes.child', idle_seconds=60))\n"
        "print(child.call({'do': 'pid'}, 30), flush=True)\n"
        "child.call({'do': 'sleep 60'}, 60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", page], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
    assert gone(child)
