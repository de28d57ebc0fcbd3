"""What a teacher wrote, kept with the run: nothing is written, or paid for, twice.

A file for each teacher, one line for each answer as it comes. What may be spent stands there before a question is sent:
one that was on its way when everything ended counts as paid. Runs of the same owner take over each other's answers;
they are deleted with their run.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine import home
from engine.data.example import Example
from engine.files import read_json

FOLDER = "answers"


@dataclass(frozen=True)
class Answer:
    text: str
    whole: bool = True
    """Whether the teacher ended it, and not the limit on its tokens."""


class Answers:
    """Answers of one teacher to a run's prompts. Used from several threads at once."""

    def __init__(self, folder: Path, teacher: dict[str, Any]) -> None:
        """folder: of the run. teacher: all that decides what it writes, as JSON knows it."""
        written = json.dumps(teacher, sort_keys=True, ensure_ascii=False)
        self._name = f"{hashlib.sha256(written.encode()).hexdigest()[:16]}.jsonl"
        self._folder = folder
        self._lock = threading.Lock()
        self._found: dict[str, Answer] = {}
        self._open: dict[str, float] = {}
        """Of questions that are on their way: what they may cost."""
        self.spent = 0.0
        """Dollars, for answers and for what was no answer; by this run."""
        self.unusable: Counter[str] = Counter()
        """What was no answer, by what was wrong with it; in this process."""
        self._file = folder / FOLDER / self._name
        for record in _lines(self._file):
            self._take(record)
        self.spent += sum(self._open.values())
        self._open.clear()
        if not self._file.exists():
            self._file.parent.mkdir(mode=0o700, exist_ok=True)
            self._write({"teacher": teacher})

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: str) -> Answer | None:
        return self._found.get(key)

    def take_over(self, keys: Sequence[str]) -> int:
        """Copy answers that other runs of the same owner have; how many that were."""
        missing = {key for key in keys if key not in self._found}
        taken = 0
        for file in self._others() if missing else ():
            for record in _lines(file):
                if record.get("row") in missing and "answer" in record:
                    missing.discard(record["row"])
                    self.keep(record["row"], Answer(record["answer"], record.get("whole", True)))
                    taken += 1
        return taken

    def reserve(self, key: str, most: float, limit: float | None = None) -> bool:
        """Before a question is sent: it may cost this much. False where that, too, would go beyond the limit."""
        with self._lock:
            if limit is not None and self.spent + sum(self._open.values()) + most > limit:
                return False
            self._write({"ask": key, "most": most})
            self._open[key] = most
            return True

    def keep(self, key: str, answer: Answer, spent: float = 0.0) -> None:
        self._note({"row": key, "answer": answer.text, "whole": answer.whole, "spent": spent})

    def fail(self, key: str, why: str, spent: float = 0.0) -> None:
        """The question brought no answer."""
        self._note({"row": key, "failed": why, "spent": spent})

    def _note(self, record: dict[str, Any]) -> None:
        with self._lock:
            self._write(record)
            self._take(record)

    def _take(self, record: dict[str, Any]) -> None:
        if "ask" in record:
            self.spent += self._open.pop(record["ask"], 0.0)  # asked before, by a process that did not see the answer
            self._open[record["ask"]] = float(record["most"])
        elif "row" in record:
            self._open.pop(record["row"], None)
            self.spent += float(record.get("spent", 0.0))
            if "answer" in record:
                self._found[record["row"]] = Answer(record["answer"], bool(record.get("whole", True)))

    def _write(self, record: dict[str, Any]) -> None:
        """One line, on the disk when this returns. Raises OSError where there is no room."""
        data = json.dumps(record, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
        with open(self._file, "ab") as file:
            if file.tell() and not _ends_a_line(self._file):
                data = b"\n" + data
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _others(self) -> Iterator[Path]:
        owner = (read_json(self._folder / "run.json") or {}).get("owner")
        if owner is None or self._folder.parent.resolve() != home.runs().resolve():
            return
        for file in sorted(self._folder.parent.glob(f"[!.]*/{FOLDER}/{self._name}")):
            run = file.parent.parent
            if run != self._folder and (read_json(run / "run.json") or {}).get("owner") == owner:
                yield file


def key(row: Example) -> str:
    """A prompt by its content."""
    asked = json.dumps([row.prompt, row.tools], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(asked.encode(errors="backslashreplace")).hexdigest()[:24]


def answered(row: Example, text: str) -> Example:
    """The row with this as its last answer."""
    place = len(row.prompt)
    messages = [dict(message) for message in row.messages]
    messages[place] = {**messages[place], "content": text}
    return replace(row, messages=messages)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """Records of a file; a line that was cut off is passed over."""
    try:
        with open(file, encoding="utf-8", errors="replace", newline="\n") as lines:
            for line in lines:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record
    except FileNotFoundError:
        return


def _ends_a_line(file: Path) -> bool:
    with open(file, "rb") as read:
        read.seek(-1, os.SEEK_END)
        return read.read(1) == b"\n"
