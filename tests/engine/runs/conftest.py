"""Supervisors are real here; the worker is the fake one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from engine.runs import queue


@pytest.fixture(autouse=True)
def _fake_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TUNESMITH_WORKER", json.dumps([sys.executable, "-m", "tests.fakes.worker"]))
    yield
    for child in queue._children:
        if child.poll() is None:
            child.kill()
        child.wait()
    queue._children.clear()
