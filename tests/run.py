"""Installs what the tests need and runs all of them: `python tests/run.py`.

It needs Python 3.11 to 3.13 and pip, and works in a virtual environment of its own, `.venv-tests`, which is
kept until the lists of packages change. Everything runs but what is marked `gpu`.

    python tests/run.py -- -k lora         what stands behind "--" goes to pytest
    python tests/run.py --no-browser       leaves out the tests that drive the page in Chromium
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
ENVIRONMENT = CHECKOUT / ".venv-tests"
LISTS = ("requirements.txt", "requirements-dev.txt", "constraints.txt", "requirements-kernels.txt")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
BROWSER_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)


MOST_AT_ONCE = 4
"""Processes that test at the same time: each may load a real model, about 2 GB."""


class Missing(Exception):
    """Something that this machine lacks; the text says what to do."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Installs what the tests need and runs all of them.")
    parser.add_argument("--no-browser", action="store_true", help="leave out the tests that drive the page in Chromium")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, behind --")
    wanted = parser.parse_args()
    started = time.monotonic()
    try:
        check_python()
        with Heading("Packages"):
            python = install()
        environment = dict(os.environ)
        environment.pop("PYTHONPATH", None)
        if not wanted.no_browser:
            with Heading("Browser"):
                environment["CHROMIUM"] = browser(python)
                print(environment["CHROMIUM"])
    except (Missing, subprocess.CalledProcessError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    marks = "not gpu and not browser" if wanted.no_browser else "not gpu"
    steps = {
        "Lint (ruff)": ["ruff", "check", "--output-format", "concise", "."],
        "Types (mypy)": ["mypy"],
        "Tests (pytest)": ["pytest", "-m", marks, *spread(), *wanted.pytest],
    }
    failed = []
    for title, command in steps.items():
        with Heading(title):
            if subprocess.run([python, "-m", *command], cwd=CHECKOUT, env=environment).returncode:
                failed.append(title)
    verdict = f"Failed: {', '.join(failed)}" if failed else "All passed"
    print(f"\n{verdict} after {time.monotonic() - started:.0f} s.", flush=True)
    return 1 if failed else 0


def spread() -> list[str]:
    """Arguments that spread the tests over the processors, file by file: those of one share its fixtures."""
    return ["-n", str(min(os.cpu_count() or 1, MOST_AT_ONCE)), "--dist", "loadfile", "--no-loadscope-reorder"]


class Heading:
    """Prints a title before a step and its time after it."""

    def __init__(self, title: str) -> None:
        self.title = title

    def __enter__(self) -> None:
        self.started = time.monotonic()
        print(f"\n=== {self.title}", flush=True)

    def __exit__(self, *_: object) -> None:
        print(f"--- {self.title}: {time.monotonic() - self.started:.0f} s", flush=True)


def check_python() -> None:
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        found = ".".join(map(str, sys.version_info[:3]))
        raise Missing(f"This is Python {found}. Run the tests with Python 3.11, 3.12 or 3.13.")


def install() -> str:
    """The Python of the tests' environment, with the listed packages in it.

    A file written last says which lists were installed by which Python, so that an interrupted
    installation is taken up again and a finished one is not repeated.
    """
    python = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = ENVIRONMENT / "installed"
    wanted = hashlib.sha256(
        sys.version.encode() + b"".join((CHECKOUT / name).read_bytes() for name in LISTS)
    ).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        print("up to date")
        return str(python)
    stamp.unlink(missing_ok=True)
    pip = create(python)
    print("installing; a fresh environment takes a few minutes", flush=True)
    command = [*pip, "install", "--quiet", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    subprocess.run([*command, "-r", LISTS[0], "-r", LISTS[1], "-c", LISTS[2]], cwd=CHECKOUT, check=True)
    apart = ["--no-deps", "--target", str(ENVIRONMENT / "kernels")]
    subprocess.run([*command, *apart, "-r", LISTS[3]], cwd=CHECKOUT, check=True)
    stamp.write_text(wanted)
    return str(python)


def create(python: Path) -> list[str]:
    """Make a new environment; returns the command of a pip that installs into it."""
    command = [sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)]
    if importlib.util.find_spec("ensurepip"):
        subprocess.run(command, check=True)
        return [str(python), "-m", "pip"]
    # Some Linux distributions keep ensurepip in a package of its own. The pip at hand can do its work.
    if not importlib.util.find_spec("pip"):
        raise Missing("This Python has neither ensurepip nor pip. On Debian: apt-get install python3-venv")
    subprocess.run([*command, "--without-pip"], check=True)
    return [sys.executable, "-m", "pip", "--python", str(python)]


def browser(python: str) -> str:
    """The path of a Chromium: named, installed, Playwright's own, or freshly installed where that is allowed."""
    named = os.environ.get("CHROMIUM")
    if named:
        if not shutil.which(named):
            raise Missing(f"CHROMIUM is {named}, which is not a program.")
        return named
    found = installed_browser() or playwright_browser(python)
    if found:
        return found
    if sys.platform == "linux" and os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing Chromium with apt-get", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", "-q", *command], check=True, stdout=subprocess.DEVNULL, env=environment)
        found = installed_browser()
        if found:
            return found
    raise Missing(
        "The browser tests need Chromium, and there is none. One of these helps:\n"
        "  - install Chromium or Chrome so that it is on the PATH (on Debian: apt-get install chromium)\n"
        f"  - let Playwright fetch its own: {python} -m playwright install chromium\n"
        "  - set CHROMIUM to the path of one that is somewhere else\n"
        "  - leave those tests out: python tests/run.py --no-browser"
    )


def installed_browser() -> str | None:
    on_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    return on_path or next((place for place in BROWSER_PLACES if Path(place).exists()), None)


def playwright_browser(python: str) -> str | None:
    script = "from playwright.sync_api import sync_playwright as s\nwith s() as p: print(p.chromium.executable_path)"
    answer = subprocess.run([python, "-c", script], capture_output=True, text=True)
    path = answer.stdout.strip()
    return path if path and Path(path).exists() else None


if __name__ == "__main__":
    sys.exit(main())
