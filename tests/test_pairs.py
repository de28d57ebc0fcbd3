"""What is said at the end of a test run of the combinations that were tried."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from tests import times
from tests.pairs import summary

CHECKOUT = Path(__file__).resolve().parent.parent
TESTS = """
import pytest
from tests import pairs


@pytest.mark.parametrize("kind", ["decoder", "encoder", "broken"])
def test_one(kind, record_property):
    pairs.note(record_property, ("chat", "lora", kind), "Chat needs a decoder." if kind == "encoder" else None)
    assert kind != "broken"
"""


def test_working_ones_are_counted_and_each_reason_is_told_once() -> None:
    noted = [
        ["chat", "lora", "decoder", None],
        ["chat", "lora", "encoder", "No."],
        ["chat", "full", "encoder", "No."],
        ["chat", "head", "decoder", "Never."],
    ]
    assert summary(noted) == [
        "1 of 4 combinations of objective, tuner and kind of model work; the rest are refused with the reason:",
        "  2 × No.",
        "  1 × Never.",
    ]
    assert summary(noted[:1]) == ["1 of 1 combinations of objective, tuner and kind of model work."]
    assert summary([]) == []


def test_they_are_told_by_a_run_in_several_processes_without_those_that_failed(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.ending",
        "-n",
        "2",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
    assert "1 failed, 2 passed" in answer.stdout
    assert "1 of 2 combinations of objective, tuner and kind of model work; the rest" in answer.stdout
    assert "  1 × Chat needs a decoder." in answer.stdout


def test_files_that_took_longest_stand_first_and_short_runs_are_not_told_of() -> None:
    reports = [
        SimpleNamespace(nodeid=f"tests/test_{name}.py::test_{number}", duration=seconds)
        for number, (name, seconds) in enumerate((("a", 30.0), ("b", 100.0), ("a", 90.4)))
    ]
    assert times.told(reports) == [
        "Where 220 s of testing went:",
        "    120 s  tests/test_a.py",
        "    100 s  tests/test_b.py",
    ]
    assert times.told(reports[:1]) == []
