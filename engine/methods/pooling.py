"""How a model's token vectors become one vector for a text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = "1_Pooling"
EACH_TOKEN = "none"
"""Of a model that says something of each token: its vectors stay as they are."""


@dataclass(frozen=True)
class Reading:
    """Which vectors of a model stand for a text."""

    pooling: str
    """"mean", "cls", "last" or "lasttoken", "max"; EACH_TOKEN for none of these."""
    layer: int = 1
    """Counted from the top: 1 is the last."""
    layers: int = 1
    """How many layers, from that one down, are averaged."""

    @property
    def is_output(self) -> bool:
        """Whether it is the model's own output."""
        return self.layer == self.layers == 1


def pooling(model_folder: Path) -> str:
    """The pooling that the model was trained with (sentence-transformers' 1_Pooling, or a run's word), else "mean"."""
    config = _read(model_folder / FOLDER / "config.json")
    if not config:  # the result of a run that trained a classifier
        kept = str(_read(model_folder / "classifier.json").get("pooling", "mean"))
        return "mean" if kept == EACH_TOKEN else kept
    if isinstance(config.get("pooling_mode"), str):
        return config["pooling_mode"]
    for key, name in (
        ("pooling_mode_cls_token", "cls"),
        ("pooling_mode_lasttoken", "last"),
        ("pooling_mode_max_tokens", "max"),
    ):
        if config.get(key):
            return name
    return "mean"


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
