"""Pushing a finished run to the Hub: a step of its own, by a detached process that outlives page and terminal.

What it does stands in `push/` of the run's folder: `request.json` (what was asked), `state.json` (how far it is),
`pusher.json` (who is at work). The token is in that process's environment and nowhere else.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from engine import home
from engine.bases import access
from engine.errors import RunError, SettingError, UserError
from engine.files import read_json, write_json
from engine.publishing import origin
from engine.publishing.stories import Story, read
from engine.runs import process, store
from engine.runs.store import Run

FOLDER = "push"
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
SECONDS_TO_START = 10.0
"""A process that has just been started may not have said who it is."""
MOST_NAME = 96
GO_ON = "Go on: what the Hub has already is not sent again."
TOKEN = re.compile(r"\bhf_[A-Za-z0-9_-]{6,}|(?<=Bearer )\S+")
_children: list[subprocess.Popen[bytes]] = []
"""Pushers that this process started, so that they are collected when they end."""


@dataclass(frozen=True)
class Request:
    repo: str
    """owner/name, or a name alone: then the owner is whoever the token belongs to."""
    private: bool = True
    merged: bool = False
    """Full weights, with the adapter merged in, in place of the adapter."""
    update: bool = False
    """Whether a repository of this name that was there before may be written to."""
    created: str = ""
    """The repository that an earlier attempt of this run's push created."""


def begin(run: Run, request: Request, token: str | None) -> None:
    """Push a finished run; without a token the push waits for one (see `go_on`).

    Raises SettingError for a name that the Hub would refuse, RunError where there is no result or a push is on.
    """
    check_name(request.repo)
    story = story_of(run)
    if request.merged and not story.can_merge:
        raise SettingError([cannot_merge(story)], "Push the result as it is.")
    if not request.merged and not story.stands_alone:
        raise SettingError(
            ["What this run left stands on a model that was made for it, and that nobody else has."], _instead(story)
        )
    _begin(run, request, token)


def go_on(run: Run, token: str | None, update: bool = False) -> None:
    """Take a push up again that waited, failed or was stopped; what the Hub has is not sent again."""
    request = requested(run)
    if request is None:
        raise RunError(f"Run {run.id} was not pushed yet.", "Name a repository first.")
    _begin(run, replace(request, update=request.update or update), token)


def stop(run: Run) -> None:
    """End a push. What was sent stays on the Hub's side, so that going on is quick."""
    state = status(run)
    if state is None or state["state"] not in (RUNNING, WAITING):
        raise RunError(f"Run {run.id} is not being pushed.", "Only a push that is on can be stopped.")
    process.end(read_json(_file(run.folder, "pusher")), force=True)
    if (read_json(_file(run.folder, "state")) or state)["state"] == DONE:
        return
    tell(run.folder, {**state, "state": FAILED, "problem": "Stopped, as you asked.", "fix": GO_ON, "needs": None})


def status(run: Run) -> dict[str, Any] | None:
    """How a push stands, as plain values; None where none was asked for.

    state: "waiting" (for a token), "running", "done", "failed". doing: in words. files_done, files_total, bytes_done,
    bytes_total. url: of the result. problem, fix: where it failed. needs: "token" or "update" where that would help.
    """
    state, request = read_json(_file(run.folder, "state")), requested(run)
    if state is None or request is None:
        return None
    asked = {"repo": request.repo, "private": request.private, "merged": request.merged}
    state = {**asked, **state}
    if state["state"] == RUNNING and not _at_work(run.folder, float(state.get("time", 0))):
        state |= {"state": FAILED, "problem": "The push ended unexpectedly.", "fix": GO_ON}
    return state


def story_of(run: Run) -> Story:
    """What the card will tell, without asking the Hub. Raises RunError where there is no result."""
    return read(run, origin.base(run.spec().model))


def _instead(story: Story) -> str:
    if story.can_merge:
        return "Push merged weights."
    return f"{story.spec.tuner.title} can't be merged; export the result in place of pushing it."


def cannot_merge(story: Story) -> str:
    """Why merged weights can't be pushed."""
    if story.form == "whole":
        return "This run left full weights, so there is nothing to merge."
    return f"{story.spec.tuner.title} can't be merged. {story.spec.tuner.unmergeable}"


def waiting(owner: str) -> list[Run]:
    """The owner's runs whose push waits for a token."""
    known = (run for run in store.listed(owner=owner) if _file(run.folder, "state").exists())
    return [run for run in known if (status(run) or {}).get("state") == WAITING]


def requested(run: Run) -> Request | None:
    record = read_json(_file(run.folder, "request"))
    return Request(**record) if record is not None else None


def check_name(repo: str) -> None:
    """Raises SettingError that says what the Hub would not take."""
    owner, slash, name = repo.rpartition("/")
    problem = ""
    if not name or (slash and not owner) or "/" in owner:
        problem = "it should be owner/name, or a name alone"
    elif not re.fullmatch(r"[A-Za-z0-9._/-]+", repo):
        problem = "letters without accents, digits, and . _ - are all that it may hold"
    elif any(part[0] in ".-" or part[-1] in ".-" for part in filter(None, (owner, name))):
        problem = "it may not begin or end with a dot or a hyphen"
    elif "--" in repo or ".." in repo:
        problem = "two hyphens or two dots may not follow each other"
    elif len(repo) > MOST_NAME:
        problem = f"it is longer than {MOST_NAME} characters"
    elif name.endswith((".git", ".ipynb")):
        problem = f"it may not end with {name[name.rindex('.') :]}"
    if problem:
        raise SettingError([f"The Hub takes no repository named {repo[:120]!r}: {problem}."], "Choose another name.")


def suggested_name(run_name: str) -> str:
    """A repository's name made from a run's."""
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", run_name).strip("-_").lower()
    return slug[:60].strip("-_") or "tuned-model"


def redacted(text: str, token: str | None) -> str:
    """The text without the token, or anything that looks like one."""
    if token:
        text = text.replace(token, "(token)")
    return TOKEN.sub("(token)", text)


def tell(folder: Path, state: dict[str, Any]) -> None:
    """Write how a push stands. Raises OSError where the run's folder is gone or full."""
    write_json(_file(folder, "state"), {**state, "time": time.time()})


def remember(folder: Path, request: Request) -> None:
    write_json(_file(folder, "request"), asdict(request))


def _begin(run: Run, request: Request, token: str | None) -> None:
    (run.folder / FOLDER).mkdir(mode=0o700, exist_ok=True)
    try:
        with FileLock(run.folder / FOLDER / ".begin.lock", timeout=5):
            if (status(run) or {}).get("state") == RUNNING:
                raise RunError(f"Run {run.id} is being pushed already.", "Wait for it, or stop it.")
            before = requested(run)
            created = before.created if before is not None else ""
            remember(run.folder, replace(request, created=request.created or created))
            if token:
                _file(run.folder, "pusher").unlink(missing_ok=True)
                tell(run.folder, {"state": RUNNING, "doing": "Starting."})
                _launch(run.folder, token)
            else:
                tell(run.folder, {"state": WAITING, "needs": "token"})
    except Timeout:
        raise RunError(f"Run {run.id} is being pushed already.", "Wait for it, or stop it.") from None
    except OSError as error:
        raise UserError(
            f"The push can't be started: {error.strerror or type(error).__name__}.",
            "Make room on the disk, and try again.",
        ) from None


def _at_work(folder: Path, told: float) -> bool:
    """Whether a pusher lives, or was started (`told`, seconds since 1970) too recently to have said who it is."""
    known = read_json(_file(folder, "pusher"))
    return process.alive(known) if known is not None else time.time() - told < SECONDS_TO_START


def _launch(folder: Path, token: str) -> None:
    with open(folder / FOLDER / "pusher.log", "wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "engine.runs.pusher", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home.CHECKOUT,
            env=_environment(token),
            start_new_session=True,
        )
    _children[:] = [known for known in _children if known.poll() is None]
    _children.append(child)
    try:
        write_json(_file(folder, "pusher"), process.identity(child.pid))
    except ProcessLookupError:
        pass  # it has ended already


def _environment(token: str) -> dict[str, str]:
    return {
        **access.without_secrets(os.environ),
        "TUNESMITH_HOME": str(home.home()),
        "TUNESMITH_CACHE": str(home.cache()),
        "HF_TOKEN": token,
        # Plain uploads go on where they stopped, file by file; those by xet tell us nothing on their way.
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # Its warnings name addresses that hold signatures.
        "HF_HUB_VERBOSITY": "critical",
    }


def _file(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.json"
