"""How a model's token vectors become one vector for a text."""

from __future__ import annotations

import json
from pathlib import Path


def pooling(model_folder: Path) -> str:
    """The pooling that the model was trained with (sentence-transformers' 1_Pooling), else "mean"."""
    try:
        config = json.loads((model_folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "mean"
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
