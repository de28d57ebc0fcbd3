"""Parts of our own that a result may hold: their files, and the source that attaches them. Needs no torch."""

from __future__ import annotations

import re
from pathlib import Path

ENGINE = Path(__file__).parent.parent
START = "start"
"""Folder of a result with what of other runs its standalone script begins with."""
BASE = "base"
"""Folder with the base model of a result, where it was made for the run and is nowhere else."""
LANGUAGE_HEAD = "language_head.safetensors"
"""The head of a masked language model in a result, but for the word embeddings that it shares with the body."""
MASKED_FILE = "masked_text.json"
"""How words were hidden while a masked language model read, and whether its head learned."""
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
    """Python of a module such as "compute.soft_prompt", without its docstring and what only the engine imports."""
    text = (ENGINE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    text = text.split('"""\n', 1)[1]
    return re.sub(r"^from (?:engine\.|__future__ ).*\n", "", text, flags=re.MULTILINE).strip("\n")


READ = "read.jsonl"
"""Rows of a run as they are read, where these are not those of its data: long ones in parts, with what is mixed in,
or with answers that a teacher wrote."""
