"""A service on this machine that speaks OpenAI's chat API, keeps what it is asked, and answers as it is told."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-made-by-the-test-0123456789"


@dataclass
class Reply:
    """body: None is a good answer. drip: seconds between its bytes. held: it waits for this before it answers."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drip: float = 0.0
    held: threading.Event | None = None


@dataclass
class OpenAI:
    url: str = ""
    key: str | None = KEY
    received: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    """Path, headers and body of each request."""
    reply: Callable[[int, str], Reply] = lambda number, prompt: Reply()
    """What it says to the request of this number, counted from 0, with this last question."""
    answered: Counter[str] = field(default_factory=Counter)
    """Questions that were given a good answer, and so paid for."""
    usage: dict[str, int] | None = field(default_factory=lambda: {"prompt_tokens": 10, "completion_tokens": 5})

    @property
    def asked(self) -> list[str]:
        return [body["messages"][-1]["content"] for _, _, body in self.received]


def good(prompt: str, **further: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": f"Re: {prompt}"}, "finish_reason": "stop"}
    return {"object": "chat.completion", "choices": [choice], **further}


@contextmanager
def service(key: str | None = KEY) -> Iterator[OpenAI]:
    """A service; its good answer to a question is "Re: " and the question."""
    kept, lock = OpenAI(key=key), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(kept.received)
                kept.received.append((self.path, dict(self.headers), body))
            prompt = body["messages"][-1]["content"]
            reply = kept.reply(number, prompt)
            if kept.key and self.headers.get("Authorization") != f"Bearer {kept.key}":
                told = f"Incorrect API key provided: {self.headers.get('Authorization')}"
                reply = Reply(401, json.dumps({"error": {"message": told}}).encode())
            if reply.held is not None:
                reply.held.wait(60)
            usage = {"usage": kept.usage} if kept.usage else {}
            sent = reply.body if reply.body is not None else json.dumps(good(prompt, **usage)).encode()
            try:
                self._send(reply, sent)
            except OSError:
                return  # whoever asked is gone
            if reply.body is None and reply.status == 200:
                with lock:
                    kept.answered[prompt] += 1

        def _send(self, reply: Reply, sent: bytes) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            if not reply.drip:
                self.wfile.write(sent)
                return
            for place in range(len(sent)):
                self.wfile.write(sent[place : place + 1])
                self.wfile.flush()
                stopped.wait(reply.drip)

        def log_message(self, format: str, *_: Any) -> None:
            pass

    stopped = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield kept
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
