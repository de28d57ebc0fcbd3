"""The temperature that makes a classifier as sure as it is right (Guo et al. 2017, arXiv 1706.04599).

Standalone scripts hold this file's functions as they stand, so they need NumPy alone.
"""

from __future__ import annotations

import numpy as np

LOWEST, HIGHEST, ROUNDS = 0.02, 50.0, 60
_GOLDEN = (np.sqrt(5) - 1) / 2


def log_chances(scores: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Logarithms of a softmax over scores, which are divided by the temperature: (rows, classes), float64."""
    warm = np.asarray(scores, dtype=np.float64) / temperature
    warm = warm - warm.max(axis=1, keepdims=True)
    return warm - np.log(np.exp(warm).sum(axis=1, keepdims=True))


def temperature(scores: np.ndarray, classes: np.ndarray) -> float:
    """The temperature under which the classes of these rows are likeliest.

    scores: (rows, classes), -inf for what a row can't be. classes: as numbers, (rows,). A row counts as its class but
    for a share of 1 in rows + 2, which belongs to all its classes alike (Platt 1999): a few rows that are all right
    would make it endlessly sure.
    """
    spread = 1 / (len(classes) + 2)
    rows = np.arange(len(classes))

    def loss(log_degree: float) -> float:
        found = log_chances(scores, float(np.exp(log_degree)))
        even = found.mean(axis=1, where=np.isfinite(found))
        return float(-((1 - spread) * found[rows, classes] + spread * even).mean())

    low, high = np.log(LOWEST), np.log(HIGHEST)
    for _ in range(ROUNDS):  # convex in 1 / temperature, so that it has one lowest point
        third = (high - low) * _GOLDEN
        if loss(high - third) <= loss(low + third):
            high = low + third
        else:
            low = high - third
    return float(np.exp((low + high) / 2))
