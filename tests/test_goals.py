"""The tables of what objectives brought, from rows as the benchmarks keep them."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import goals

DOMAIN = {"before": {"bits_per_byte": 1.1, "general_bits_per_byte": 0.9}, "seconds": 10.0, "way": "lora"}
AFTER = {"bits_per_byte": 0.8, "general_bits_per_byte": 0.95}
STUDENT = {"way": "chat", "before": 0.0, "teacher": 0.9, "seconds": 5.0, "total": 1000}
ROWS: dict[str, list[dict[str, Any]]] = {
    "domain": [
        {**DOMAIN, "seed": 1, "after": AFTER},
        {**DOMAIN, "seed": 2, "after": {**AFTER, "bits_per_byte": 0.6}},
        {"way": "full", "seed": 1, "failed": "It broke."},
    ],
    "students": [
        {**STUDENT, "seed": 1, "after": 0.45, "share": 0.5, "low": 0.4, "high": 0.6},
        {**STUDENT, "seed": 2, "after": 0.63, "share": 0.7, "low": 0.4, "high": 0.8},
    ],
    "mixture": [
        {"way": "spam", "seed": 1, "tasks": {"spam": [0.9, 0.85, 0.95]}, "seconds": 7.0},
        {
            "way": "equal",
            "seed": 1,
            "tasks": {"intents": [0.5, 0.4, 0.6], "spam": [0.8, 0.7, 0.9], "nli": [0.7, 0.6, 0.8]},
            "seconds": 20.0,
        },
    ],
    "cloze": [
        {
            "data": "sms.tsv",
            "rows": 8,
            "objective": objective,
            "tuner": tuner,
            "seed": 1,
            "before": {"accuracy": 0.5} if objective == "cloze" else {},
            "after": {"accuracy": score, "accuracy_low": score - 0.1, "accuracy_high": score + 0.1},
        }
        for objective, tuner, score in (("cloze", "lora", 0.8), ("classify", "head", 0.85))
    ],
}


def test_rows_become_means_with_their_widest_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goals, "kept", lambda name: ROWS[name])
    lines = list(goals.told())
    assert "| lora | 1.100 → 0.700 | 0.900 → 0.950 | 10 | 2 |" in lines
    assert "| chat | 0.0 % | 54.0 % | 90.0 % | 60.0 % | 40.0 to 80.0 | 5 | 1,000 | 2 |" in lines
    assert "| spam |  | 90.0 % (85.0 to 95.0) |  | 7 | 1 |" in lines
    assert "| equal | 50.0 % (40.0 to 60.0) | 80.0 % (70.0 to 90.0) | 70.0 % (60.0 to 80.0) | 20 | 1 |" in lines
    assert "| sms.tsv | 8 | `cloze` | `lora` | 50.0 % | 80.0 % | 70.0 to 90.0 | 1 |" in lines
    assert "| sms.tsv | 8 | `classify` | `head` |  | 85.0 % | 75.0 to 95.0 | 1 |" in lines
    assert not any("full" in line for line in lines), "a run that failed has no figures"


def test_without_rows_there_is_no_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goals, "kept", lambda name: [])
    assert list(goals.told()) == []
