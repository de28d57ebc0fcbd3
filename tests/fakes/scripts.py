"""Runs standalone scripts of runs as programs of their own, without waiting each time for the libraries to load.

`run` has a script run by a process that has loaded torch, transformers and peft, and nothing of ours, and forks for each.
Where that can't be, each script is a fresh Python.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn

SECONDS = 250.0


def run(place: Path, *arguments: str | Path) -> str:
    """What `python train.py ARGUMENTS` prints in that folder. Raises AssertionError with its complaints if it fails."""
    given = list(map(str, arguments))
    if sys.platform != "linux":
        command = [sys.executable, "train.py", *given]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout
    with tempfile.TemporaryDirectory() as logs:
        out, complaints = Path(logs) / "out", Path(logs) / "complaints"
        request = {"place": str(place), "arguments": given, "out": str(out), "complaints": str(complaints)}
        loaded = _loaded()
        assert loaded.stdin is not None and loaded.stdout is not None
        loaded.stdin.write(json.dumps(request) + "\n")
        loaded.stdin.flush()
        code = int(loaded.stdout.readline())
        assert code == 0, complaints.read_text(encoding="utf-8", errors="replace")
        return out.read_text(encoding="utf-8")


@cache
def _loaded() -> subprocess.Popen[str]:
    # -P: neither this folder nor the checkout is looked through for modules.
    command = [sys.executable, "-P", str(Path(__file__).resolve())]
    # It outlives the test that begins it: whatever is left in a test's home is ended after it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUNESMITH_")}
    loaded = subprocess.Popen(
        command, cwd="/", env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(loaded.communicate)  # closes its input and waits for its end
    return loaded


def main() -> None:
    import peft  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            end_with(partial(_run, request))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(request: dict[str, Any]) -> None:
    """In the fork: the script, as `python train.py` runs it."""
    for number, name in ((1, "out"), (2, "complaints")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT), number)
    os.chdir(request["place"])
    sys.path.insert(0, request["place"])
    sys.argv = ["train.py", *request["arguments"]]
    runpy.run_path("train.py", run_name="__main__")


def end_with(program: Callable[[], object]) -> NoReturn:
    """Run it in this fork, which ends as a program of its own would: with its exit code, and what went wrong in words."""
    code = 1
    try:
        program()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        print(end, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
