"""Classifiers on a model's features as plain arrays: how each form of them scores a text. Needs NumPy alone.

Cards and scripts of results show these functions as they stand here, so each of them stands by itself.
`x`: features, (rows, width), float32. All return (rows, classes); the largest score is the answer, and a softmax over
the scores gives the chances.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]


def linear(head: Arrays, x: np.ndarray) -> np.ndarray:
    """A factor for each feature and class."""
    return x @ head["weight"].T + head["bias"]


def layers(head: Arrays, x: np.ndarray) -> np.ndarray:
    """A network with one hidden layer of rectified units."""
    hidden = np.maximum(x @ head["hidden.weight"].T + head["hidden.bias"], 0)
    return hidden @ head["weight"].T + head["bias"]


def nearest(head: Arrays, x: np.ndarray) -> np.ndarray:
    """The classes of the nearest kept rows by the cosine, each with a vote that grows with its nearness."""
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    alike = x @ head["vectors"].T
    chosen = np.argsort(-alike, axis=1, kind="stable")[:, : head["neighbours"].item()]
    near = 1 / (1.001 - np.minimum(np.take_along_axis(alike, chosen, 1), 1))
    votes = np.full((len(x), head["classes"].item()), 0.01 * near.sum(axis=1, keepdims=True))
    np.add.at(votes, (np.arange(len(x))[:, None], head["numbers"][chosen]), near)
    return np.log(votes / votes.sum(axis=1, keepdims=True)) / head["temperature"].item()


def trees(head: Arrays, x: np.ndarray) -> np.ndarray:
    """A sum of decision trees: (trees, classes, nodes) in each array; a leaf is its own child."""
    count, classes, _ = head["feature"].shape
    scores = np.tile(head["base"], (len(x), 1))
    places = np.arange(classes)
    for tree in range(count):
        node = np.zeros((len(x), classes), dtype=np.int64)
        for _ in range(head["depth"].item()):
            value = np.take_along_axis(x, head["feature"][tree, places, node], 1)
            left, right = head["left"][tree, places, node], head["right"][tree, places, node]
            node = np.where(value <= head["threshold"][tree, places, node], left, right)
        scores = scores + head["value"][tree, places, node]
    return scores


FORMS: dict[str, Callable[[Arrays, np.ndarray], np.ndarray]] = {
    function.__name__: function for function in (linear, layers, nearest, trees)
}
"""How a result's `classifier.json` names them."""


def scores(form: str, head: Arrays, x: np.ndarray) -> np.ndarray:
    return FORMS[form](head, np.asarray(x, dtype=np.float32))


def source(form: str) -> str:
    """Python of one form, for a card or a script; it wants NumPy as `np`."""
    text = inspect.getsource(FORMS[form])
    return text.replace(": Arrays", "").replace(": np.ndarray", "").replace(" -> np.ndarray", "")
