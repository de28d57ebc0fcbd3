"""Data sets of several kinds in one run of chat: conversations, labels asked as questions, and documents read whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.data import example as examples_file
from engine.errors import DataError
from engine.planning import explain
from engine.planning.jobs import held_out, open_job
from engine.runs import alone, store
from engine.runs.worker import main as work
from engine.specs.spec import RunSpec, of_spec
from tests.engine.compute import test_script
from tests.engine.test_text import document
from tests.fakes import models, runs


@pytest.fixture
def files(tmp_path: Path) -> Path:
    chats = "".join(f"What is {number}?,number {number}\n" for number in range(20))
    (tmp_path / "chats.csv").write_text(f"question,answer\n{chats}", encoding="utf-8")
    sms = "".join(f"Message {number},{'spam' if number % 2 else 'ham'}\n" for number in range(20))
    (tmp_path / "sms.csv").write_text(f"text,label\n{sms}", encoding="utf-8")
    (tmp_path / "terms.md").write_text(document(12), encoding="utf-8")
    long = "A sentence of a long row. " * 200
    (tmp_path / "notes.csv").write_text(f"text\n{long}\n" + "".join(f"Note {n}.\n" for n in range(9)), encoding="utf-8")
    return tmp_path


def spec(files: Path, *data: Any, objective: str = "chat") -> RunSpec:
    plain = runs.spec(models.tiny_decoder(files / "tiny"), objective, "lora", max_steps=3, max_tokens=128).as_dict()
    return RunSpec.parse({**plain, "data": [{**one, "source": str(files / one["source"])} for one in data]})


CHATS = {"source": "chats.csv"}
SMS = {"source": "sms.csv", "prompt": "Is this spam? {text}", "system": "Answer with one word.", "task": "spam"}
TERMS, NOTES = {"source": "terms.md"}, {"source": "notes.csv"}


def test_each_data_set_has_columns_wording_and_system_message_of_its_own(files: Path) -> None:
    run = spec(files, CHATS, SMS)
    rows = of_spec(run).examples
    (first, *_), (other, *_) = ([row for row in rows if row.source == source] for source in (0, 1))
    assert [message["role"] for message in first.messages] == ["user", "assistant"]
    assert [message["content"] for message in other.messages] == [SMS["system"], "Is this spam? Message 0", "ham"]
    # As which of them it is asked decides what it is told.
    assert run.tasks() == ["chats.csv", "spam"] and spec(files, CHATS, CHATS).tasks() == []


def test_documents_are_read_whole_beside_answers_and_not_scored(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = spec(files, CHATS, TERMS, NOTES)
    prepared = of_spec(run)
    texts = {source: [row for row in prepared.examples if row.source == source] for source in range(3)}
    assert all(row.messages for row in texts[0]) and not any(row.messages for row in (*texts[1], *texts[2]))
    assert {row.split for row in (*texts[1], *texts[2])} == {"train", "validation"}
    # A long row is read in passages, and nothing of it is lost.
    assert len([row for row in texts[2] if row.row == 1]) == 3
    assert "".join(row.text for row in texts[2] if row.row == 1) == "A sentence of a long row. " * 200
    assert sum("Read as text: all of it is learned" in notice for notice in prepared.notices) == 2

    monkeypatch.setattr(explain.speed, "of", lambda *_, **__: None)
    assert [part.title for part in explain.explain(run).mix] == ["chats.csv", "terms.md", "notes.csv"]
    made = store.create(run, prepared)
    job = open_job(made.folder, str)
    split, rows = held_out(job)
    assert split == "test" and rows and all(row.source == 0 for row in rows)
    place = next(i for i, row in enumerate(job.examples["train"]) if not row.messages)
    encoded = job.encoded["train"][place]
    assert encoded.learned == [False] + [True] * (len(encoded.ids) - 1)
    assert [one.name for one in alone.singles(made)] == ["chats.csv"]

    assert work(made.folder) == 0, runs.events(made.folder)[-1]
    events = runs.events(made.folder)
    assert [name for name in events[-1]["metrics"]["after"] if ", task" in name and "_low" not in name] != []
    assert not any("terms.md" in name for name in events[-1]["metrics"]["after"])
    _, theirs = test_script.alone(made.folder, files / "tiny")
    ours = [event["loss"] for event in events if event["type"] == "progress" and event.get("loss") is not None]
    assert [theirs[0], theirs[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)
    assert examples_file.load(made.folder / "examples.jsonl") == prepared.examples


def test_documents_alone_are_no_chat_and_labels_can_not_be_documents(files: Path) -> None:
    with pytest.raises(DataError, match=r"notes\.csv holds plain text without answers"):
        of_spec(spec(files, NOTES))
    with pytest.raises(DataError, match=r"terms\.md holds plain text without answers"):
        of_spec(spec(files, TERMS, NOTES))
    with pytest.raises(DataError, match=r"terms\.md holds plain text without labels"):
        of_spec(spec(files, SMS, TERMS, objective="classify"))
