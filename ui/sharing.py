"""What kind of page this is, decided once at its start: one person's own, shared with visitors, or a Space."""

from __future__ import annotations

import base64
import getpass
import hashlib
import hmac
import os
import secrets
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import psutil

from engine import home
from engine.bases import access

Kind = Literal["own", "shared", "space"]
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_PASSING = ("overlay", "tmpfs", "ramfs", "")
"""File systems that a container loses with its end."""


@dataclass(frozen=True)
class Page:
    """kind: "own" has one owner and asks nobody who they are. secret: signs cookies and recovery links."""

    kind: Kind = "own"
    password: str | None = field(default=None, repr=False)
    made: bool = False
    """Whether the password was made here, so that it has to be shown."""
    secret: bytes = field(default=b"", repr=False)
    host_key: str = field(default="", repr=False)
    """Opens the page as the person at the machine; another one at each start."""

    @property
    def is_own(self) -> bool:
        return self.kind == "own"

    @property
    def cookie(self) -> str:
        """What names of cookies begin with. Pages on other ports of this machine share one jar."""
        return f"tunesmith-{hashlib.sha256(self.secret).hexdigest()[:8]}"

    def signed(self, purpose: str, text: str) -> str:
        """`text` with a signature that is good for this purpose alone."""
        made = hmac.new(self.secret, f"{purpose}:{text}".encode(), hashlib.sha256).digest()
        return f"{text}.{base64.urlsafe_b64encode(made).decode().rstrip('=')}"

    def verified(self, purpose: str, signed: str | None) -> str | None:
        """The text of a signed one, or None where it was not signed here for this purpose."""
        text, dot, _ = (signed or "").rpartition(".")
        return text if dot and same(signed or "", self.signed(purpose, text)) else None


def same(given: str, wanted: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(wanted.encode()).digest())


_page = Page()


def page() -> Page:
    return _page


def open_as(wanted: Page) -> Page:
    """Make this process's page one of that kind; the page that it was."""
    global _page
    before, _page = _page, wanted
    access.close(not wanted.is_own)
    return before


def decided(host: str, share: bool) -> Page:
    """The kind of page that listens at `host`, with the password that the person wants.

    A page that answers to further names (TUNESMITH_HOSTS) stands behind a proxy, so it is shared, too.
    """
    # Taken out of the environment, which processes started from here would inherit.
    given = os.environ.pop("TUNESMITH_PASSWORD", "").strip()
    if os.environ.get("SYSTEM") == "spaces":
        kind: Kind = "space"
    elif share or host not in LOOPBACK or os.environ.get("TUNESMITH_HOSTS", "").strip():
        kind = "shared"
    else:
        return Page()
    found = Page(kind, given or None, secret=secret(), host_key=secrets.token_urlsafe(32))
    return found if given or not share or kind == "space" else _with_password(found)


def _with_password(found: Page) -> Page:
    asked = getpass.getpass("Password for visitors (Enter makes one): ").strip() if _is_terminal() else ""
    return replace(found, password=asked) if asked else replace(found, password=made_password(), made=True)


def made_password() -> str:
    """Sixteen letters and digits (79 bits) in groups that can be read out."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))


def secret() -> bytes:
    """The home's secret, made where there is none; only its owner may read it."""
    path = home.home() / ".secret"
    if not path.exists():
        partial = path.with_name(f".secret.{os.getpid()}")
        partial.unlink(missing_ok=True)
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_hex(32).encode())
        try:
            os.link(partial, path)  # of two pages that start at once, one's stays
        except FileExistsError:
            pass
        except OSError:
            os.replace(partial, path)  # a mount without links
        partial.unlink(missing_ok=True)
    return path.read_bytes().strip()


def outlives_restarts() -> bool:
    """Whether the home outlives this machine's next start: on a Space only what lies on a mounted bucket does."""
    return page().kind != "space" or _file_system(home.home()) not in _PASSING


def has_zero_gpu() -> bool:
    """Whether the Space lends its GPU for single calls only."""
    return page().kind == "space" and bool(os.environ.get("SPACES_ZERO_GPU"))


def can_sign_in() -> bool:
    """Whether visitors can sign in with the Hub. Elsewhere Gradio's button would sign everybody in as the host."""
    return os.environ.get("SYSTEM") == "spaces" and bool(os.environ.get("OAUTH_CLIENT_ID"))


def _file_system(folder: Path) -> str:
    """The type of the mount that a folder lies on; empty for the machine's first one."""
    kinds = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    for place in (folder, *folder.parents):
        if place in kinds and place != Path(place.anchor):
            return kinds[place]
    return ""


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
