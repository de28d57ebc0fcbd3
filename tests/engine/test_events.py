from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from engine.events import KINDS, Evaluation, Notice, Progress, Writer, read


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
