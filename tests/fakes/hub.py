"""A Hub on the loopback address: models from folders, with the errors that the real one gives.

Speaks what huggingface_hub asks when it reads: model information, file trees, HEAD and GET with ranges; and, where it
is given `uploads`, what it asks when it writes.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.fakes.hub_uploads import Reply, Uploads

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """`with FakeHub({"owner/name": folder}, gated={"owner/secret"}) as hub:` serves at `hub.url`."""

    models: dict[str, Path]
    gated: frozenset[str] = frozenset()
    agreed: frozenset[str] = frozenset()
    """Gated models whose terms whoever asks has agreed to."""
    license: str = "mit"
    asked: list[str] = field(default_factory=list)
    """Requests so far: method, path and range."""
    uploads: Uploads | None = None
    found: list[dict[str, Any]] = field(default_factory=list)
    """What a search for models finds, whatever is searched for."""

    def __enter__(self) -> FakeHub:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_POST(self) -> None:
            self._write()

        def do_PUT(self) -> None:
            self._write()

        def log_message(self, *_: Any) -> None:
            pass

        def _write(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = (
                hub.uploads.answer(self.command, self._asked(), dict(self.headers), content) if hub.uploads else None
            )
            self._reply(reply or Reply(404))

        def _asked(self) -> str:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
            return path

        def _reply(self, reply: Reply) -> None:
            headers = {"Content-Type": "application/json", **reply.headers}
            self._send(reply.status, json.dumps(reply.record).encode(), headers, body=True)

        def _answer(self, body: bool) -> None:
            path = self._asked()
            reply = hub.uploads.answer(self.command, path, dict(self.headers), b"") if hub.uploads else None
            if reply is not None:
                return self._reply(reply)
            if path == "/":
                return self._send(200, b"", {}, body)
            if path == "/api/models":
                return self._send(200, json.dumps(hub.found).encode(), {"Content-Type": "application/json"}, body)
            found = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/]+)(?:/(revision|resolve|tree)/([^/]+)(?:/(.*))?)?", path)
            id = found.group(1) if found else ""
            if id in hub.gated:
                return self._refuse(403, "GatedRepo", body)
            if not found or id not in self._models():
                return self._refuse(401, "RepoNotFound", body)
            _, what, revision, name = found.groups()
            if revision not in (None, "main", COMMIT):
                return self._refuse(404, "RevisionNotFound", body)
            if what == "resolve":
                return self._file(self._models()[id] / (name or ""), body)
            record = _tree(self._models()[id]) if what == "tree" else _information(hub, id, self._models()[id])
            self._send(200, json.dumps(record).encode(), {"Content-Type": "application/json"}, body)

        def _models(self) -> dict[str, Path]:
            return hub.models | (hub.uploads.folders() if hub.uploads else {})

        def _file(self, file: Path, body: bool) -> None:
            if not file.is_file():
                return self._refuse(404, "EntryNotFound", body)
            content = file.read_bytes()
            headers = {"ETag": f'"{_digest(file)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if part is None:
                return self._send(200, content, headers, body)
            first, last = int(part[1]), min(int(part[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            self._send(206, content[first : last + 1], headers, body)

        def _refuse(self, status: int, code: str, body: bool) -> None:
            self._send(status, b'{"error": "refused"}', {"X-Error-Code": code, "X-Error-Message": code}, body)

        def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

    return Handler


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _digest(file: Path) -> str:
    return hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()


def _tree(folder: Path) -> list[dict[str, Any]]:
    return [
        {"type": "file", "path": file.relative_to(folder).as_posix(), "size": file.stat().st_size, "oid": _digest(file)}
        for file in _files(folder)
    ]


def _information(hub: FakeHub, id: str, folder: Path) -> dict[str, Any]:
    siblings = [{"rfilename": entry["path"], "size": entry["size"], "blobId": entry["oid"]} for entry in _tree(folder)]
    return {
        "id": id,
        "modelId": id,
        "sha": COMMIT,
        "siblings": siblings,
        "cardData": {"license": hub.license},
        "private": bool(hub.uploads and hub.uploads.is_private(id)),
        "gated": "auto" if id in hub.agreed else False,
        "tags": [],
    }
