"""Pushes one run: `HF_TOKEN=… python -m engine.runs.pusher FOLDER`. Started by engine.publishing.push.

Large files are sent one by one before anything is committed: a push that broke goes on with the file that it broke at.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from engine import export
from engine.bases import hub
from engine.errors import UserError
from engine.publishing import bundle, origin, push, refusals, stories
from engine.runs import store

T = TypeVar("T")
SECONDS_BETWEEN_WORDS = 0.5
MOST_WAITS = 8
SECONDS_FOR_ANOTHER = 20.0
BUSY = 6
MOST_SECONDS = 600.0
MERGED = "merged"


def main(folder: Path) -> int:
    # Out of the environment at once: what is started from here (merging) has no use for it.
    token = os.environ.pop("HF_TOKEN", "")
    os.umask(0o077)
    lock = FileLock(folder / push.FOLDER / ".pusher.lock")
    try:
        # The one before may have told its end and not quite ended.
        lock.acquire(timeout=SECONDS_FOR_ANOTHER)
    except Timeout:
        return BUSY
    try:
        return Push(folder, token).outcome()
    finally:
        lock.release()


class Push:
    """One attempt to push; its state is told to whoever reads `push/state.json`."""

    def __init__(self, folder: Path, token: str) -> None:
        from huggingface_hub import HfApi

        self.folder = folder
        self.run = store.get(folder.name)
        request = push.requested(self.run)
        if request is None:
            raise RuntimeError("request.json is missing")
        self.request = request
        self.repo = request.repo
        self.who: str | None = None
        self.state: dict[str, Any] = {"state": push.RUNNING, "doing": "Starting."}
        self._token = token
        self._told = 0.0
        self._api = HfApi(token=token)

    def outcome(self) -> int:
        """Push; 0 where it was done, 2 for what the person can mend, 1 for a fault of the program."""
        try:
            self._do()
            return 0
        except UserError as error:
            self._failed(error.problem, error.fix, getattr(error, "needs", None))
            return 2
        except Exception as error:
            return self._broke(error)

    def _do(self) -> None:
        self.say("Asking the Hub who you are.")
        if not hub.reachable():
            raise refusals.unreachable()
        self._sign_in()
        new = self._make_repository()
        weights = self._merge() if self.request.merged else None
        self.say("Writing the model card.")
        story = stories.read(
            self.run, origin.base(self.run.spec().model, lambda id, revision: hub.terms(id, revision, self._token))
        )
        files = bundle.contents(story, self.repo, weights)
        url = self._send(files, new)
        shutil.rmtree(self.folder / push.FOLDER / MERGED, ignore_errors=True)
        self.tell(state=push.DONE, doing="", url=url)

    def say(self, doing: str) -> None:
        self.tell(doing=doing)

    def tell(self, **news: Any) -> None:
        self.state |= news
        self._told = time.monotonic()
        push.tell(self.folder, self.state)

    def _failed(self, problem: str, fix: str, needs: str | None = None) -> None:
        problem, fix = (push.redacted(origin.without_places(text), self._token) for text in (problem, fix))
        try:
            self.tell(state=push.FAILED, doing="", problem=problem, fix=fix, needs=needs)
        except OSError:
            pass  # the run was deleted meanwhile, or the disk is full: whoever asks sees that we have ended

    def _broke(self, error: Exception) -> int:
        """Tell an error of a library as a person can mend it; a fault of ours goes to the log, too."""
        found = refusals.refused(error, self.repo, self.who)
        if found is not None:
            self._failed(found.problem, found.fix, found.needs)
            return 2
        print(push.redacted(traceback.format_exc(), self._token), file=sys.stderr)
        self._failed(
            f"The push broke: {type(error).__name__}.", "The details are in push/pusher.log of the run's folder."
        )
        return 1

    def _sign_in(self) -> None:
        known = self._patiently(self._api.whoami)
        self.who = str(known.get("name", "")) or None
        role = ((known.get("auth") or {}).get("accessToken") or {}).get("role")
        if role == "read":
            raise refusals.read_only()
        if "/" not in self.repo:
            self.repo = f"{self.who}/{self.repo}"
        self.tell(repo=self.repo)

    def _make_repository(self) -> bool:
        """Whether the repository is new. Raises Refused for one of the same name that may not be written to."""
        from huggingface_hub.errors import HfHubHTTPError

        self.say(f"Making the repository {self.repo}.")
        try:
            self._patiently(lambda: self._api.create_repo(self.repo, private=self.request.private))
            self.request = replace(self.request, created=self.repo)
            push.remember(self.folder, self.request)
            self.tell(private=self.request.private)
            return True
        except HfHubHTTPError as error:
            if error.response.status_code != 409:
                raise
        if self.request.created != self.repo and not self.request.update:
            raise refusals.exists(self.repo)
        private = bool(self._patiently(lambda: self._api.model_info(self.repo)).private)
        if self.request.private and not private:
            raise refusals.is_public(self.repo)
        self.tell(private=private)
        return False

    def _merge(self) -> Path:
        """The folder of merged weights, made once; it is kept until the push is done."""
        place = self.folder / push.FOLDER / MERGED
        if place.is_dir():
            return place
        self.say("Merging the adapter into the base model. This takes as long as loading it, and some more.")
        partial = place.with_name(f".{MERGED}")
        shutil.rmtree(partial, ignore_errors=True)
        # The base model was trained here, so it lies in this machine's cache, where a gated one needs no token.
        os.environ["HF_HUB_OFFLINE"] = "1"
        try:
            export.export(self.folder, "merged", partial)
        except UserError:
            os.environ["HF_HUB_OFFLINE"] = "0"
            shutil.rmtree(partial, ignore_errors=True)
            export.export(self.folder, "merged", partial)
        partial.replace(place)
        return place

    def _send(self, files: dict[str, Path | bytes], new: bool) -> str:
        """Send the files and commit them; the repository's address."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        sizes = {name: len(held) if isinstance(held, bytes) else held.stat().st_size for name, held in files.items()}
        self.tell(files_total=len(files), bytes_total=sum(sizes.values()), files_done=0, bytes_done=0)
        small = {name: CommitOperationAdd(name, held) for name, held in files.items() if not _is_large(name)}
        self.tell(doing=f"Sending {len(small)} small files.")
        self._upload(list(small.values()))
        done = {name: sizes[name] for name in small}
        additions = list(small.values())
        for name in sorted(files.keys() - small.keys(), key=lambda name: sizes[name]):
            doing = f"Sending {name}, file {len(done) + 1} of {len(files)}."
            self.tell(doing=doing, files_done=len(done), bytes_done=sum(done.values()))
            additions.append(self._sent(CommitOperationAdd, name, files[name], sum(done.values())))
            done[name] = sizes[name]
        self.tell(doing="Committing.", files_done=len(files), bytes_done=sum(done.values()))
        stale = [] if new else [name for name in self._there() if bundle.is_published(name) and name not in files]
        operations = [*additions, *(CommitOperationDelete(name) for name in stale)]
        message = f"Push of the run {self.run.name}"[:200]
        self._patiently(lambda: self._api.create_commit(self.repo, operations, commit_message=message))
        return f"{self._api.endpoint}/{self.repo}"

    def _sent(self, kind: Any, name: str, held: Path | bytes, before: int) -> Any:
        """A file of weights on the Hub's side, told as it goes."""
        if isinstance(held, bytes):
            addition = kind(name, held)
            self._upload([addition])
            return addition
        with Watched(held) as file:
            addition = kind(name, file)
            file.watch = lambda sent: self._passing(before + sent)
            self._upload([addition])
        # Where the Hub takes it as a small file after all, the commit reads it again.
        addition.path_or_fileobj = str(held)
        return addition

    def _upload(self, additions: list[Any]) -> None:
        self._patiently(lambda: self._api.preupload_lfs_files(self.repo, additions, num_threads=1, free_memory=False))

    def _there(self) -> list[str]:
        return list(self._patiently(lambda: self._api.list_repo_files(self.repo)))

    def _passing(self, sent: int) -> None:
        if time.monotonic() - self._told >= SECONDS_BETWEEN_WORDS:
            self.tell(bytes_done=sent)

    def _patiently(self, step: Callable[[], T]) -> T:
        """Do a step, waiting as long as the Hub asks where it answers "too many requests"."""
        for _ in range(MOST_WAITS):
            try:
                return step()
            except Exception as error:
                seconds = refusals.seconds_to_wait(error)
                if seconds is None or seconds > MOST_SECONDS:
                    raise
                doing = self.state["doing"]
                self.say(f"Waiting {seconds:.0f} s: the Hub asks for it, after too many requests.")
                time.sleep(seconds + 0.5)
                self.say(doing)
        return step()


def _is_large(name: str) -> bool:
    return name.endswith(".safetensors")


class Watched(io.BufferedReader):
    """A file that tells how far it was read, once somebody watches."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "rb"))
        self.watch: Callable[[int], None] | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self.watch is not None:
            self.watch(self.tell())
        return data


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
