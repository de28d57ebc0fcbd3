"""Page servers made by forking a process that has loaded their modules: a start takes a third of the time.

`python -m tests.browser.forks` is that process. It reads a JSON object a line from standard input, {"arguments" of
app.py, "environment", "log"}, and writes the new server's process id; it ends with its input.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from functools import cache, partial
from pathlib import Path
from typing import Any

from tests.fakes.scripts import end_with

CHECKOUT = Path(__file__).resolve().parent.parent.parent


def _of_hub() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("HF_")}


AT_FIRST = _of_hub()
"""What the Hub's library reads when it is loaded, as it was before any test changed it."""


def possible() -> bool:
    """Whether a server with this process's environment can be a fork."""
    return sys.platform == "linux" and _of_hub() == AT_FIRST


class Server:
    """As much of `subprocess.Popen` as `PageServer` needs, for a process that is somebody else's child."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def wait(self, timeout: float = 60.0) -> int:
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("app.py", timeout)
            time.sleep(0.02)
        return 0

    def _signal(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass


def start(arguments: list[str], log: Path) -> Server:
    """A new server with this process's environment."""
    loaded = _loaded()
    assert loaded.stdin is not None and loaded.stdout is not None
    request = {"arguments": arguments, "environment": dict(os.environ), "log": str(log)}
    loaded.stdin.write(json.dumps(request) + "\n")
    loaded.stdin.flush()
    return Server(int(loaded.stdout.readline()))


@cache
def _loaded() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.browser.forks"]
    # It is of no test's home, so no test ends it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TUNESMITH_", "HF_"))}
    loaded = subprocess.Popen(
        command, cwd=CHECKOUT, env=environment | AT_FIRST, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(loaded.communicate)  # closes its input and waits for its end
    return loaded


def main() -> None:
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
    import app
    from engine.runs import queue  # noqa: F401 - what app.main imports
    from ui import limits, owner, rate, routes, security, sessions, sharing, shell, sign_in, theme  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            end_with(partial(_serve, app, request))
        print(pid, flush=True)


def _serve(app: Any, request: dict[str, Any]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(request["environment"])
    nothing, log = os.open(os.devnull, os.O_RDONLY), os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, place in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(number, place)
    sys.argv = ["app.py", *request["arguments"]]
    app.main()


if __name__ == "__main__":
    main()
