"""Keeps what a benchmark found: one JSON object a line in `benchmarks/results/NAME.jsonl`."""

from __future__ import annotations

import json
import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from engine.machine import inspect

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "transformers", "trl", "peft", "gradio")


def kept(name: str) -> list[dict[str, Any]]:
    """What was found so far, oldest first."""
    file = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def keep(name: str, found: dict[str, Any]) -> Path:
    """Append `found` with the date, the machine and the versions that it was found with."""
    versions = {library: metadata.version(library) for library in LIBRARIES}
    machine = {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        # Where a processor has none, runs are computed in float32: about twice the time, and more memory.
        "bfloat16": inspect().cpu_bfloat16,
    }
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        **found,
        "machine": machine,
        "versions": versions,
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.jsonl"
    with open(file, "a", encoding="utf-8") as lines:
        lines.write(json.dumps(record, ensure_ascii=False) + "\n")
    return file
