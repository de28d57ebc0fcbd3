"""Events: written whole, read from anywhere."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from engine.events import KINDS, Evaluation, Notice, Progress, Writer, read, tail


def test_events_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = [
        Progress(1, 10, loss=2.5, seconds=0.5),
        Evaluation(1, {"loss": 2.0}),
        Notice("Häh? \u2028 done", "warning"),
    ]
    with Writer(tmp_path / "events.jsonl") as writer:
        for event in written:
            writer.write(event)
    assert read(tmp_path / "events.jsonl")[0] == written


def test_reading_goes_on_from_an_offset(tmp_path: Path) -> None:
    with Writer(tmp_path / "events.jsonl") as writer:
        writer.write(Notice("one"))
        _, offset = read(tmp_path / "events.jsonl")
        writer.write(Notice("two"))
        events, _ = read(tmp_path / "events.jsonl", offset)
    assert [event.text for event in events if isinstance(event, Notice)] == ["two"]


def test_a_line_that_is_still_being_written_is_left_for_the_next_reading(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"type":"notice","text":"one"}\n{"type":"notice","te')
    events, offset = read(path)
    assert len(events) == 1 and offset == 31


def test_a_line_cut_off_by_a_crash_does_not_swallow_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"type":"notice","te')
    with Writer(path) as writer:
        writer.write(Notice("after"))
    assert [event.text for event in read(path)[0] if isinstance(event, Notice)] == ["after"]


@pytest.mark.parametrize(
    "line", ["null", "[]", "{}", '{"type":"unheard of"}', '{"type":"notice"}', "nonsense", '{"type":[]}']
)
def test_a_line_that_is_no_event_is_passed_over(line: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(f'{line}\n{{"type":"notice","text":"kept"}}\n', encoding="utf-8")
    assert len(read(path)[0]) == 1


def test_numbers_that_json_does_not_know_become_null(tmp_path: Path) -> None:
    with Writer(tmp_path / "events.jsonl") as writer:
        writer.write(Progress(1, 2, loss=float("nan"), grad_norm=float("inf")))
    event = read(tmp_path / "events.jsonl")[0][0]
    assert isinstance(event, Progress) and event.loss is None and event.grad_norm is None


def test_a_missing_file_has_no_events(tmp_path: Path) -> None:
    assert read(tmp_path / "none.jsonl", 7) == ([], 7)


def test_the_event_names_and_fields_that_others_read_do_not_change_by_accident() -> None:
    assert {name: [field.name for field in dataclasses.fields(kind)] for name, kind in KINDS.items()} == {
        "progress": "step total_steps epoch loss learning_rate grad_norm tokens_per_second memory_bytes seconds phase time".split(),
        "evaluation": "step metrics time".split(),
        "sample": "step prompt answer expected time".split(),
        "checkpoint": "step path bytes best time".split(),
        "notice": "text level time".split(),
        "finished": "metrics trainable_parameters total_parameters seconds peak_memory_bytes artifact_bytes time".split(),
        "failed": "problem fix time".split(),
    }


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX")
def test_a_line_cut_off_by_a_full_disk_is_told_and_does_not_swallow_the_next_one(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "events.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Writer(path) as writer:
        writer.write(Notice("one"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, before[1]))
        try:
            with pytest.raises(OSError):
                writer.write(Notice("two"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        writer.write(Notice("three"))
    assert [event.text for event in read(path)[0] if isinstance(event, Notice)] == ["one", "three"]


def test_half_a_character_from_a_persons_file_is_written_and_read(tmp_path: Path) -> None:
    with Writer(tmp_path / "events.jsonl") as writer:
        writer.write(Notice("odd \udc80"))
    assert read(tmp_path / "events.jsonl")[0][0].text == "odd \udc80"  # type: ignore[attr-defined]


def test_a_line_longer_than_the_limit_is_read_all_the_same(tmp_path: Path) -> None:
    with Writer(tmp_path / "events.jsonl") as writer:
        for text in ("long " * 100, "short", "last"):
            writer.write(Notice(text))
    offset, counts = 0, []
    while (found := read(tmp_path / "events.jsonl", offset, limit_bytes=20))[0]:
        offset = found[1]
        counts.append(len(found[0]))
    assert counts == [1, 1, 1]


def test_the_tail_is_widened_until_it_holds_what_is_looked_for(tmp_path: Path) -> None:
    with Writer(tmp_path / "events.jsonl") as writer:
        writer.write(Progress(1, 2))
        for number in range(3000):
            writer.write(Notice(f"Line {number} of what a run may tell while it works."))
    newest = tail(tmp_path / "events.jsonl")
    assert 0 < len(newest) < 3000 and newest[-1].text.startswith("Line 2999")  # type: ignore[attr-defined]
    assert len(tail(tmp_path / "events.jsonl", lambda events: isinstance(events[0], Progress))) == 3001


def test_four_writers_at_once_cut_no_line(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def write(name: str) -> None:
        with Writer(tmp_path / "events.jsonl") as writer:
            for number in range(200):
                writer.write(Notice(f"{name} {number} " + "x" * 500))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, "abcd"))
    assert len(read(tmp_path / "events.jsonl")[0]) == 800
