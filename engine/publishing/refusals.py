"""What the Hub answers to a push that it doesn't take, in plain words, each with what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

from engine.errors import UserError

TOKENS_PAGE = "huggingface.co/settings/tokens"
_STORAGE = ("storage", "quota", "too large", "size limit", "exceed")
GO_ON = "Go on later: what the Hub has already is not sent again."


class Refused(UserError):
    """needs: "token" or "update" where the person can mend it by giving that."""

    def __init__(self, problem: str, fix: str, needs: str | None = None) -> None:
        super().__init__(problem, fix)
        self.needs = needs


def refused(error: Exception, repo: str, who: str | None = None) -> Refused | None:
    """The error of a push to `repo` in words; None for one that is a fault of the program.

    who: whose token it is, where the Hub has told.
    """
    response = next((found for one in _causes(error) if (found := getattr(one, "response", None)) is not None), None)
    if response is not None:
        said = " ".join(str(one) for one in _causes(error)).lower()
        return _by_status(int(response.status_code), said, repo, who)
    for one in _causes(error):
        if isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT):
            return Refused("The disk of this machine is full.", "Make room, then go on.")
        if "LFS batch API returned errors" in str(one):
            return _full(repo) if _is_storage(str(one).lower()) else _trouble("an error about a file", repo)
        library = type(one).__module__.partition(".")[0]
        if isinstance(one, ConnectionError | TimeoutError) or library.startswith("http"):
            return Refused(f"The connection to the Hub broke while sending {repo}.", f"Look at the network. {GO_ON}")
        if "Invalid metadata" in str(one):
            return Refused("The Hub does not take the model card's metadata.", "Report this: the card is ours to mend.")
    return None


def seconds_to_wait(error: Exception) -> float | None:
    """How long the Hub asks to wait where it answered "too many requests"; None for another answer."""
    for one in _causes(error):
        response = getattr(one, "response", None)
        if response is not None and response.status_code == 429:
            return _asked_seconds(response)
    return None


def _by_status(status: int, said: str, repo: str, who: str | None) -> Refused:
    if status == 401:
        return bad_token()
    if status in (402, 413, 507) or (status in (400, 403) and _is_storage(said)):
        return _full(repo)
    if status == 403:
        return _forbidden(repo, who)
    if status == 404:
        return Refused(f"{repo} is no longer on the Hub.", "Push it again, under this or another name.")
    if status == 409:
        return Refused(f"Somebody else changed {repo} at the same moment.", "Go on to try again.")
    if status == 429:
        return Refused("The Hub takes no more requests of yours at the moment.", f"Wait some minutes. {GO_ON}")
    if status == 400:
        return Refused(f"The Hub does not take this push to {repo}.", "Choose another name, or look at its page.")
    return _trouble(f"an error of its own ({status})", repo)


def bad_token() -> Refused:
    return Refused(
        "The Hub does not know this token; it may be mistyped, expired or revoked.",
        f"Make one that may write at {TOKENS_PAGE}, and sign in with it.",
        "token",
    )


def read_only() -> Refused:
    return Refused(
        "This token may read, but not write.",
        f"Make one of the kind 'write' at {TOKENS_PAGE}, and sign in with it.",
        "token",
    )


def exists(repo: str) -> Refused:
    return Refused(
        f"There is a repository {repo} already, and this run did not make it.",
        "Choose another name, or push into it as a new version.",
        "update",
    )


def is_public(repo: str) -> Refused:
    return Refused(
        f"{repo} is there and public, but you asked for private.",
        f"Make it private in its settings (huggingface.co/{repo}/settings), choose public, or choose another name.",
    )


def unreachable() -> Refused:
    return Refused("The Hub can't be reached.", f"Look at the network. {GO_ON}")


def _forbidden(repo: str, who: str | None) -> Refused:
    owner = repo.partition("/")[0]
    problem = f"You may not write to {repo} on the Hub"
    problem += f", signed in as {who}." if who else "."
    if who and owner != who:
        problem += f" {owner} is another account, or an organisation in which you may not make models."
    fix = f"Put it under your own name, or use a token that may write there ({TOKENS_PAGE})."
    if os.environ.get("SPACE_ID"):
        fix += " On this Space: sign out and in again, and allow it to contribute to repositories (contribute-repos)."
    return Refused(problem, fix, "token")


def _full(repo: str) -> Refused:
    return Refused(
        f"The Hub has no room left for {repo}: a storage limit of its owner is reached.",
        "Make room there (huggingface.co/settings/billing shows what is used), push the smaller adapter, or make it "
        "public, for which limits are wider. Then go on.",
    )


def _trouble(what: str, repo: str) -> Refused:
    return Refused(f"The Hub answered with {what} while taking {repo}.", GO_ON)


def _is_storage(said: str) -> bool:
    return any(word in said for word in _STORAGE)


def _asked_seconds(response: Any) -> float:
    """From "Retry-After: 30", or 't=30' of "RateLimit"; a minute where neither is there."""
    given = str(response.headers.get("Retry-After", ""))
    if given.isdecimal():
        return float(given)
    parts = str(response.headers.get("RateLimit", "")).replace(",", ";").split(";")
    waits = [part.strip()[2:] for part in parts if part.strip().startswith("t=")]
    return float(waits[0]) if waits and waits[0].isdecimal() else 60.0


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        yield one
        seen.add(id(one))
        one = one.__cause__ or one.__context__
