"""The sample run: a small real model learns to name what a bank's customer wants."""

from __future__ import annotations

from engine.specs.spec import RunSpec

SYSTEM = "Name the intent of the customer's message."


def spec() -> RunSpec:
    """SmolLM2-135M, 12 intents with 40 rows each to learn from and 120 rows held out."""
    return RunSpec.parse(
        {
            "name": "Sample: bank intents",
            "model": {"id": "embedded:smollm2-135m"},
            "data": [
                {
                    "source": "sample:banking-intents",
                    "columns": {"text": "text", "label": "intent"},
                    "system": SYSTEM,
                    "split": {"test_rows": 120, "validation_rows": 0, "validation": 0.0},
                }
            ],
            "objective": {"name": "chat"},
            "tuner": {"name": "lora", "rank": 16},
            "training": {"epochs": 3, "batch_size": 8, "max_tokens": 256},
        }
    )
