"""Keeps tests away from the person's own files, from the network and from each other.

Every test has a home of its own. The cache is one for the session, but for what costs time to make, converted models and the
speed of the machine: they lie in `.cache-tests` (or TUNESMITH_TEST_CACHE) and outlive the session.
"""

from __future__ import annotations

import atexit
import gc
import ipaddress
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before any library is imported, since several read these once. Child processes inherit them.
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_XET="1",
    DO_NOT_TRACK="1",
    GRADIO_ANALYTICS_ENABLED="False",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
)
for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "TUNESMITH_HOME", "TUNESMITH_CACHE"):
    os.environ.pop(name, None)
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="tunesmith-tests-hub-")
atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)

import psutil  # noqa: E402 - after the environment is set
import pytest  # noqa: E402

from tests.ending import pytest_terminal_summary  # noqa: E402, F401 - a hook of pytest's

CHECKOUT = Path(__file__).resolve().parent.parent
KEPT = ("models", "speed")
"""The parts of the cache that outlive a session: conversions, and how fast this machine is."""


@pytest.fixture(scope="session", autouse=True)
def _session_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Homes for what runs before the first test's own, in session-wide fixtures; ends what tests left running."""
    place = tmp_path_factory.mktemp("session")
    kept = Path(os.environ.get("TUNESMITH_TEST_CACHE") or CHECKOUT / ".cache-tests").resolve()
    (place / "cache").mkdir()
    for name in KEPT:
        (kept / name).mkdir(parents=True, exist_ok=True)
        (place / "cache" / name).symlink_to(kept / name, target_is_directory=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_HOME", str(place / "home"))
        patch.setenv("TUNESMITH_CACHE", str(place / "cache"))
        yield
    _end_processes(tmp_path_factory.getbasetemp())
    _collect_children()


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if "torch" in sys.modules:
        # Each trainer collects garbage when it begins, and need not look through the libraries' objects.
        gc.collect()
        gc.freeze()
    home = tmp_path / "home"
    monkeypatch.setenv("TUNESMITH_HOME", str(home))
    monkeypatch.setattr(socket.socket, "connect", _loopback_only(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", _loopback_only(socket.socket.connect_ex))
    yield
    if (home / "runs").exists():
        _end_processes(home)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, with nothing in it."""
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("TUNESMITH_CACHE", str(cache))
    return cache


def _loopback_only(connect: Any) -> Any:
    """`connect` that refuses addresses outside this machine: a test that reaches out would pass or fail by luck."""

    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(str(address[0])):
            raise AssertionError(f"This test reached for {address[0]}; tests talk to this machine only.")
        return connect(self, address)

    return guarded


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _collect_children() -> None:
    """Wait for detached programs that tests started, so that none is left for Python to complain of at its end."""
    for name in ("engine.runs.queue", "engine.runs.messages", "engine.publishing.push"):
        for child in getattr(sys.modules.get(name), "_children", []):
            child.wait(timeout=20)


def _end_processes(home: Path) -> None:
    """End workers, supervisors and servers whose home lies in `home`. They are detached, so they are no children of ours."""
    for process in psutil.process_iter():
        try:
            theirs = process.environ().get("TUNESMITH_HOME", "")
        except (psutil.Error, OSError):
            continue
        if process.pid != os.getpid() and theirs and Path(theirs).is_relative_to(home):
            try:
                process.kill()
            except psutil.Error:
                continue
