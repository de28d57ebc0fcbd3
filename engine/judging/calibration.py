"""Whether a classifier is as sure as it is right: before, and with the temperature that makes it so.

Scores are logits, (rows, classes); a softmax over them, divided by the temperature, gives the chances.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engine.files import read_json
from engine.judging.temperature import log_chances

BINS, FEWEST_IN_BIN = 15, 20
"""At most so many, of equally many rows each and of no fewer than that: in small ones chance alone makes a gap."""
FEWEST_ROWS = 10
"""Fewer say nothing of how sure to be."""
MOST_ROWS = 2000


def error(chances: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error: how far the chance of the answer is from the share that is right, on average.

    chances: of each row's answer, (rows,). right: whether it was the right one. Over at most `BINS` bins of equally
    many rows, in the order of their chances.
    """
    order = np.argsort(chances, kind="stable")
    parts = np.array_split(order, max(1, min(BINS, len(order) // FEWEST_IN_BIN)))
    return float(sum(abs(float((chances[part] - right[part]).sum())) for part in parts) / len(order))


def measured(scores: np.ndarray, classes: np.ndarray, degree: float | None) -> dict[str, float]:
    """The calibration error of held-out rows, and with a temperature its error and the log loss, too.

    scores: -inf for a label that a row can't have. classes: as numbers; -1 for a row whose class the classifier does
    not know, which is never right.
    """
    found = {"calibration_error": _error(log_chances(scores), classes)}
    if degree is None:
        return found
    warm = log_chances(scores, degree)
    least = warm.min(axis=1, where=np.isfinite(warm), initial=0.0)
    losses = np.where(classes >= 0, -warm[np.arange(len(classes)), classes], -least)
    return {**found, "calibrated_error": _error(warm, classes), "calibrated_loss": float(losses.mean())}


def told(result: Path) -> str:
    """Whether the chances that a result tells hold, in a sentence; empty where it has none, or that is not known."""
    return told_of(read_json(result / "classifier.json") or {})


def told_of(kept: Mapping[str, Any]) -> str:
    """The same of what `classifier.json` holds."""
    if kept.get("temperature"):
        return f"Chances are calibrated on {kept['calibrated_on']:,} validation rows."
    if "cross_validation" in kept:
        return "Chances are calibrated in cross-validation."
    if "labels" not in kept:
        return ""
    why = ": too few rows watched the training" if "calibrated_on" in kept else ""
    return f"Chances are not calibrated{why}. The order of the labels holds all the same."


def _error(found: np.ndarray, classes: np.ndarray) -> float:
    return error(np.exp(found.max(axis=1)), found.argmax(axis=1) == classes)
