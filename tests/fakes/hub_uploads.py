"""The writing side of the loopback Hub: it verifies what it receives, and fails where a test wants it to.

Routes as huggingface_hub 2.4 asks them: whoami, create, validate-yaml, preupload, LFS batch, PUT, verify, commit.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

NEW_COMMIT = "fedcba9876543210fedcba9876543210fedcba98"


@dataclass
class Reply:
    status: int = 200
    record: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Account:
    name: str
    orgs: tuple[str, ...] = ()
    role: str = "write"


@dataclass
class Failure:
    """Answers `reply` to requests whose "METHOD /path" matches, after letting `after` of them pass, `times` times."""

    asked: str
    reply: Reply
    after: int = 0
    times: int = 10**6


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


@dataclass
class Uploads:
    place: Path
    """Where committed repositories are written, so that they can be loaded from."""
    accounts: dict[str, Account]
    """By token."""
    repositories: dict[str, Repository] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    seconds_an_object: float = 0.0
    received: list[str] = field(default_factory=list)
    """sha256 of each large object, each time one came in whole."""
    wrong: list[str] = field(default_factory=list)
    """What the client did that the real Hub would not take."""
    _objects: dict[str, bytes] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def folders(self) -> dict[str, Path]:
        return {id: self.place / id for id in self.repositories if (self.place / id).is_dir()}

    def is_private(self, id: str) -> bool:
        return id in self.repositories and self.repositories[id].private

    def answer(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Reply | None:
        """The reply to a request of the writing side; None for one that only reads."""
        found = next((known for known in _ROUTES if re.fullmatch(known[0], f"{method} {path}")), None)
        if found is None:
            return None
        for failure in self.failures:
            if failure.times and re.match(failure.asked, f"{method} {path}"):
                if failure.after:
                    failure.after -= 1
                    continue
                failure.times -= 1
                return failure.reply
        headers = {name.lower(): value for name, value in headers.items()}
        token = headers.get("authorization", "").removeprefix("Bearer ")
        account = self.accounts.get(token)
        if found[1] == "_put":
            # The real one goes to a signed address of another server, which must not see the token.
            if token:
                self.wrong.append(f"the token was sent to {path}")
        elif account is None:
            said = "Invalid credentials in Authorization header"
            return Reply(401, {"error": said}, {"X-Error-Message": said})
        parts = re.fullmatch(found[0], f"{method} {path}")
        assert parts is not None
        self._host = headers.get("host", "")
        with self._lock if found[1] != "_put" else threading.Lock():
            return getattr(self, found[1])(account, content, *parts.groups())

    def _whoami(self, account: Account, content: bytes) -> Reply:
        orgs = [{"name": org} for org in account.orgs]
        return Reply(
            200, {"name": account.name, "orgs": orgs, "auth": {"accessToken": {"role": account.role}}, "type": "user"}
        )

    def _create(self, account: Account, content: bytes) -> Reply:
        asked = json.loads(content)
        owner = asked.get("organization") or account.name
        id = f"{owner}/{asked['name']}"
        if account.role == "read" or owner not in (account.name, *account.orgs):
            said = f'You don\'t have the rights to create a model under the namespace "{owner}"'
            return Reply(403, {"error": said}, {"X-Error-Message": said})
        if id in self.repositories:
            return Reply(409, {"error": "You already created this model repo", "url": f"http://{self._host}/{id}"})
        if asked.get("visibility") not in ("private", "public"):
            self.wrong.append(f"{id} was created without saying private or public")
        (self.place / id).mkdir(parents=True)
        self.repositories[id] = Repository(private=asked.get("visibility") == "private")
        return Reply(200, {"url": f"http://{self._host}/{id}", "name": id, "id": "1"})

    def _validate(self, account: Account, content: bytes) -> Reply:
        problem = card_problem(json.loads(content)["content"])
        if problem:
            self.wrong.append(problem)
            return Reply(400, {"errors": [{"message": problem}], "warnings": []})
        return Reply(200, {"errors": [], "warnings": []})

    def _preupload(self, account: Account, content: bytes, id: str) -> Reply:
        if id not in self.repositories:
            return Reply(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if _is_large(file["path"]) else "regular",
                "shouldIgnore": False,
                "oid": self._oid(id, file["path"]),
            }
            for file in json.loads(content)["files"]
        ]
        return Reply(200, {"files": files})

    def _batch(self, account: Account, content: bytes, id: str) -> Reply:
        objects = []
        for wanted in json.loads(content)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self._objects:
                address = f"http://{self._host}"
                entry["actions"] = {
                    "upload": {"href": f"{address}/lfs/{wanted['oid']}?signature=secret"},
                    "verify": {"href": f"{address}/lfs-verify"},
                }
            objects.append(entry)
        return Reply(200, {"transfer": "basic", "objects": objects})

    def _put(self, account: Account | None, content: bytes, oid: str) -> Reply:
        time.sleep(self.seconds_an_object)
        if hashlib.sha256(content).hexdigest() != oid:
            self.wrong.append(f"the object {oid} came in with other bytes")
            return Reply(400, {"error": "wrong hash"})
        self._objects[oid] = content
        self.received.append(oid)
        return Reply(200)

    def _verify(self, account: Account, content: bytes) -> Reply:
        asked = json.loads(content)
        if len(self._objects.get(asked["oid"], b"")) != asked["size"]:
            self.wrong.append(f"the object {asked['oid']} was verified with a wrong size")
            return Reply(400)
        return Reply(200)

    def _commit(self, account: Account, content: bytes, id: str) -> Reply:
        repository = self.repositories[id]
        files = dict(repository.files)
        for line in content.splitlines():
            operation = json.loads(line)
            kind, value = operation["key"], operation["value"]
            if kind == "header":
                repository.commits.append(value["summary"])
            elif kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                if value["oid"] not in self._objects or len(self._objects[value["oid"]]) != value["size"]:
                    self.wrong.append(f"{value['path']} was committed before it was there")
                    return Reply(400, {"error": "missing object"})
                files[value["path"]] = self._objects[value["oid"]]
            elif kind == "deletedFile":
                files.pop(value["path"], None)
            else:
                self.wrong.append(f"an operation {kind} was committed")
        repository.files = files
        shutil.rmtree(self.place / id)
        (self.place / id).mkdir()
        for name, data in files.items():
            (self.place / id / name).write_bytes(data)
        return Reply(200, {"success": True, "commitOid": NEW_COMMIT, "commitUrl": f"http://{self._host}/{id}/commit/1"})

    def _oid(self, id: str, path: str) -> str | None:
        data = self.repositories[id].files.get(path)
        if data is None:
            return None
        if _is_large(path):
            return hashlib.sha256(data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def card_problem(text: str) -> str:
    """What the real Hub would refuse in a model card's front matter; "" where it is right."""
    try:
        values = yaml.safe_load(text.split("---\n", 2)[1])
    except (yaml.YAMLError, IndexError) as error:
        return f"the card's front matter is no YAML: {error}"
    if not isinstance(values, dict) or not isinstance(values.get("license"), str):
        return "the card names no license"
    for index in values.get("model-index", []):
        for result in index["results"]:
            known = {"task", "dataset", "metrics"} <= result.keys() and {"name", "type"} <= result["dataset"].keys()
            if not known or not all({"type", "value"} <= metric.keys() for metric in result["metrics"]):
                return "a result of the model index is incomplete"
    return ""


def _is_large(path: str) -> bool:
    return path.endswith((".safetensors", ".bin", ".gguf"))


_ID = r"([^/]+/[^/]+)"
_ROUTES = (
    (r"GET /api/whoami-v2", "_whoami"),
    (r"POST /api/repos/create", "_create"),
    (r"POST /api/validate-yaml", "_validate"),
    (rf"POST /api/models/{_ID}/preupload/main", "_preupload"),
    (rf"POST /{_ID}\.git/info/lfs/objects/batch", "_batch"),
    (r"PUT /lfs/(\w+)", "_put"),
    (r"POST /lfs-verify", "_verify"),
    (rf"POST /api/models/{_ID}/commit/main", "_commit"),
)
