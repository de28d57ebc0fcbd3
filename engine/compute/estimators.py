"""Simple classifiers on features, by scikit-learn: the choice among them, and each as plain arrays (`methods.heads`).

The standalone script of a run holds this file's functions as they stand, so they need NumPy and scikit-learn alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from engine.judging.temperature import temperature
from engine.methods import heads

Head = dict[str, np.ndarray]
Counts = dict[str, np.ndarray]
"""What scikit-learn is told of rows that don't count alike: nothing, or their "sample_weight"."""
TITLES = {
    "logistic": "logistic regression",
    "svm": "linear support vector machine",
    "knn": "nearest neighbours",
    "mlp": "small neural network",
    "trees": "gradient-boosted trees",
}
"""In the order in which equals are chosen: the simplest first."""
FORMS = {"logistic": "linear", "svm": "linear", "knn": "nearest", "mlp": "layers", "trees": "trees"}
MOST_COMPARED = 5000
"""Rows that the classifiers are compared on; the chosen one learns from all."""
MOST_FOR_TREES = 10_000_000
"""Rows × features × classes up to which trees are tried by themselves: some seconds a fit."""
UNWEIGHED = frozenset({"knn"})
"""Classifiers in which every row counts alike, whatever its class."""


@dataclass(frozen=True)
class Choice:
    name: str
    head: Head
    accuracy: dict[str, float]
    """On rows that it did not learn from, by classifier: in cross-validation, and on those that watch."""
    folds: int
    compared: int
    """Rows to learn from that were compared on."""
    watched: int = 0
    """Rows beside them, of which nothing is learned."""
    left_out: tuple[str, ...] = ()
    """Classifiers that were not tried: for the time they take, or since they can't weigh classes."""

    @property
    def form(self) -> str:
        return FORMS[self.name]


def tried(classifier: str, rows: int, width: int, classes: int, weighed: bool = False) -> tuple[str, ...]:
    """The classifiers to compare: all for "auto" that take seconds, else the one that is named.

    weighed: whether classes count differently, which not all can do.
    """
    if classifier != "auto":
        return (classifier,)
    heavy = min(rows, MOST_COMPARED) * width * classes > MOST_FOR_TREES
    return tuple(name for name in TITLES if not (heavy and name == "trees") and not (weighed and name in UNWEIGHED))


def folds_for(y: np.ndarray, wanted: int) -> int:
    """As many as wanted, but no more than the rarest class has rows, and two at least."""
    return max(2, min(wanted, int(np.unique(y, return_counts=True)[1].min())))


def fold_of(y: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each row: every class is dealt out evenly, in an order that the seed gives."""
    found = np.zeros(len(y), dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(y))
    found[order[np.argsort(y[order], kind="stable")]] = np.arange(len(y)) % folds
    return found


def choose(
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    names: Sequence[str],
    folds: int,
    seed: int,
    report: Callable[[], None],
    watching: tuple[np.ndarray, np.ndarray] | None = None,
    weights: np.ndarray | None = None,
) -> Choice:
    """The classifier that is right most often on rows that it did not learn from, fitted to all that are to be learned.

    x: features, (rows, width), float32. y: classes as numbers, (rows,). Two classes or more have rows. watching: the
    same of rows of which nothing is learned, but which count in the choice. `report` is called before each fit.
    weights: as much as a row of each class counts, (classes,), while it is learned and when it is right.
    """
    some = np.sort(np.random.default_rng(seed).permutation(len(y))[:MOST_COMPARED])
    folds = folds_for(y, folds)
    right = y[some] if watching is None else np.concatenate([y[some], watching[1]])
    accuracy, scores = {}, {}
    for name in names:
        scores[name] = cross_scores(name, x[some], y[some], classes, folds, seed, report, weights)
        if watching is not None:
            report()
            head = fit(name, x[some], y[some], classes, seed, weights)
            scores[name] = np.concatenate([scores[name], heads.scores(FORMS[name], head, watching[0])])
        counts = None if weights is None else weights[right]
        accuracy[name] = float(np.average(scores[name].argmax(axis=1) == right, weights=counts))
    best = max(names, key=lambda name: accuracy[name])  # of equals the first
    report()
    fitted = fit(best, x, y, classes, seed, weights)
    head = tempered(FORMS[best], fitted, temperature(scores[best], right))
    left_out = tuple(name for name in TITLES if len(names) > 1 and name not in names)
    return Choice(best, head, accuracy, folds, len(some), len(right) - len(some), left_out)


def cross_scores(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    folds: int,
    seed: int,
    report: Callable[[], None],
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Class scores of each row by a classifier that did not learn from it: (rows, classes)."""
    found = np.zeros((len(y), classes))
    place = fold_of(y, folds, seed)
    for fold in range(folds):
        report()
        held, known = place == fold, place != fold
        if len(np.unique(y[known])) < 2:
            found[held, y[known][0]] = 1
            continue
        head = fit(name, x[known], y[known], classes, seed, weights)
        found[held] = heads.scores(FORMS[name], head, x[held])
    return found


def fit(name: str, x: np.ndarray, y: np.ndarray, classes: int, seed: int, weights: np.ndarray | None = None) -> Head:
    """One classifier, fitted, as arrays. Two classes or more have rows; those without any are the least likely."""
    counts = {} if weights is None else {"sample_weight": weights[y]}
    # More threads than one make these small products slower. That a limit of rounds ends a fit is no news to anybody.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if name == "knn":
            return _knn(x, y, classes)
        how = _trees if name == "trees" else partial(_by_products, name)
        return how(x, y, classes, seed, counts)


def tempered(form: str, head: Head, degree: float) -> Head:
    """The head with its scores divided by a temperature."""
    if form == "nearest":
        return {**head, "temperature": np.array([degree], np.float32)}
    last = ("base", "value") if form == "trees" else ("weight", "bias")
    return {**head, **{part: (head[part] / degree).astype(head[part].dtype) for part in last}}


def _by_products(name: str, x: np.ndarray, y: np.ndarray, classes: int, seed: int, counts: Counts) -> Head:
    """Logistic regression, support vector machine or network, on features of mean 0 and deviation 1."""
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale < 1e-6] = 1
    model = {
        "logistic": lambda: LogisticRegression(C=0.1, max_iter=300, random_state=seed),
        "svm": lambda: _OneByOne(seed),
        "mlp": lambda: MLPClassifier(
            (64,), alpha=0.1, batch_size=min(32, len(y)), learning_rate_init=2e-3, max_iter=60, random_state=seed
        ),
    }[name]()
    model.fit((x - mean) / scale, y, **counts)
    head, seen = {}, x
    if name == "mlp":
        # The scaling becomes part of the first weights, so that the head reads features as they are.
        first = model.coefs_[0].T / scale
        head = {"hidden.weight": first, "hidden.bias": model.intercepts_[0] - first @ mean}
        seen = np.maximum(x @ head["hidden.weight"].T + head["hidden.bias"], 0)
        weight, bias = model.coefs_[1].T, model.intercepts_[1]
    else:
        weight = model.coef_ / scale
        bias = model.intercept_ - weight @ mean
    if len(model.classes_) == 2:  # one score, that of the second class
        weight, bias = np.vstack([0 * weight, weight]), np.concatenate([0 * bias, bias])
    every, offset = np.zeros((classes, weight.shape[1])), np.full(classes, (seen @ weight.T + bias).min() - 1)
    every[model.classes_], offset[model.classes_] = weight, bias
    head |= {"weight": every, "bias": offset}
    return {part: array.astype(np.float32) for part, array in head.items()}


class _OneByOne:
    """A linear support vector machine for each class against the rest, as LinearSVC makes them in one go.

    That is a single call into compiled code, which takes long with many classes, and which nothing can stop.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(self, x: np.ndarray, y: np.ndarray, **counts: np.ndarray) -> None:
        self.classes_ = np.unique(y)
        asked = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        fitted = [LinearSVC(C=0.01, random_state=self.seed).fit(x, y == label, **counts) for label in asked]
        self.coef_ = np.vstack([one.coef_ for one in fitted])
        self.intercept_ = np.concatenate([one.intercept_ for one in fitted])


def _knn(x: np.ndarray, y: np.ndarray, classes: int) -> Head:
    length = np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return {
        "vectors": (x / length).astype(np.float32),
        "numbers": y.astype(np.int64),
        "neighbours": np.array([min(5, len(y))]),
        "classes": np.array([classes]),
        "temperature": np.ones(1, np.float32),
    }


def _trees(x: np.ndarray, y: np.ndarray, classes: int, seed: int, counts: Counts) -> Head:
    """Small trees, each of which looks at a tenth of the features at every node: as good on these, and faster."""
    model = HistGradientBoostingClassifier(
        early_stopping=False,
        learning_rate=0.2,
        max_bins=32,
        max_features=0.1,
        max_iter=40,
        max_leaf_nodes=8,
        min_samples_leaf=5,
        random_state=seed,
    ).fit(x, y, **counts)
    binary = len(model.classes_) == 2
    known = model.classes_[1:] if binary else model.classes_
    grown = [[tree.nodes for tree in round_] for round_ in model._predictors]
    most = max(len(nodes) for round_ in grown for nodes in round_)
    shape = (len(grown), classes, most)
    # A class that has no trees stays at its base: far below the others, or 0 for the first of two.
    head: Head = {
        "base": np.full(classes, -20.0),
        "feature": np.zeros(shape, np.int64),
        "threshold": np.full(shape, np.inf),
        "left": np.zeros(shape, np.int64),
        "right": np.zeros(shape, np.int64),
        "value": np.zeros(shape),
        "depth": np.array([max(int(nodes["depth"].max()) for round_ in grown for nodes in round_)]),
    }
    if binary:
        head["base"][model.classes_[0]] = 0
    head["base"][known] = model._baseline_prediction.ravel()
    for number, round_ in enumerate(grown):
        for place, nodes in zip(known, round_, strict=True):
            here, leaf, own = (number, place, slice(len(nodes))), nodes["is_leaf"] == 1, np.arange(len(nodes))
            head["feature"][here] = np.where(leaf, 0, nodes["feature_idx"])
            head["threshold"][here] = np.where(leaf, np.inf, nodes["num_threshold"])
            head["left"][here] = np.where(leaf, own, nodes["left"])
            head["right"][here] = np.where(leaf, own, nodes["right"])
            head["value"][here] = np.where(leaf, nodes["value"], 0)
    return head
