"""Threads of a computation wait briefly, and few kernels are kept, unless the environment says otherwise."""

from __future__ import annotations

import pytest

from engine import children
from engine.kernel_cache import keep_few_kernels
from engine.waiting import wait_briefly


def test_threads_spin_a_little() -> None:
    environment: dict[str, str] = {}
    wait_briefly(environment)
    assert environment == {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000"}


def test_what_the_environment_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"OMP_WAIT_POLICY": "active"}
    wait_briefly(said)
    assert said == {"OMP_WAIT_POLICY": "active"}
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert children.environment(2)["GOMP_SPINCOUNT"] == "7"
    assert children.environment(2)["OMP_WAIT_POLICY"] == "passive"


def test_few_kernels_are_kept_in_children_too(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"LRU_CACHE_CAPACITY": "7"}
    keep_few_kernels(environment)
    assert environment == {"LRU_CACHE_CAPACITY": "7", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128"}
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    assert children.environment(2)["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "128"
