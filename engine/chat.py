"""Talking with a run's model, tuned or base, or asking a classifier.

The model lives in a child process, which ends when nobody asks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.children import Child, Died, OutOfMemory, Settings, TooSlow
from engine.errors import MachineError
from engine.judging.scores import Marked

IDLE_SECONDS = 120.0
MOST_MODELS = 2
LOAD_SECONDS = 600.0
TOKEN_SECONDS = 120.0
"""Longest wait for the next piece of text."""
QUEUE_SECONDS = 120.0
"""Longest wait for a place while other models answer."""

Key = tuple[str, bool]


@dataclass
class _Seat:
    child: Child
    talks: int = 0
    """How many answers are waited for."""


class Chats:
    """At most `most` models at once: one child for each run folder and each of its models, the tuned and the base one.

    module: what the children run. idle_seconds: after which a child ends.
    """

    def __init__(
        self, module: str = "engine.compute.chat", most: int = MOST_MODELS, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._settings = Settings(module=module, idle_seconds=idle_seconds)
        self._most = most
        self._seats: OrderedDict[Key, _Seat] = OrderedDict()
        self._changed = threading.Condition()

    def stream(
        self,
        run_folder: Path,
        messages: Sequence[Mapping[str, Any]],
        base: bool = False,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        task: int = 0,
    ) -> Iterator[str]:
        """The answer to a conversation, as it is generated. Closing the iterator stops the generation.

        temperature: 0 takes the likeliest token each time. task: which of the run's data sets it answers as, counted
        from 0, where its tuner tells them apart.
        Raises RunError where the run has no model to talk with, MachineError where the machine can't carry it.
        """
        asked = {
            "messages": [dict(message) for message in messages],
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "task": task,
        }
        yield from self._answer(run_folder, base, asked)

    def labels(
        self, run_folder: Path, text: str, task: int = 0, second: str = "", before: str = ""
    ) -> list[tuple[str, float]]:
        """Every label of a run that chooses among labels, with the chance that it gives it, the likeliest first.

        second: the other text, of a run that reads two at a time. task: as in `stream`. before: what stands before
        texts of this task (`RunSpec.before`).
        Raises RunError where the run chooses no labels, MachineError as `stream` does.
        """
        (found,) = self._answer(run_folder, False, {"text": text, "task": task, "second": second, "before": before})
        return [(str(label), float(chance)) for label, chance in found]

    def marks(self, run_folder: Path, text: str, task: int = 0) -> list[Marked]:
        """What a run that marks words marks in a text, in the order of the text. Raises as `labels` does."""
        (found,) = self._answer(run_folder, False, {"text": text, "task": task})
        return [Marked(str(label), float(chance), int(begin), int(end)) for label, chance, begin, end in found]

    def _answer(self, run_folder: Path, base: bool, asked: Mapping[str, Any]) -> Iterator[Any]:
        folder = str(run_folder.resolve())
        with self._seat((folder, base)) as child:
            try:
                yield from child.stream({"run_folder": folder, "base": base, **asked}, TOKEN_SECONDS, LOAD_SECONDS)
            except TooSlow:
                raise MachineError("The model took too long to answer.", "Choose a smaller model, or wait.") from None
            except OutOfMemory:
                raise _too_large(child) from None
            except Died as died:
                if died.code == -9:
                    raise _too_large(child) from None
                raise MachineError(
                    f"The model's process ended without an answer (exit code {died.code}).",
                    f"Try again. Details are in {child.log}.",
                ) from None

    def close(self) -> None:
        """End all children; each is started again when needed."""
        with self._changed:
            seats = list(self._seats.values())
            self._seats.clear()
            self._changed.notify_all()
        for seat in seats:
            seat.child.close()

    @contextmanager
    def _seat(self, key: Key) -> Iterator[Child]:
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(key), QUEUE_SECONDS):
                raise MachineError(
                    f"{self._most} models are already answering, which is the most at once.",
                    "Wait until one has finished.",
                )
            seat = self._seats.setdefault(key, _Seat(Child(self._settings)))
            self._seats.move_to_end(key)
            seat.talks += 1
        try:
            yield seat.child
        finally:
            with self._changed:
                seat.talks -= 1
                self._changed.notify_all()

    def _has_room(self, key: Key) -> bool:
        """Makes room where that is possible by ending the model that was quiet for longest."""
        if key in self._seats or len(self._seats) < self._most:
            return True
        quiet = next((other for other, seat in self._seats.items() if not seat.talks), None)
        if quiet is None:
            return False
        self._seats.pop(quiet).child.close()
        return True


def _too_large(child: Child) -> MachineError:
    return MachineError(
        "The model's process was ended, most likely because the machine's memory is full.",
        f"End other programs or runs, or choose a smaller model. Details are in {child.log}.",
    )


_chats = Chats()
stream = _chats.stream
labels = _chats.labels
marks = _chats.marks
close = _chats.close
