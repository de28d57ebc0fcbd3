"""Tells what a run does: turns the trainer's figures into events, and notices a wish to stop."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from engine.events import Checkpoint, Evaluation, Event, Notice, Progress, Sample, Writer
from engine.methods.job import Stopped

SECONDS_BETWEEN_PROGRESS = 0.5
"""More often tells a person nothing more, and a long run's events stay small."""


class Reporter:
    """Writes the events of one run."""

    def __init__(self, folder: Path, writer: Writer) -> None:
        self._stop_file = folder / "stop"
        self._writer = writer
        self._last_progress = 0.0
        self.losses: list[float] = []
        """Training loss of each step of this attempt."""

    def write(self, event: Event) -> None:
        self._writer.write(event)

    def notice(self, text: str, level: str = "info") -> None:
        print(text, flush=True)
        self.write(Notice(text, level))

    def stop_wanted(self) -> bool:
        return self._stop_file.exists()

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Raises Stopped within the block soon after the person asked to stop, in the middle of long Python code, too.

        A call into compiled code ends first. Outside the main thread, which alone can be interrupted, nothing happens.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(*_: object) -> None:
            raise Stopped

        def watch() -> None:
            while not over.wait(SECONDS_BETWEEN_PROGRESS):
                if self.stop_wanted():
                    _thread.interrupt_main()
                    return

        over = threading.Event()
        watcher = threading.Thread(target=watch, daemon=True)
        before = signal.signal(signal.SIGINT, stop)
        try:
            watcher.start()
            yield
        finally:
            try:
                over.set()
                watcher.join()
            finally:
                signal.signal(signal.SIGINT, before)

    def phase(self, name: str, done: int, total: int, seconds: float = 0.0) -> None:
        """Progress of work beside training. Raises Stopped where the person asked to stop."""
        if self.stop_wanted():
            raise Stopped
        if done in (0, total) or self._due():
            self.write(Progress(done, total, phase=name, memory_bytes=peak_memory(), seconds=round(seconds, 2)))

    def step(self, progress: Progress) -> None:
        if progress.loss is not None:
            self.losses.append(progress.loss)
        if self._due() or progress.step in (1, progress.total_steps):
            self.write(progress)

    def evaluation(self, step: int, metrics: dict[str, float]) -> None:
        self.write(Evaluation(step, metrics))

    def sample(self, step: int, prompt: str, answer: str, expected: str) -> None:
        self.write(Sample(step, prompt, answer, expected))

    def checkpoint(self, step: int, path: str, size: int, best: bool) -> None:
        self.write(Checkpoint(step, path, size, best))

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._last_progress < SECONDS_BETWEEN_PROGRESS:
            return False
        self._last_progress = now
        return True


def peak_memory() -> int:
    """Most memory this process has held so far, in bytes: on the GPU where one is in use, else of the process."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    own = _told_by_linux()
    if own is not None:
        return own
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _told_by_linux() -> int | None:
    """Not what getrusage says there: by that a process begins with what its parent held when it was started."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
