"""How several data sets are mixed: shares, passes that leave no row out for good, and what a run makes of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.data import mixture
from engine.data.mixture import Part
from engine.errors import SettingError
from engine.events import Writer
from engine.planning import explain
from engine.planning.jobs import of_pass, open_job
from engine.runs.worker import main as work
from engine.specs.sections import Data
from engine.specs.sections import Mixture as Settings
from engine.specs.spec import RunSpec
from tests.engine.compute import test_multitask, test_script
from tests.fakes import models, runs


@pytest.mark.parametrize(
    ("settings", "sizes", "taken"),
    [
        ({}, [100, 10, 1], [100, 10, 1]),
        ({"by": "equal"}, [100, 10, 1], [37, 37, 37]),
        ({"by": "equal"}, [100, 11], [56, 55]),
        ({"by": "temperature"}, [100, 4], [87, 17]),  # 10 to 2
        ({"by": "temperature", "temperature": 1}, [90, 10], [90, 10]),
        ({"weights": [1, 5]}, [100, 20], [60, 60]),
        ({"by": "equal", "weights": [3, 1]}, [10, 10], [15, 5]),
        ({"by": "equal", "weights": [1000, 0.1]}, [2, 2], [3, 1]),  # one row at least
        ({"by": "equal"}, [5, 0, 1], [3, 0, 3]),
        ({"by": "equal"}, [0, 0], [0, 0]),
    ],
)
def test_shares_follow_size_temperature_and_weight(settings: Any, sizes: list[int], taken: list[int]) -> None:
    found = mixture.counts(Settings(**settings), sizes)
    assert found == taken and sum(found) == sum(sizes)


def test_a_set_is_read_to_its_end_before_any_of_its_rows_comes_again() -> None:
    sources = [0] * 9 + [1] * 3 + [-1]
    mixed = mixture.mixed(Settings(by="equal"), sources, 2, seed=7)
    assert mixed is not None and mixed.taken == [6, 6]
    seen: Counter[int] = Counter()
    for epoch in range(6):
        order = mixed.order(epoch)
        assert order == mixed.order(epoch) and len(order) == len(sources)
        seen.update(order)
        for own in (range(9), range(9, 12)):
            times = [seen[place] for place in own]
            assert max(times) - min(times) <= 1
    assert [seen[place] for place in (*range(9), 12)] == [4] * 9 + [6]
    assert mixed.order(0) != replace(mixed, seed=8).order(0)


@pytest.mark.parametrize("settings", [{}, {"weights": [2, 2]}, {"by": "equal"}])
def test_there_is_no_mixture_where_every_row_is_read_once(settings: Any) -> None:
    assert mixture.mixed(Settings(**settings), [0, 1, 0, 1], 2, 1) is None


def test_rows_that_a_run_never_reads_are_told() -> None:
    parts = [Part("letters.csv", 300, 60), Part("calls.csv", 20, 60)]
    assert [part.passes(3) for part in parts] == pytest.approx([0.6, 9])
    (told,) = mixture.unread(parts, 3)
    assert told.startswith("Of letters.csv about 180 of 300 rows are read at all: a pass takes 60.")
    assert mixture.unread(parts, 5) == []


def test_equal_names_are_numbered() -> None:
    given = ["/one/rows.csv", "sample:banking-intents", "/other/rows.csv"]
    assert mixture.names([Data(source=source) for source in given]) == [
        "rows.csv",
        "banking-intents",
        "rows.csv (3)",
    ]


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, 2.0, 3.0], [1, "much"]])
def test_weights_that_do_not_fit_are_refused(weights: Any) -> None:
    values = {"model": {"id": "x"}, "data": [{"source": "a"}, {"source": "b"}], "mixture": {"weights": weights}}
    with pytest.raises(SettingError, match=r"(?i)weight"):
        RunSpec.parse(values)


def mixed_spec(base: Path, objective: str, tuner: str = "lora") -> RunSpec:
    return RunSpec.parse(
        {
            **runs.spec(base, objective, tuner).as_dict(),
            "data": [{"source": "/place/letters.csv"}, {"source": "/place/calls.csv"}],
            "mixture": {"by": "equal", "weights": [3, 1]},
        }
    )


@pytest.mark.parametrize(("objective", "kind"), [("chat", "decoder"), ("classify", "encoder")])
def test_a_run_reads_its_sets_so_and_its_script_prints_the_same_losses(
    objective: str, kind: str, tmp_path: Path
) -> None:
    base = (models.tiny_encoder if kind == "encoder" else models.tiny_decoder)(tmp_path / "base")
    folder = runs.folder(tmp_path / "run", mixed_spec(base, objective), test_multitask.rows_of(objective))
    assert work(folder) == 0
    _, theirs = test_script.alone(folder, base)
    events = runs.events(folder)
    ours = [event["loss"] for event in events if event["type"] == "progress" and event.get("loss") is not None]
    assert [theirs[0], theirs[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)
    plain = runs.folder(tmp_path / "plain", replace(mixed_spec(base, objective), mixture=Settings()))
    assert open_job(plain, lambda text: None).mixture is None
    job = open_job(folder, lambda text: None)
    assert job.mixture is not None
    read = Counter(row.source for row in of_pass(job.mixture, job.examples["train"]))
    assert read[0] == pytest.approx(3 * read[1], abs=2)
    after = events[-1]["metrics"]["after"]
    assert {f"{events[-1]['metrics']['main']}, task {name}" for name in ("letters.csv", "calls.csv")} <= after.keys()


def test_with_a_mixture_data_sets_count_alike_in_the_held_out_loss(tmp_path: Path) -> None:
    base = models.tiny_encoder(tmp_path / "base")
    rows = test_multitask.rows_of("classify")
    # Of the first set one row alone is held out to watch by, of the other all that are left.
    watched = [replace(row, split="validation", source=min(place, 1)) for place, row in enumerate(rows[:4])]
    kept = [*watched, *(row for row in rows[4:] if row.split != "validation")]
    spec = mixed_spec(base, "classify")
    single, whole = held_out_losses(runs.folder(tmp_path / "plain", replace(spec, mixture=Settings()), kept))
    assert whole == pytest.approx(sum(single) / len(single), rel=1e-5)
    again, balanced = held_out_losses(runs.folder(tmp_path / "mixed", spec, kept))
    assert again == pytest.approx(single)
    assert balanced == pytest.approx((single[0] + sum(single[1:]) / len(single[1:])) / 2, rel=1e-5)


def held_out_losses(folder: Path) -> tuple[list[float], float]:
    """Of an untouched model: the loss of each row to watch by, and what the loop makes of them."""
    from engine.compute.classifier import class_scores, predictions
    from engine.compute.model import apply_tuner, base_model
    from engine.compute.report import Reporter
    from engine.compute.train import build

    job = open_job(folder, lambda text: None)
    model = apply_tuner(job, base_model(job))
    watched = job.examples["validation"]
    _, losses = predictions(job, watched, class_scores(job, model, watched, lambda done, total: None))
    with Writer(folder / "events.jsonl") as writer:
        return losses, build(job, model, Reporter(folder, writer)).evaluate()["eval_loss"]


def test_the_plan_says_what_a_pass_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain.speed, "of", lambda *_, **__: None)
    base = models.tiny_encoder(tmp_path / "base")
    for name, count in (("letters", 60), ("calls", 20)):
        lines = "".join(f"{name} number {row},{'ab'[row % 2]}\n" for row in range(count))
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{lines}", encoding="utf-8")
    spec = RunSpec.parse(
        {
            "model": {"id": str(base)},
            "data": [{"source": str(tmp_path / f"{name}.csv")} for name in ("letters", "calls")],
            "objective": "classify",
            "mixture": {"by": "equal"},
            "training": {"epochs": 1},
        }
    )
    found = explain.explain(spec)
    assert [(part.title, part.rows, part.taken) for part in found.mix] == [
        ("letters.csv", 48, 32),
        ("calls.csv", 16, 32),
    ]
    assert all(part.tokens > part.taken for part in found.mix)
    assert any("Of letters.csv about 32 of 48 rows are read" in caution for caution in found.cautions)
    assert any(line.startswith("calls.csv: 32 of 16 rows a pass") for line in found.lines())
    single = explain.explain(replace(spec, data=spec.data[:1], mixture=Settings()))
    assert single.mix == []
