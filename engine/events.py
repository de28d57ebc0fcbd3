"""What a run tells while it works: one JSON object a line in `events.jsonl`, `type` first.

The worker appends; everybody else reads from a byte offset. A line that was cut off by a crash is left
alone until the next writer closes it, and skipped by readers.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Event:
    type: ClassVar[str] = "event"


@dataclass(frozen=True)
class Progress(Event):
    """A step was made. `tokens_per_second` counts non-padding tokens; memory is the process's peak in bytes."""

    type: ClassVar[str] = "progress"
    step: int
    total_steps: int
    epoch: float = 0.0
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None
    memory_bytes: int | None = None
    seconds: float = 0.0
    """Training time so far, earlier attempts included."""
    phase: str = "train"
    """What the steps count: "prepare", "answers", "load", "score before", "teacher", "features", "train", "calibrate"
    or "score after"."""
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Evaluation(Event):
    type: ClassVar[str] = "evaluation"
    step: int
    metrics: dict[str, float]
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Sample(Event):
    """What the model answers at this step to a held-out prompt."""

    type: ClassVar[str] = "sample"
    step: int
    prompt: str
    answer: str
    expected: str = ""
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Checkpoint(Event):
    type: ClassVar[str] = "checkpoint"
    step: int
    path: str
    bytes: int = 0
    best: bool = False
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Notice(Event):
    """Something a person should know: a choice that was made for them, a warning, a stop."""

    type: ClassVar[str] = "notice"
    text: str
    level: str = "info"
    """"info" or "warning"."""
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Finished(Event):
    type: ClassVar[str] = "finished"
    metrics: dict[str, Any]
    trainable_parameters: int
    total_parameters: int
    seconds: float
    """Training time, held-out checks included, scoring before and after not."""
    peak_memory_bytes: int
    artifact_bytes: int
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Failed(Event):
    type: ClassVar[str] = "failed"
    problem: str
    fix: str = ""
    time: float = field(default_factory=time.time)


NOT_A_NUMBER = "The loss stopped being a number"
"""So begins the problem of a run that failed because its loss or gradient became infinite; readers know it by that."""

KINDS: dict[str, type[Event]] = {
    kind.type: kind for kind in (Progress, Evaluation, Sample, Checkpoint, Notice, Finished, Failed)
}


TAIL_BYTES = 65_536


class Writer:
    """Appends events to a file, each as one write, so that readers see whole lines."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by `close`
        self._cut_off = bool(self._file.tell()) and not _ends_with_newline(path)
        """Whether the file ends within a line, which the next one must not be glued to."""

    def write(self, event: Event) -> None:
        """Raises OSError where the disk is full."""
        record = {"type": event.type, **asdict(event)}
        line = json.dumps(_finite(record), ensure_ascii=False, separators=(",", ":"))
        # A lone half of a surrogate pair, which JSON allows in a person's file, is no UTF-8.
        data = b"\n" * self._cut_off + line.encode(errors="backslashreplace") + b"\n"
        written = self._file.write(data)
        if written != len(data):
            self._cut_off = self._cut_off or bool(written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._cut_off = False

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()


def read(path: Path, offset: int = 0, limit_bytes: int | None = None) -> tuple[list[Event], int]:
    """Whole events from byte `offset` on, and the offset to go on from.

    Lines that are not an event (cut off, or of a newer version) are skipped. A missing file has no events.
    limit_bytes: read about so many, at least one line.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read() if limit_bytes is None else file.read(limit_bytes)
            if limit_bytes is not None and b"\n" not in data:
                data += file.readline()
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    found = []
    for line in data[:end].splitlines():
        event = _parsed(line)
        if event is not None:
            found.append(event)
    return found, offset + end


def tail(path: Path, enough: Callable[[Sequence[Event]], object] = bool) -> list[Event]:
    """The newest events, from the file's end back until there are `enough`, or all."""
    try:
        size = path.stat().st_size
    except OSError:
        return []
    window = TAIL_BYTES
    while True:
        events, _ = read(path, max(0, size - window))
        if window >= size or enough(events):
            return events
        window *= 8


def _parsed(line: bytes) -> Event | None:
    try:
        record = json.loads(line)
        kind = KINDS[record.pop("type")]
        names = {item.name for item in fields(kind)}
        return kind(**{name: value for name, value in record.items() if name in names})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _finite(value: Any) -> Any:
    """JSON has no NaN or infinity: they become null."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
