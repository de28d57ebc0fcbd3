"""The Dockerfile without a container engine: what it copies, its steps as an ordinary user, and the page's start."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.server import CHECKOUT, START_SECONDS, _free_port

UID = 1000
PIP = """#!/bin/sh
printf '%s\\n' "$*" >> "$PIP_LOG"
"""
"""In place of pip, whose downloads are no matter of a test: it notes what it is asked for."""


def instructions() -> list[tuple[str, str]]:
    """Name and text of each, continued lines joined, comments left out."""
    text = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in joined.splitlines() if line.strip()]


def of(name: str) -> list[str]:
    return [text for found, text in instructions() if found == name]


def environment() -> dict[str, str]:
    pairs = re.findall(r"(\w+)=(\S+)", " ".join(of("ENV")))
    return dict(pairs)


def left_out(path: str) -> bool:
    """Whether .dockerignore leaves out a path, as far as patterns without exceptions go."""
    patterns = [line for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    parts = path.split("/")
    tops = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    return any(
        fnmatch.fnmatch(part if pattern.startswith("**/") else top, pattern.removeprefix("**/"))
        for pattern in patterns
        for top, part in zip(tops, parts, strict=True)
        if pattern.startswith("**/") or top.count("/") == pattern.count("/")
    )


def tracked() -> list[str]:
    """The files of the checkout that are there for others, those that were not committed yet included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=CHECKOUT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if (CHECKOUT / name).is_file()]


def as_user() -> list[str]:
    """What a command begins with so that an ordinary user runs it."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("runs as root, and there is no setpriv to become somebody else")
    return ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]


@pytest.fixture
def image() -> Iterator[Path]:
    """What lies in the image's home: `app` with what is copied, `data`; all of it the user's.

    Not below pytest's own folder, which is closed to other users.
    """
    place = Path(tempfile.mkdtemp(prefix="tunesmith-image-"))
    place.chmod(0o755)
    for name in ("app", "data"):
        (place / name).mkdir()
    for name in tracked():
        if not left_out(name):
            (place / "app" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / name, place / "app" / name)
    if os.geteuid() == 0:
        for path in (place, *place.rglob("*")):
            os.chown(path, UID, UID)
    yield place
    shutil.rmtree(place, ignore_errors=True)


def test_what_is_copied_by_name_is_there_and_not_left_out() -> None:
    named = [source for copy in of("COPY") for source in copy.split()[1:-1]]
    assert named == ["requirements.txt", "constraints.txt", "."]
    for name in named[:2]:
        assert (CHECKOUT / name).is_file() and not left_out(name)


def test_the_image_holds_the_program_and_nothing_of_people_tests_or_git(image: Path) -> None:
    names = {path.relative_to(image / "app").as_posix() for path in (image / "app").rglob("*") if path.is_file()}
    assert {"app.py", "ui/shell.py", "ui/static/page.css", "engine/runs/worker.py", "README.md", "LICENSE"} <= names
    assert any(name.startswith("samples/") for name in names)
    for name in (".secret", ".git/config", "runs/x/run.json", "files/local/x.csv", "tests/conftest.py", ".venv/bin/x"):
        assert left_out(name), name
    assert not any(name.startswith((".", "tests/", "runs/", "files/")) for name in names)


def test_the_base_can_be_chosen_and_all_after_the_first_step_is_done_as_user_1000() -> None:
    names = [name for name, _ in instructions()]
    assert instructions()[:2] == [("ARG", "BASE=python:3.12-slim"), ("FROM", "${BASE}")]
    assert of("USER") == [str(UID)]
    assert names.index("USER") == names.index("RUN") + 1
    assert all(f"--chown={UID}:{UID}" in copy for copy in of("COPY"))


def test_everything_that_is_written_lies_in_the_volume() -> None:
    found = environment()
    assert found["TUNESMITH_HOME"] == "/home/user/data"
    assert all(found[name].startswith("/home/user/data/") for name in ("TUNESMITH_CACHE", "HF_HOME"))


@pytest.mark.parametrize("index", ["", "https://index.example/cpu"])
def test_the_install_step_runs_as_an_ordinary_user(image: Path, index: str) -> None:
    tools = image / "tools"
    tools.mkdir(mode=0o777)
    (tools / "pip").write_text(PIP)
    (tools / "pip").chmod(0o755)
    tools.chmod(0o777)
    step = next(text for text in of("RUN") if "pip install" in text)
    log = tools / "log"
    told = {"PATH": f"{tools}:/usr/bin:/bin", "PIP_LOG": str(log), "TORCH_INDEX": index, "HOME": str(image)}
    subprocess.run([*as_user(), "/bin/sh", "-ec", step], cwd=image / "app", env=told, check=True)
    asked = log.read_text().splitlines()
    assert asked[-1] == "install --user -r requirements.txt -c constraints.txt"
    assert asked[:-1] == ([f"install --user --index-url {index} -c constraints.txt torch"] if index else [])


@pytest.mark.slow
def test_the_page_starts_as_an_ordinary_user_with_what_is_copied(image: Path) -> None:
    prefix, port = as_user(), _free_port()
    command: list[str] = json.loads(of("CMD")[0])
    assert command == ["python", "app.py", "--host", "0.0.0.0", "--port", "7860"]
    # The environment's interpreter, since the packages lie there.
    command = [*prefix, sys.executable, *command[1:-1], str(port)]
    told = {
        **os.environ,
        **{
            name: str(image / value.removeprefix("/home/user/"))
            for name, value in environment().items()
            if "/data" in value
        },
        "HOME": str(image),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    probe = subprocess.run([*prefix, sys.executable, "-c", "import gradio"], env=told, capture_output=True)
    if probe.returncode:
        pytest.skip("another user can't read this environment")
    with open(image / "log", "wb") as log:
        started = subprocess.Popen(
            command, cwd=image / "app", env=told, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        assert "tunesmith/static/page.css" in answer(f"http://127.0.0.1:{port}/", started, image / "log")
        secret = image / "data" / ".secret"
        assert secret.stat().st_uid == (UID if prefix else os.geteuid()) and secret.stat().st_mode & 0o777 == 0o600
        end = time.monotonic() + START_SECONDS
        while "?host=" not in (image / "log").read_text():  # it is printed when the page answers already
            assert time.monotonic() < end, (image / "log").read_text()
            time.sleep(0.1)
    finally:
        started.kill()
        started.wait()


def answer(address: str, started: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and started.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5) as found:
                return str(found.read().decode())
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(log.read_text())
