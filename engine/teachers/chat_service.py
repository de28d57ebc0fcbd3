"""Asks a service that speaks OpenAI's chat API for one answer. Nothing but the standard library; no retries here."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from engine import addresses
from engine.errors import MachineError
from engine.teachers import keys

MOST_BYTES = 4_000_000
"""Of an answer with all that is sent around it."""
TOLD = 300
"""Characters of a service's own words that are told."""
TOKENS_A_MESSAGE = 16
"""That a service puts around each message at most, such as its role."""
NO_KEY = (
    f"Type the key on the page before you start or resume, or set {keys.VARIABLE} in the environment "
    f"({keys.OPENAI_VARIABLE} goes to {keys.OPENAI_HOST} alone, or to what {keys.OPENAI_ADDRESS} names), then resume."
)


@dataclass(frozen=True)
class Usage:
    """Tokens as the service counts them."""

    asked: int
    answered: int


@dataclass(frozen=True)
class Said:
    """An answer. whole: it was not cut at the most tokens. usage: None where the service doesn't tell."""

    text: str
    whole: bool
    usage: Usage | None


class Busy(MachineError):
    """It may answer later. seconds: after which, where it says so. paid: whether it may have worked on it."""

    def __init__(self, problem: str, seconds: float | None = None, paid: bool = False) -> None:
        super().__init__(problem)
        self.seconds, self.paid = seconds, paid


class Garbage(MachineError):
    """It answered, but gave no answer that can be learned; the problem says what was wrong, in a few words."""

    def __init__(self, problem: str, usage: Usage | None = None) -> None:
        super().__init__(problem)
        self.usage = usage


@dataclass(frozen=True)
class Service:
    """base: the address that ends before /chat/completions. private: whether it may lie in a private network."""

    base: str
    model: str
    key: str | None
    most_tokens: int
    temperature: float | None
    patience: float
    """Seconds until an answer has to be there."""
    private: bool

    @property
    def name(self) -> str:
        return addresses.host(self.base)

    def ask(self, messages: Sequence[dict[str, Any]]) -> Said:
        """Raises Busy, Garbage, or MachineError where no other try helps."""
        status, retry, body = self._sent(json.dumps(self._request(messages), ensure_ascii=False).encode())
        if status == 200:
            return _read(body)
        told = f"{self.name} answered with status {status}{self._words(body)}"
        if 300 <= status < 400:
            raise MachineError(f"{told}, which leads elsewhere and is not followed.", "Name the address it leads to.")
        if status in (408, 409, 425, 429) or status >= 500:
            raise Busy(f"{told}.", retry)
        if status in (401, 403):
            problem = "does not take the key" if self.key else "asks for a key"
            raise MachineError(f"{self.name} {problem}: it{told.removeprefix(self.name)}.", NO_KEY)
        if status == 404:
            raise MachineError(f"{told}.", "Check the address (objective.service) and the model (objective.model).")
        raise MachineError(f"{told}.", "Change what it complains of, then start again; what is answered is kept.")

    def _request(self, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
        # OpenAI's own newer models refuse the old name, and other services may not know the new one.
        limit = "max_completion_tokens" if self.name == keys.OPENAI_HOST else "max_tokens"
        asked = [{"role": message["role"], "content": message["content"]} for message in messages]
        request = {"model": self.model, "messages": asked, limit: self.most_tokens}
        return request if self.temperature is None else {**request, "temperature": self.temperature}

    def _sent(self, body: bytes) -> tuple[int, float | None, bytes]:
        """Status, seconds to wait, and the body of what the service answers. Raises Busy, MachineError."""
        address = f"{self.base.rstrip('/')}/chat/completions"
        over = threading.Event()
        try:
            connection = addresses.connected(address, self.private, min(self.patience, 20.0))
        except addresses.Busy as error:
            raise Busy(error.problem) from None
        except OSError as error:
            raise Busy(f"{self.name} can't be reached: {error or type(error).__name__}.") from None
        line = connection.sock  # the connection lets go of it while an answer is still being read

        def end() -> None:
            over.set()
            _hang_up(line)

        # No timeout of a socket bounds a server that sends one byte at a time.
        watch = threading.Timer(self.patience, end)
        watch.daemon = True
        watch.start()
        try:
            line.settimeout(self.patience + 1)
            connection.request("POST", addresses.path(address), body, self._headers(address))
            with closing(connection.getresponse()) as answer:
                read = answer.read(MOST_BYTES + 1)
            if len(read) > MOST_BYTES:
                raise Garbage("longer than any answer")
            if over.is_set():  # what came until then may look whole
                raise TimeoutError
            return answer.status, _seconds(answer.getheader("Retry-After")), read
        except (OSError, http.client.HTTPException) as error:
            if over.is_set() or isinstance(error, TimeoutError):
                raise Busy(f"{self.name} did not answer within {self.patience:g} seconds.", paid=True) from None
            raise Busy(f"{self.name} broke off: {error or type(error).__name__}.", paid=True) from None
        finally:
            watch.cancel()
            connection.close()

    def _headers(self, address: str) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "Tunesmith",
            "Host": urlsplit(address).netloc,
        }
        return {**headers, "Authorization": f"Bearer {self.key}"} if self.key else headers

    def _words(self, body: bytes) -> str:
        """What the service says is wrong."""
        try:
            error = json.loads(body)["error"]
            words = error["message"] if isinstance(error, dict) else error
        except (ValueError, KeyError, TypeError):
            return ""
        plain = " ".join(keys.redacted(str(words), self.key).split())
        return f" ({plain[:TOLD].rstrip('.')})" if plain else ""


def most_asked(messages: Sequence[dict[str, Any]]) -> int:
    """More tokens than these messages can be, whichever tokenizer counts them: none stands for less than a byte."""
    return sum(len(str(message["content"]).encode()) + TOKENS_A_MESSAGE for message in messages)


def _read(body: bytes) -> Said:
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        raise Garbage("no JSON") from None
    usage = _usage(record)
    try:
        choice = record["choices"][0]
        message = choice["message"]
    except (LookupError, TypeError):
        raise Garbage("no choices", usage) from None
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise Garbage("empty", usage)
    return Said(text.strip(), choice.get("finish_reason") != "length", usage)


def _usage(record: Any) -> Usage | None:
    found = record.get("usage") if isinstance(record, dict) else None
    if not isinstance(found, dict):
        return None
    asked, answered = found.get("prompt_tokens"), found.get("completion_tokens")
    if not isinstance(asked, int) or not isinstance(answered, int) or min(asked, answered) < 0:
        return None
    return Usage(asked, answered)


def _seconds(value: str | None) -> float | None:
    """Retry-After in seconds; its other form, a date, is passed over."""
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None


def _hang_up(line: socket.socket) -> None:
    try:
        line.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
