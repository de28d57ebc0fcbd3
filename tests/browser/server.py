"""A real page server as its own process, and the Chromium to look at it with."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, Playwright

from tests.browser import forks

CHECKOUT = Path(__file__).resolve().parent.parent.parent
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 90_000
"""For what a page comes to by itself. A busy machine takes many times the usual second, and a test that goes on early
fails there without a fault."""
START_SECONDS = 90
"""A cold start takes 3 to 5 s; a busy machine much more."""


class PageServer:
    """`python app.py` on a free port, with a home of its own. It can be stopped, killed and started again."""

    quick = False
    """Whether it may be forked from a process that has loaded its modules already (see `tests.browser.forks`)."""

    def __init__(self, home: Path, *arguments: str, **environment: str) -> None:
        """arguments: further ones of `app.py`. environment: variables on top of the test's own."""
        self.home = home
        self.arguments = arguments
        self.environment = environment
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home.parent / "server.log"
        self._process: subprocess.Popen[bytes] | forks.Server | None = None

    def start(self) -> None:
        """Start and wait until the page answers."""
        arguments = ["--port", str(self.port), "--home", str(self.home), *self.arguments]
        # Variables of its own may be read when modules are imported.
        forked = self.quick and not self.environment and forks.possible()
        self._process = forks.start(arguments, self.log) if forked else self._from_scratch(arguments)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            except urllib.error.HTTPError:  # it asks for the password
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise AssertionError(f"The page does not answer. Its log ends with:\n{self.tail()}")

    def _from_scratch(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "app.py", *arguments],
                cwd=CHECKOUT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """End it with no chance to tidy up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def launch(playwright: Playwright) -> Browser:
    """Chromium without a window: the one that CHROMIUM names, or one on the PATH, or Playwright's own."""
    named = os.environ.get("CHROMIUM")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return playwright.chromium.launch(
        executable_path=named or found, headless=True, args=FLAGS, chromium_sandbox=not _is_root()
    )


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
