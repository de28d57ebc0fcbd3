"""The contract of tuners of the kind "fit" with every objective, on tiny random models, in one process."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import home, objectives, tuners
from engine.data.example import Example
from engine.data.prepare import Prepared
from engine.errors import UserError
from engine.events import Writer
from engine.methods import vectors
from engine.planning.jobs import held_out, open_job
from engine.runs import queue, store, worker
from tests import pairs
from tests.fakes import runs
from tests.test_matrix import MODELS, hashes, works

FITTING = [tuner.name for tuner in tuners.all() if tuner.kind == "fit"]
PAIRS = [(o.name, t, m) for o in objectives.all() for t in FITTING for m in MODELS]
CLASSIFIERS = ["logistic", "svm", "knn", "mlp", "trees"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("tiny")
    return {name: make(place / name) for name, make in MODELS.items()}


@pytest.fixture(autouse=True)
def _features_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test keeps no other finds. How fast the machine is takes half a minute to measure, and tells nothing."""
    from engine.compute import speed

    monkeypatch.setattr(vectors, "FOLDER", tmp_path.name)
    monkeypatch.setattr(speed, "of_machine", lambda *_, **__: None)


def run_folder(place: Path, model: Path, tuner: str = "head", **settings: Any) -> Path:
    spec = runs.spec(model, "classify", tuner)
    return runs.folder(place, replace(spec, tuner_settings=spec.tuner.Settings(**settings)))


def done(folder: Path) -> dict[str, Any]:
    assert worker.main(folder) == worker.FINISHED, runs.events(folder)[-1]
    return runs.events(folder)[-1]


def head_bytes(folder: Path) -> bytes:
    return (folder / "model" / "head.safetensors").read_bytes()


def answers(folder: Path) -> tuple[list[str], list[float]]:
    from engine.compute.classifier import class_scores, predictions
    from engine.compute.result import open_result

    job, model = open_result(folder)
    rows = [example for split in job.examples.values() for example in split]
    return predictions(job, rows, class_scores(job, model, rows, lambda done, total: None))


def read_rows(folder: Path) -> list[int]:
    """How many features were there from before, as each attempt told it first."""
    told = [e for e in runs.events(folder) if e["type"] == "progress" and e["phase"] == "features"]
    return [event["step"] for event in told]


@pytest.mark.parametrize(("objective", "tuner", "kind"), PAIRS)
def test_a_pair_fits_reloads_and_repeats_exactly_or_is_refused_with_a_reason(
    objective: str,
    tuner: str,
    kind: str,
    tiny: dict[str, Path],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    from engine.compute import fit
    from engine.compute.report import Reporter
    from engine.compute.result import open_result

    reason = works(objective, tuner, tiny[kind])
    pairs.note(record_property, (objective, tuner, kind), reason and reason.replace(str(tiny[kind]), f"the {kind}"))
    if reason is not None:
        assert len(reason) > 20
        return
    weights = (tiny[kind] / "model.safetensors").read_bytes()
    folder = runs.folder(tmp_path / "whole", runs.spec(tiny[kind], objective, tuner))
    job = open_job(folder, lambda text: None)
    kept: list[Any] = []
    with Writer(folder / "events.jsonl") as writer, pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(job.objective), "set_head", lambda self, model, head: _keep(kept, model, head))
        assert fit.run(job, Reporter(folder, writer))
    assert (tiny[kind] / "model.safetensors").read_bytes() == weights
    model = kept[0]
    _, reloaded = open_result(folder)
    assert hashes(reloaded.backbone, trainable=False) == hashes(model.backbone, trainable=False)
    before, after = (job.objective.score(job, one, held_out(job)[1], lambda a, b: None) for one in (model, reloaded))
    assert before == after

    again = runs.folder(tmp_path / "again", runs.spec(tiny[kind], objective, tuner))
    done(again)
    assert head_bytes(again) == head_bytes(folder)


def _keep(kept: list[Any], model: Any, head: Any) -> Any:
    model.head = head
    kept.append(model)
    return model


def test_some_pair_works_and_some_is_refused(tiny: dict[str, Path]) -> None:
    reasons = [works(objective, tuner, tiny[kind]) for objective, tuner, kind in PAIRS]
    assert None in reasons and any(reasons)


def test_an_objective_without_labels_is_refused_for_what_it_lacks(tiny: dict[str, Path]) -> None:
    reason = works("chat", "head", tiny["decoder"])
    assert reason is not None and "needs a score for each label and one vector for each text, which Chat" in reason


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_every_classifier_answers_after_reloading_as_it_was_scored(
    classifier: str, tiny: dict[str, Path], tmp_path: Path
) -> None:
    folder = run_folder(tmp_path / "run", tiny["encoder"], classifier=classifier)
    done(folder)
    kept = json.loads((folder / "scores" / "after.json").read_text(encoding="utf-8"))["rows"]
    given, losses = answers(folder)
    assert given[-len(kept) :] == [row["answer"] for row in kept]
    assert losses[-len(kept) :] == pytest.approx([row["loss"] for row in kept], abs=1e-6)
    assert json.loads((folder / "model" / "classifier.json").read_text())["classifier"] == classifier


def test_a_result_holds_arrays_and_json_and_nothing_that_runs_when_it_is_read(
    tiny: dict[str, Path], tmp_path: Path
) -> None:
    folder = run_folder(tmp_path / "run", tiny["encoder"], classifier="trees")
    done(folder)
    endings = {file.suffix for file in (folder / "model").iterdir()}
    assert endings <= {".safetensors", ".json", ".yaml", ".jinja", ".py"}
    assert "pickle" not in (folder / "model" / "train.py").read_text(encoding="utf-8")


def test_a_stopped_run_goes_on_from_the_features_it_has(tiny: dict[str, Path], tmp_path: Path) -> None:
    spec = runs.spec(tiny["decoder"], "classify", "head", micro_batch_size=2)
    whole, part = (runs.folder(tmp_path / name, spec) for name in ("whole", "part"))

    def stop() -> None:
        while not (part / "events.jsonl").exists() or not any(read_rows(part)):
            if finished.wait(0.001):
                return
        (part / "stop").touch()

    finished = threading.Event()
    asking = threading.Thread(target=stop)
    asking.start()
    code = worker.main(part)
    finished.set()
    asking.join()
    if code == worker.FINISHED:
        pytest.fail("the run was over before it could be stopped")
    assert code == worker.STOPPED
    (part / "stop").unlink()
    first = len(read_rows(part))
    done(part)
    assert read_rows(part)[first] > 0
    done(whole)
    assert head_bytes(whole) == head_bytes(part)


def test_a_repeated_run_computes_no_features_anew(tiny: dict[str, Path], tmp_path: Path) -> None:
    for name in ("first", "second"):
        done(run_folder(tmp_path / name, tiny["encoder"]))
    assert read_rows(tmp_path / "first")[0] == 0
    assert read_rows(tmp_path / "second") == [10]


@pytest.mark.parametrize("settings", [{"pooling": "cls"}, {"layer": 2}, {"layers": 2}])
def test_another_reading_finds_no_features_of_the_first(
    settings: dict[str, Any], tiny: dict[str, Path], tmp_path: Path
) -> None:
    done(run_folder(tmp_path / "first", tiny["encoder"]))
    done(run_folder(tmp_path / "second", tiny["encoder"], **settings))
    assert read_rows(tmp_path / "second")[0] == 0


def test_a_layer_that_the_model_lacks_is_refused(tiny: dict[str, Path]) -> None:
    from engine.bases.models import facts
    from engine.specs.sections import Model

    head = tuners.get("head")
    reason = head.refuses(facts(Model(id=str(tiny["encoder"]))), head.Settings(layer=2, layers=2))
    assert reason is not None and "has 2 layers; 3 from the top" in reason


def test_fewer_folds_than_asked_for_are_told_with_the_reason(tiny: dict[str, Path], tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", tiny["encoder"])
    finished = done(folder)
    notices = [event["text"] for event in runs.events(folder) if event["type"] == "notice"]
    assert "2 folds in place of 5: the rarest label has 2 rows to learn from." in notices
    assert finished["metrics"]["cross_validation"]["folds"] == 2
    assert set(finished["metrics"]["cross_validation"]["accuracy"]) == set(CLASSIFIERS)


def test_rows_of_one_label_alone_are_refused(tiny: dict[str, Path], tmp_path: Path) -> None:
    spec = runs.spec(tiny["encoder"], "classify", "head")
    rows = [Example(number, "train", text=f"Text {number}", label="one") for number in range(1, 5)]
    rows.append(Example(5, "test", text="Another", label="two"))
    folder = runs.folder(tmp_path / "run", spec, rows)
    assert worker.main(folder) == worker.USER_ERROR
    assert "nothing to tell apart" in runs.events(folder)[-1]["problem"]


def test_a_label_that_no_row_teaches_is_never_answered_and_costs_no_more_than_the_least_likely(
    tiny: dict[str, Path], tmp_path: Path
) -> None:
    rows = runs.examples("labelled")
    rows.append(Example(13, "test", text="Something else", label="a label of its own"))
    for classifier in CLASSIFIERS:
        spec = runs.spec(tiny["encoder"], "classify", "head")
        spec = replace(spec, tuner_settings=spec.tuner.Settings(classifier=classifier))
        folder = runs.folder(tmp_path / classifier, spec, rows)
        done(folder)
        given, losses = answers(folder)
        assert "a label of its own" not in given
        assert np.isfinite(losses).all()


def test_its_course_is_told_from_the_start_and_steps_reach_their_total(tiny: dict[str, Path], tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", tiny["encoder"])
    done(folder)
    told = [event for event in runs.events(folder) if event["type"] == "progress"]
    assert {"load", "score before", "features", "train", "score after"} <= {event["phase"] for event in told}
    trained = [event for event in told if event["phase"] == "train"]
    assert trained[-1]["step"] == trained[-1]["total_steps"] == 5 * 3 + 1


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize("settings", [{}, {"layers": 2, "pooling": "last"}])
def test_the_cards_code_loads_every_classifier_and_scores_as_ours(
    classifier: str, settings: dict[str, Any], tiny: dict[str, Path], tmp_path: Path
) -> None:
    import torch

    from engine.compute.result import open_result
    from engine.scripts import snippets

    folder = run_folder(tmp_path / "run", tiny["encoder"], classifier=classifier, **settings)
    done(folder)
    result = folder / "model"
    kept = json.loads((result / "classifier.json").read_text(encoding="utf-8"))
    source = snippets.Source(str(result), "beside", str(tiny["encoder"]), on_hub=False)
    code = snippets.fitted(source, kept, 64)
    text = f"{code.load}\n{code.ask}".replace("from huggingface_hub import hf_hub_download", "import os.path")
    given: dict[str, Any] = {}
    exec(text.replace("hf_hub_download", "os.path.join"), given)
    job, model = open_result(folder)
    ids = job.tokens.encode_text("Write a text here.", 64).ids
    with torch.no_grad():
        ours = model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))
    np.testing.assert_allclose(given["scores"], ours.numpy(), rtol=1e-4, atol=1e-5)


def test_features_that_nobody_used_for_a_week_or_that_take_too_much_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "MOST_BYTES", 2500)
    now = time.time()
    for name, age_s in (("used", 0), ("newer", 60), ("older", 3600), ("week", 8 * 24 * 3600)):
        (tmp_path / f"{name}.sqlite").write_bytes(b"x" * 1000)
        os.utime(tmp_path / f"{name}.sqlite", (now - age_s, now - age_s))
    vectors.trim(tmp_path / "used.sqlite")
    assert {file.stem for file in tmp_path.glob("*.sqlite")} == {"used", "newer"}


def test_damaged_features_are_computed_again(tiny: dict[str, Path], tmp_path: Path) -> None:
    done(run_folder(tmp_path / "first", tiny["encoder"]))
    (kept,) = (home.cache() / vectors.FOLDER).glob("*.sqlite")
    kept.write_bytes(b"no database " * 500)
    done(run_folder(tmp_path / "second", tiny["encoder"]))
    assert read_rows(tmp_path / "second")[0] == 0
    assert head_bytes(tmp_path / "second") == head_bytes(tmp_path / "first")


def test_owners_do_not_share_features(tiny: dict[str, Path], tmp_path: Path) -> None:
    for owner in ("ada", "bob"):
        folder = run_folder(tmp_path / owner, tiny["encoder"])
        (folder / "run.json").write_text(json.dumps({"owner": owner}), encoding="utf-8")
        done(folder)
        assert read_rows(folder)[0] == 0


def test_a_result_is_never_merged_and_says_why(tiny: dict[str, Path], tmp_path: Path) -> None:
    from engine.compute.merge import merge

    folder = run_folder(tmp_path / "run", tiny["encoder"])
    done(folder)
    with pytest.raises(UserError, match=r"can't be merged.*no part of the model's weights"):
        merge(folder, tmp_path / "merged")


# --- validation rows


def labelled(splits: dict[str, int]) -> list[Example]:
    """So many rows of each split, of two labels in turn."""
    found: list[Example] = []
    for split, count in splits.items():
        for number in range(count):
            label, text = [("early", "Good morning"), ("late", "Good night")][number % 2]
            found.append(Example(len(found) + 1, split, text=f"{text}, {split} {number}.", label=label))  # type: ignore[arg-type]
    return found


def test_validation_rows_count_in_the_choice_and_nothing_is_learned_of_them(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.compute import estimators

    learned, spec = [], runs.spec(tiny["encoder"], "classify", "head")
    fit = estimators.fit
    monkeypatch.setattr(estimators, "fit", lambda name, x, *rest: learned.append(len(x)) or fit(name, x, *rest))
    folder = runs.folder(tmp_path / "run", spec, labelled({"train": 10, "validation": 6, "test": 4}))
    metrics = done(folder)["metrics"]["cross_validation"]
    assert (metrics["rows"], metrics["validation_rows"]) == (10, 6)
    assert all(round(16 * share, 6) % 1 == 0 for share in metrics["accuracy"].values())
    assert max(learned) == 10
    notices = [event["text"] for event in runs.events(folder) if event["type"] == "notice"]
    assert any("on the 10 rows to learn from and on the 6 validation rows" in text for text in notices)


def test_validation_rows_that_are_scored_in_the_end_take_no_part_in_the_choice(
    tiny: dict[str, Path], tmp_path: Path
) -> None:
    spec = runs.spec(tiny["encoder"], "classify", "head")
    folder = runs.folder(tmp_path / "run", spec, labelled({"train": 10, "validation": 6}))
    metrics = done(folder)["metrics"]
    assert (metrics["split"], metrics["rows"]) == ("validation", 6)
    assert metrics["cross_validation"]["validation_rows"] == 0
    notices = [event["text"] for event in runs.events(folder) if event["type"] == "notice"]
    assert any("the 6 validation rows are scored in the end. They take no part" in text for text in notices)


# --- traces of texts, and stopping


def kept_keys() -> list[int]:
    """How many vectors each database holds."""
    found = []
    for file in sorted((home.cache() / vectors.FOLDER).glob("*.sqlite")):
        with closing(sqlite3.connect(file)) as rows:
            found.append(rows.execute("SELECT COUNT(*) FROM vectors").fetchone()[0])
    return found


def listed_run(model: Path, rows: list[Example]) -> store.Run:
    run = store.create(runs.spec(model, "classify", "head"), Prepared(rows, [], [], []))
    done(run.folder)
    queue.reconcile()
    return run


def test_a_deleted_run_takes_the_vectors_along_that_no_other_run_uses(tiny: dict[str, Path]) -> None:
    rows = labelled({"train": 10, "validation": 2, "test": 2})
    more = [*rows, Example(15, "train", text="A secret of this run alone", label="early")]
    first, second = listed_run(tiny["encoder"], rows), listed_run(tiny["encoder"], more)
    assert kept_keys() == [13]
    (file,) = (home.cache() / vectors.FOLDER).glob("*.sqlite")
    with closing(sqlite3.connect(file)) as found:
        every = dict(found.execute("SELECT key, vector FROM vectors"))
    store.delete(second)
    assert kept_keys() == [12]
    with closing(sqlite3.connect(file)) as found:
        left = dict(found.execute("SELECT key, vector FROM vectors"))
    (gone,) = every.keys() - left.keys()
    assert every[gone] not in file.read_bytes(), "its numbers still lie in the file"
    store.delete(first)
    assert not list((home.cache() / vectors.FOLDER).glob("*.sqlite"))


def test_a_long_fit_is_stopped_in_its_middle(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.compute import estimators

    begun, before = threading.Event(), signal.getsignal(signal.SIGINT)

    def forever(*_: Any) -> Any:
        begun.set()
        while True:
            time.sleep(0.01)

    monkeypatch.setattr(estimators, "fit", forever)
    folder = run_folder(tmp_path / "run", tiny["encoder"])
    asking = threading.Thread(target=lambda: begun.wait(60) and (folder / "stop").touch())
    asking.start()
    began = time.monotonic()
    assert worker.main(folder) == worker.STOPPED
    asking.join()
    assert time.monotonic() - began < 60
    assert "Stopped as you asked." in runs.events(folder)[-1]["text"]
    assert signal.getsignal(signal.SIGINT) is before
