"""Child processes that answer requests in JSON lines, with limits on time and memory.

The page asks (`Child.stream`), the child answers (`serve`). A child that takes too long is killed, and started
again at the next request; one that nobody asks for a while ends by itself; all end with the page.

Towards the child: {"settings": …} once, then {"request": …} and {"cancel": true}.
From the child: {"ready": true} once, then for each request {"item": …} lines and one {"end": …}.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from engine import errors, home
from engine.bases import access
from engine.errors import UserError
from engine.kernel_cache import keep_few_kernels
from engine.waiting import wait_briefly

Record = dict[str, Any]
Handler = Callable[[Record, Callable[[Any], None], Callable[[], bool]], None]
"""Called with a request, `send` for each item of the answer, and `cancelled`: whether nobody waits any more."""

START_SECONDS = 180.0
"""Importing torch from a slow disk takes a minute and more."""
CANCEL_SECONDS = 10.0
LOG_BYTES = 1_000_000

# The kernel ends a child when the *thread* that started it ends (PR_SET_PDEATHSIG), and a page's threads come and go.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="children")


class TooSlow(Exception):
    """The child did not answer in time. It is ended."""


class Died(Exception):
    """The child ended without an answer; `code` is its exit code, negative for a signal."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


class OutOfMemory(Exception):
    """The request needs more memory than the child may have."""


@dataclass(frozen=True)
class Settings:
    """module: what `python -m` runs; it calls `serve`. Limits are for one request, but memory is for the child."""

    module: str
    idle_seconds: float
    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    threads: int | None = None
    """Of the libraries that start some; each takes address space, which `memory_bytes` counts."""


class Child:
    """One child process at most, started when needed. Requests from several threads wait for each other."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._end: Callable[[], Any] = lambda: None

    @property
    def log(self) -> Path:
        """Where the child's messages lie."""
        folder = home.cache() / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.settings.module}.log"

    def call(self, request: Record, seconds: float) -> Any:
        """The first item of the answer. Raises as `stream`, and Died where there is none."""
        items = list(self.stream(request, seconds))
        if not items:
            raise Died(0)
        return items[0]

    def stream(self, request: Record, seconds: float, first_seconds: float | None = None) -> Iterator[Any]:
        """The items of the answer as they come; closing the iterator cancels the request.

        seconds: the longest wait for an item (`first_seconds` for the first one).
        Raises TooSlow, Died, OutOfMemory, and the UserError that the child raised.
        """
        with self._lock:
            yield from self._answered(request, seconds, seconds if first_seconds is None else first_seconds)

    def close(self) -> None:
        """End the child. A request that is being answered raises Died."""
        process = self._process
        if process is not None:
            process.kill()
            process.wait()

    def _answered(self, request: Record, seconds: float, first_seconds: float) -> Iterator[Any]:
        ended = False
        try:
            record = self._asked(request, first_seconds)
            while "end" not in record:
                yield record["item"]
                record = self._next(seconds)
            ended = True
        finally:
            if not ended:
                self._cancel()
        _raise(record["end"])

    def _asked(self, request: Record, seconds: float) -> Record:
        """Send the request and take the first line of the answer; again if an idle child was just ending itself."""
        for _ in range(2):
            try:
                self._send(request)
                return self._next(seconds)
            except Died as died:
                if died.code != 0:
                    raise
        raise Died(0)

    def _send(self, request: Record) -> None:
        try:
            _tell(self._running(), {"request": request})
        except OSError:
            raise Died(self._process.wait() if self._process else 0) from None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._lines = queue.SimpleQueue()
            self._process = _starter.submit(self._start, self._lines).result()
            self._end = weakref.finalize(self, _end, self._process)
            limits = {name: getattr(self.settings, name) for name in ("idle_seconds", "memory_bytes", "cpu_seconds")}
            _tell(self._process, {"settings": {**limits, "parent": os.getpid()}})
            self._next(START_SECONDS)
        return self._process

    def _start(self, lines: queue.SimpleQueue[bytes | None]) -> subprocess.Popen[bytes]:
        grown = self.log.exists() and self.log.stat().st_size > LOG_BYTES
        with open(self.log, "wb" if grown else "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", self.settings.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                cwd=home.CHECKOUT,
                env=environment(self.settings.threads),
            )
        threading.Thread(target=_collect, args=(process.stdout, lines), daemon=True).start()
        return process

    def _next(self, seconds: float) -> Record:
        process = self._process
        if process is None:
            raise Died(0)
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            self._stop()
            raise TooSlow from None
        if line is None or not line.endswith(b"\n"):
            raise Died(process.wait())
        record: Record = json.loads(line)
        return record

    def _cancel(self) -> None:
        """Let the child drop the request, so that what it has loaded stays; end it if it doesn't."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        try:
            _tell(process, {"cancel": True})
            while "end" not in self._next(CANCEL_SECONDS):
                pass
        except (OSError, TooSlow, Died):
            self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            self._end()
            self._process = None


def serve(handle: Handler) -> None:
    """Answer requests on standard input, and end once nobody asks any more. The child's side of `Child`."""
    output: IO[bytes] = os.fdopen(os.dup(1), "wb", buffering=0)
    # Whatever else prints, a library or a template, goes to the log.
    os.dup2(2, 1)
    settings = json.loads(sys.stdin.buffer.readline() or b'{"settings": null}')["settings"]
    if settings is None:
        return
    _confine(settings["parent"], settings["memory_bytes"])
    requests: queue.SimpleQueue[Record] = queue.SimpleQueue()
    cancelled = threading.Event()
    threading.Thread(target=_listen, args=(requests, cancelled), daemon=True).start()
    _write(output, {"ready": True})
    wait = START_SECONDS  # A child is started for a request, which is on its way.
    while True:
        try:
            request = requests.get(timeout=wait)
        except queue.Empty:
            sys.stderr.flush()
            os._exit(0)  # An ordinary exit would wait for the thread that listens.
        cancelled.clear()
        _limit_processor(settings["cpu_seconds"])
        end = _handled(handle, request, lambda item: _write(output, {"item": item}), cancelled.is_set)
        _write(output, {"end": end})
        wait = settings["idle_seconds"]


def _handled(handle: Handler, request: Record, send: Callable[[Any], None], cancelled: Callable[[], bool]) -> Record:
    try:
        handle(request, send, cancelled)
    except UserError as error:
        return {"error": type(error).__name__, "problem": error.problem, "fix": error.fix}
    except MemoryError:
        return {"error": "memory"}
    except Exception:
        traceback.print_exc()
        return {"error": "crash", "problem": traceback.format_exc(limit=-1).strip().splitlines()[-1]}
    return {}


def _raise(end: Record) -> None:
    kind = end.get("error")
    if kind is None:
        return
    if kind == "memory":
        raise OutOfMemory
    if kind == "crash":
        raise RuntimeError(f"A child process failed: {end['problem']}")
    problem = end["problem"]
    if kind == "SettingError":
        raise errors.SettingError([problem], end["fix"])
    raise getattr(errors, kind, UserError)(problem, end["fix"])


def _listen(requests: queue.SimpleQueue[Record], cancelled: threading.Event) -> None:
    for line in sys.stdin.buffer:
        record = json.loads(line)
        if "cancel" in record:
            cancelled.set()
        else:
            requests.put(record["request"])
    os._exit(0)  # The page is gone.


def _confine(parent: int, memory_bytes: int | None) -> None:
    """Die with the page, and take no more than `memory_bytes`, as far as the platform can see to it."""
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
    if memory_bytes is not None and sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        allowed = memory_bytes if most == resource.RLIM_INFINITY else min(memory_bytes, most)
        try:
            resource.setrlimit(resource.RLIMIT_AS, (allowed, most))
        except (ValueError, OSError):  # macOS knows the limit but refuses to set it.
            print("no memory limit on this platform", file=sys.stderr)


def _limit_processor(seconds: int | None) -> None:
    """From now on. Ends a child that no longer listens, should the page be gone or stuck."""
    if seconds is None or sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


def environment(threads: int | None) -> dict[str, str]:
    """The page's, without its secrets, for a child with so many threads."""
    kept = access.plain(access.environment())
    wait_briefly(kept)
    keep_few_kernels(kept)
    if threads is not None:
        libraries = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        kept |= {name: str(threads) for name in libraries} | {"MALLOC_ARENA_MAX": str(threads)}
    return kept


def _collect(stdout: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    with stdout:
        for line in stdout:
            lines.put(line)
    lines.put(None)


def _tell(process: subprocess.Popen[bytes], record: Record) -> None:
    if process.stdin is not None:
        _write(process.stdin, record)


def _write(pipe: IO[bytes], record: Record) -> None:
    data = memoryview(json.dumps(record, separators=(",", ":")).encode() + b"\n")
    while data:
        data = data[pipe.write(data) or 0 :]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
