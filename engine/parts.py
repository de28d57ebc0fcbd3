"""Parts of our own that a result may hold: their files, and the source that attaches them. Needs no torch."""

from __future__ import annotations

import re
from pathlib import Path

ENGINE = Path(__file__).parent
PARTS = ("bottleneck", "soft_prompt", "soft_prefix")
"""Modules of `engine.compute` with `attach(model, config)`; their files in a result are called by these names."""


def weights_file(part: str) -> str:
    return f"{part}.safetensors"


def config_file(part: str) -> str:
    return f"{part}_config.json"


def part_in(folder: Path) -> str | None:
    """Which of the parts a result holds, if any."""
    return next((part for part in PARTS if (folder / weights_file(part)).exists()), None)


def source(module: str) -> str:
    """Python of a module such as "compute.soft_prompt", without its docstring and its imports from the engine."""
    text = (ENGINE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    text = text.split('"""\n', 1)[1]
    return re.sub(r"^from engine\..*\n", "", text, flags=re.MULTILINE).strip("\n")
