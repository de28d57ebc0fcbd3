"""A Hub of a few data sets on this machine, in as many routes as `datasets` asks for."""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pyarrow
import pyarrow.parquet

COMMIT = "a" * 40
_CARD = """---
configs:
- config_name: default
  data_files:
  - {split: train, path: train.csv}
  - {split: test, path: test.csv}
---
"""


def _classes() -> bytes:
    features = {
        "text": {"dtype": "string", "_type": "Value"},
        "label": {"names": ["ham", "spam"], "_type": "ClassLabel"},
    }
    made = pyarrow.table({"text": ["Hi", "Win"], "label": pyarrow.array([0, 1], pyarrow.int64())})
    made = made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    out = io.BytesIO()
    pyarrow.parquet.write_table(made, out)
    return out.getvalue()


def _plain(number: int) -> bytes:
    """A row as those of crawled texts are."""
    text = f"This is the page of number {number}, which says nothing more."
    return json.dumps({"text": text, "url": f"https://a.example/{number}", "timestamp": "2019-04-24"}).encode() + b"\n"


FILES: dict[str, dict[str, bytes]] = {
    "ann/csv": {
        "README.md": _CARD.encode(),
        "train.csv": b"text,label\nHi,a\nBye,NA\n007,b\n",
        "test.csv": b"text,label\nHo,a\n",
    },
    "ann/plain": {"train.jsonl": b"".join(_plain(n) for n in range(40))},
    "ann/empty": {"README.md": b"# Nothing\n"},
    "ann/classes": {"train.parquet": _classes()},
    "ann/long": {"train.csv": b"text,label\n" + b"".join(b"row %d,a\n" % n for n in range(60_000))},
}


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = self.path.partition("?")[0].strip("/").split("/")
        api = parts[:2] == ["api", "datasets"]
        name = "/".join(parts[2:4] if api else parts[1:3])
        files = FILES.get(name)
        if parts == ["api", "datasets"]:
            self._listed()
        elif files is None:
            gated = name == "ann/gated"
            self._send(403 if gated else 404, b"", {"X-Error-Code": "GatedRepo" if gated else "RepoNotFound"})
        elif not api:
            self._file(files.get("/".join(parts[5:])))
        elif parts[4:5] == ["revision"] and parts[5] not in ("main", COMMIT):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif parts[4:5] == ["tree"]:
            inside = "/".join(parts[6:])
            self._json([_entry(path, data) for path, data in files.items() if path.startswith(inside)])
        elif parts[4:5] == ["paths-info"]:
            self._json(
                [_entry(path, data) for path, data in files.items() if path.encode() in body.replace(b"%2F", b"/")]
            )
        else:
            siblings = [{"rfilename": path, "size": len(data)} for path, data in files.items()]
            self._json({"id": name, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings})

    do_HEAD = do_GET
    do_POST = do_GET

    def _listed(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        words = asked.get("search", [""])[0]
        if words == "slow":
            time.sleep(3)
        tags = ["size_categories:10K<n<100K"]
        found = [name for name in FILES if words in name]
        self._json(
            [
                {"id": name, "downloads": 1200, "gated": False, "tags": tags if name == "ann/csv" else []}
                for name in found[: int(asked.get("limit", ["100"])[0])]
            ]
        )

    def _file(self, data: bytes | None) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if data is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        elif wanted:
            start, end = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
            self._send(206, data[start : end + 1], {"Content-Range": f"bytes {start}-{end}/{len(data)}"})
        else:
            self._send(200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entry(path: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


def started() -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server
