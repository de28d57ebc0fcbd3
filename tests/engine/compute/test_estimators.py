"""Fitted classifiers as arrays: they score as scikit-learn's own, and the choice among them is made on held-out folds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.compute import estimators
from engine.judging.temperature import temperature
from engine.methods import heads

ROWS, WIDTH = 90, 6


def clouds(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Points around a centre for each class, which overlap a little."""
    random = np.random.default_rng(5)
    y = np.arange(ROWS) % classes
    centres = random.normal(0, 1.5, (classes, WIDTH))
    return (centres[y] + random.normal(0, 1, (ROWS, WIDTH))).astype(np.float32), y


def scikit(name: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The models of scikit-learn that are fitted from now on."""
    kind = {
        "logistic": estimators.LogisticRegression,
        "svm": estimators.LinearSVC,
        "mlp": estimators.MLPClassifier,
        "trees": estimators.HistGradientBoostingClassifier,
    }[name]
    made: list[Any] = []
    fit = kind.fit
    monkeypatch.setattr(kind, "fit", lambda self, x, y: made.append(self) or fit(self, x, y))
    return made


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", ["logistic", "svm", "mlp", "trees"])
def test_the_arrays_answer_as_scikit_learns_model(name: str, classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clouds(classes)
    made = scikit(name, monkeypatch)
    head = estimators.fit(name, x, y, classes, seed=1)
    seen = x if name == "trees" else (x - x.mean(axis=0)) / x.std(axis=0)
    scores = heads.scores(estimators.FORMS[name], head, x)
    if name == "svm":
        apart = np.stack(
            [one.decision_function(seen) for one in made], axis=1
        )  # of two classes, only the second has one
        assert (scores.argmax(axis=1) == (apart[:, 0] > 0 if classes == 2 else apart.argmax(axis=1))).all()
    else:
        chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(chances, made[0].predict_proba(seen), atol=1e-5)


def test_the_nearest_rows_are_those_that_scikit_learn_finds() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    x, y = clouds(3)
    ours = heads.scores("nearest", estimators.fit("knn", x, y, 3, seed=1), x).argmax(axis=1)
    theirs = KNeighborsClassifier(5, metric="cosine", weights=lambda far: 1 / (far + 0.001)).fit(x, y).predict(x)
    assert (ours == theirs).all()


@pytest.mark.parametrize("name", estimators.TITLES)
def test_a_class_without_rows_is_never_the_answer(name: str) -> None:
    x, y = clouds(3)
    head = estimators.fit(name, x, y + (y > 0), 5, seed=1)  # 1 and 4 have none
    scores = heads.scores(estimators.FORMS[name], head, x)
    assert scores.shape == (ROWS, 5)
    assert not set(scores.argmax(axis=1)) & {1, 4}


@pytest.mark.parametrize("name", estimators.TITLES)
def test_a_temperature_changes_the_chances_and_no_answer(name: str) -> None:
    x, y = clouds(3)
    form = estimators.FORMS[name]
    head = estimators.fit(name, x, y, 3, seed=1)
    plain, warm = heads.scores(form, head, x), heads.scores(form, estimators.tempered(form, head, 2.0), x)
    np.testing.assert_allclose(warm, plain / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(estimators.TITLES.keys() - estimators.UNWEIGHED))
def test_a_class_that_counts_for_more_is_named_more_often(name: str) -> None:
    x = np.random.default_rng(2).normal(size=(150, 4)).astype(np.float32)
    y = np.arange(150) % 3  # noise, from which nothing but the weights says which class to name
    form, weights = estimators.FORMS[name], np.array([1.0, 1.0, 30.0])
    plain, weighed = (
        (heads.scores(form, estimators.fit(name, x[:90], y[:90], 3, 1, given), x[90:]).argmax(axis=1) == 2).sum()
        for given in (None, weights)
    )
    assert weighed > plain + 5


def test_scores_that_are_too_sure_get_a_high_temperature() -> None:
    scores = np.array([[9.0, 0.0]] * 10)
    assert temperature(scores, np.array([0] * 6 + [1] * 4)) > 5
    assert temperature(np.array([[1.0, 0.0]] * 1000), np.zeros(1000, dtype=int)) < 1
    # Ten rows that are all right don't prove one in eight thousand wrong (Platt 1999).
    assert temperature(scores, np.array([0] * 10)) > 1


def test_every_class_is_spread_evenly_over_the_folds() -> None:
    y = np.array([0] * 10 + [1] * 15 + [2] * 5)
    place = estimators.fold_of(y, 5, seed=3)
    for label, each in ((0, 2), (1, 3), (2, 1)):
        assert np.bincount(place[y == label], minlength=5).tolist() == [each] * 5
    assert not np.array_equal(place, estimators.fold_of(y, 5, seed=4))


def test_there_are_no_more_folds_than_the_rarest_class_has_rows_and_two_at_least() -> None:
    assert estimators.folds_for(np.array([0] * 9 + [1] * 3), 5) == 3
    assert estimators.folds_for(np.array([0] * 9 + [1]), 5) == 2
    assert estimators.folds_for(np.array([0] * 9 + [1] * 9), 5) == 5


def test_the_best_in_cross_validation_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clouds(3)
    right = {"logistic": 40, "svm": 60, "knn": 50}

    def scores(name: str, x: np.ndarray, y: np.ndarray, classes: int, *_: Any) -> np.ndarray:
        found = np.eye(classes)[y]
        found[right[name] :] = 1 - found[right[name] :]
        return found

    monkeypatch.setattr(estimators, "cross_scores", scores)
    choice = estimators.choose(x, y, 3, tuple(right), 5, 1, lambda: None)
    assert choice.name == "svm"
    assert choice.accuracy == {name: pytest.approx(count / ROWS) for name, count in right.items()}
    assert choice.left_out == ("mlp", "trees")


def test_a_row_is_scored_by_a_classifier_that_did_not_learn_from_it() -> None:
    random = np.random.default_rng(1)
    x, y = random.normal(size=(120, 40)).astype(np.float32), random.integers(0, 2, 120)
    # Nothing can be learned from noise, though a classifier that saw the rows would know them by heart.
    right = (estimators.cross_scores("logistic", x, y, 2, 5, 1, lambda: None).argmax(axis=1) == y).mean()
    head = estimators.fit("logistic", x, y, 2, 1)
    assert right < 0.65 < (heads.scores("linear", head, x).argmax(axis=1) == y).mean()


def test_trees_are_not_tried_by_themselves_where_they_would_take_minutes() -> None:
    assert "trees" in estimators.tried("auto", 500, 384, 12)
    assert "trees" not in estimators.tried("auto", 5000, 384, 77)
    assert estimators.tried("trees", 5000, 384, 77) == ("trees",)


def test_rows_that_watch_count_in_the_choice_beside_cross_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clouds(3)
    watching = np.zeros((30, x.shape[1]), np.float32), np.array([0] * 30)
    crossed = {"logistic": 50, "svm": 48}

    def scores(name: str, x: np.ndarray, y: np.ndarray, classes: int, *_: Any) -> np.ndarray:
        found = np.eye(classes)[y]
        found[crossed[name] :] = 1 - found[crossed[name] :]
        return found

    def answers(form: str, head: dict[str, Any], x: np.ndarray) -> np.ndarray:
        return np.eye(3)[[0 if head["name"] == "svm" else 1] * len(x)]

    monkeypatch.setattr(estimators, "cross_scores", scores)
    monkeypatch.setattr(estimators, "fit", lambda name, *_: {"name": name, "weight": np.ones(1), "bias": np.ones(1)})
    monkeypatch.setattr(estimators.heads, "scores", answers)
    choice = estimators.choose(x, y, 3, tuple(crossed), 5, 1, lambda: None, watching)
    assert choice.name == "svm" and (choice.compared, choice.watched) == (ROWS, 30)
    assert choice.accuracy == {"logistic": pytest.approx(50 / (ROWS + 30)), "svm": pytest.approx(78 / (ROWS + 30))}


@pytest.mark.parametrize("classes", [2, 4])
def test_support_vectors_fitted_class_by_class_are_those_fitted_in_one_go(classes: int) -> None:
    from sklearn.svm import LinearSVC

    x, y = clouds(classes)
    apart = estimators._OneByOne(1)
    apart.fit(x, y)
    together = LinearSVC(C=0.01, random_state=1).fit(x, y)
    np.testing.assert_allclose(apart.coef_, together.coef_, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(apart.intercept_, together.intercept_, rtol=1e-3, atol=1e-4)
