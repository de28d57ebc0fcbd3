"""A webhook on this machine that keeps what it is sent and answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hook:
    """received: path, headers and body of each message. statuses: answers in order, the last one from then on."""

    def __init__(self, statuses: Sequence[int]) -> None:
        self.received: list[tuple[str, dict[str, str], Any]] = []
        self.statuses = list(statuses)
        self.url = ""
        self.elsewhere = ""
        """Where a redirect leads."""


@contextmanager
def hook(*statuses: int) -> Iterator[Hook]:
    kept = Hook(statuses or (200,))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.received.append((self.path, dict(self.headers), json.loads(body)))
            self.send_response(kept.statuses.pop(0) if len(kept.statuses) > 1 else kept.statuses[0])
            if kept.elsewhere:
                self.send_header("Location", kept.elsewhere)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
