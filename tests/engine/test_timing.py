"""How long a run will take: from the machine's speed, and from what earlier runs took."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import home, machine
from engine.bases import catalog
from engine.bases.models import ModelFacts, embedded_facts
from engine.events import Finished, Progress, Writer
from engine.files import write_json
from engine.machine import Machine
from engine.planning import experience, explain, planner, speed, timing
from engine.planning.plan import Plan
from engine.planning.speed import Course, Speed
from engine.specs.spec import RunSpec

SMOLLM2, MINILM = embedded_facts(catalog.SMOLLM2), embedded_facts(catalog.MINILM)
HERE = Machine(
    device="cpu", cores=2, memory_total=16 * 10**9, memory_available=14 * 10**9, disk_free=10**11, cpu_bfloat16=True
)
COURSE = Course(layer_s=1e-3, number_s=1e-9, once_s=1e-3)
SPEED = Speed(
    products=5e11,
    few_rows=2e11,
    memory=2e10,
    additions=COURSE,
    fast=replace(COURSE, layer_s=5e-4),
    base=replace(COURSE, layer_s=2e-3),
    read=replace(COURSE, layer_s=3e-4),
    word_s=1e-3,
    word_layer_s=1e-3,
    start_s=5.0,
)


def spec(objective: str = "chat", tuner: str = "lora", **parts: Any) -> RunSpec:
    given = {"model": {"id": "embedded:smollm2-135m"}, "data": [{"source": "x.csv"}], **parts}
    return RunSpec.parse({**given, "objective": {"name": objective}, "tuner": {"name": tuner}})


def rows(
    count: int = 400, tokens: int = 64, scored: int = 100, validation: int = 40, baselines: int = 0
) -> timing.Rows:
    def counts(number: int) -> timing.Counts:
        return timing.Counts([tokens] * number, [4] * number)

    return timing.Rows(counts(count), counts(validation), counts(scored), baselines)


def seconds(wanted: RunSpec, given: timing.Rows, facts: ModelFacts = SMOLLM2) -> dict[str, float]:
    plan = planner.make(wanted, facts, given.train.lengths, HERE, given.train.learned)
    return timing.predict(wanted, facts, plan, given, SPEED)


def test_twice_the_passes_train_twice_as_long() -> None:
    once = seconds(spec(training={"epochs": 2}), rows(validation=0))["train"]
    assert seconds(spec(training={"epochs": 4}), rows(validation=0))["train"] == pytest.approx(2 * once, rel=0.01)


def test_longer_rows_train_longer() -> None:
    assert seconds(spec(), rows(tokens=256))["train"] > 2 * seconds(spec(), rows(tokens=64))["train"]


def test_a_whole_base_trains_longer_than_additions() -> None:
    assert seconds(spec(tuner="full"), rows())["train"] > seconds(spec(), rows())["train"]


def test_more_scored_rows_score_longer_and_train_no_longer() -> None:
    few, many = seconds(spec(), rows(scored=32)), seconds(spec(), rows(scored=320))
    assert many["score before"] > 5 * few["score before"]
    assert many["train"] == few["train"]


def test_a_second_baseline_takes_as_long_as_the_first() -> None:
    found = seconds(spec(), rows(baselines=1))
    assert found["score baseline"] == found["score before"]


def test_a_run_that_is_not_scored_before_loads_the_model_once() -> None:
    with_score, without = seconds(spec(), rows()), seconds(spec(evaluation={"before": False}), rows())
    assert "score before" not in without
    assert without["load"] < with_score["load"]


def test_a_classifier_scores_without_writing() -> None:
    chat, classes = seconds(spec(), rows()), seconds(spec("classify"), rows())
    assert classes["score after"] < chat["score after"] / 1.5


def test_batches_are_padded_to_their_longest_row() -> None:
    counts = timing.Counts([10, 20, 30, 40], [1, 1, 1, 1])
    assert sorted(timing.batched(counts, 2, 2, packing=False)) == [(40, 20, 2), (80, 40, 2)]
    assert sum(tokens for tokens, _, _ in timing.batched(counts, 2, 2, packing=True)) == 100


def test_a_machine_whose_speed_is_not_known_makes_no_promise() -> None:
    wanted = spec()
    plan = planner.make(wanted, SMOLLM2, [64] * 9, HERE)
    assert timing.timed(plan, wanted, SMOLLM2, rows(), HERE, None).estimate_seconds is None


def planned(wanted: RunSpec) -> Plan:
    given = rows()
    plan = planner.make(wanted, SMOLLM2, given.train.lengths, HERE, given.train.learned)
    return timing.timed(plan, wanted, SMOLLM2, given, HERE, SPEED)


def earlier(plan: Plan, name: str, slower: float) -> Path:
    """A finished run of this plan whose training and scores took so many times as long as the calibration said."""
    folder = home.runs() / name
    folder.mkdir(parents=True)
    write_json(folder / "plan.json", plan.as_dict())
    took = {part.name: slower * part.calibrated for part in plan.seconds}
    now = 1000.0
    with Writer(folder / "events.jsonl") as writer:

        def tell(phase: str, step: int) -> None:
            writer.write(Progress(step, 10, phase=phase, time=now))

        tell("prepare", 0)
        tell("load", 0)
        now += took["load"]
        tell("load", 0)
        for phase in ("score before", "train", "score after"):
            now += took[phase] / 2
            tell(phase, 5)
            now += took[phase] / 2
            tell(phase, 10)
        writer.write(Finished({}, 1, 2, 1.0, 1, 1, time=now))
    write_json(folder / "exit.json", {"code": 0})
    return folder


def test_without_earlier_runs_a_prediction_says_that_it_may_be_half_as_long_again() -> None:
    assert planned(spec()).seconds_within == experience.WITHIN_CALIBRATED


def test_an_earlier_run_of_the_same_kind_corrects_each_part() -> None:
    before = planned(spec())
    earlier(before, "20260101-000000-aaaaaaaa", slower=2.0)
    after = planned(spec())
    assert after.seconds_within == experience.WITHIN_LIKE
    assert after.estimate_seconds == pytest.approx(2 * (before.estimate_seconds or 0), rel=0.02)


def test_runs_of_another_kind_correct_less_surely() -> None:
    earlier(planned(spec(tuner="full")), "20260101-000000-aaaaaaaa", slower=2.0)
    after = planned(spec())
    assert after.seconds_within == experience.WITHIN_OTHERS
    assert [part.seconds for part in after.seconds] == pytest.approx(
        [2 * p.calibrated for p in after.seconds], rel=0.02
    )


def test_runs_of_another_machine_say_nothing() -> None:
    plan = planned(spec())
    earlier(replace(plan, alike=["another machine", plan.alike[1]]), "20260101-000000-aaaaaaaa", slower=3.0)
    assert planned(spec()).seconds_within == experience.WITHIN_CALIBRATED


def test_a_run_that_was_interrupted_is_no_measure() -> None:
    folder = earlier(planned(spec()), "20260101-000000-aaaaaaaa", slower=2.0)
    events = (folder / "events.jsonl").read_text(encoding="utf-8")
    (folder / "events.jsonl").write_text(events.replace("\n", f"\n{events.splitlines()[0]}\n", 1), encoding="utf-8")
    assert experience.measured(folder) == {}


def test_the_time_after_a_scores_last_row_belongs_to_it(tmp_path: Path) -> None:
    with Writer(tmp_path / "events.jsonl") as writer:
        for phase, step, time in (
            ("prepare", 0, 0),
            ("load", 0, 1),
            ("score before", 9, 5),
            ("load", 0, 8),
            ("train", 9, 20),
        ):
            writer.write(Progress(step, 9, phase=phase, time=float(time)))
        writer.write(Finished({}, 1, 2, 1.0, 1, 1, time=25.0))
    assert experience.measured(tmp_path) == {"load": 1.0, "score before": 7.0, "train": 17.0}


def test_the_page_is_told_the_planned_seconds_of_a_part() -> None:
    plan = planned(spec())
    folder = earlier(plan, "20260101-000000-aaaaaaaa", slower=1.0)
    train = next(part.seconds for part in plan.seconds if part.name == "train")
    assert experience.planned(folder, "train") == round(train)
    assert experience.planned(folder / "nowhere", "train") is None


def test_the_plan_is_written_down_with_its_seconds() -> None:
    record = json.loads(json.dumps(planned(spec()).as_dict()))
    assert record["estimate_seconds"] == pytest.approx(sum(part["seconds"] for part in record["seconds"]))


def test_a_speed_is_kept_for_its_machine_and_format(empty_cache: Path) -> None:
    speed.keep(HERE, "float32", 2, SPEED)
    assert speed.of(HERE, "float32", 2, measure=False) == SPEED
    assert speed.of(HERE, "bfloat16", 2, measure=False) is None
    assert speed.of(replace(HERE, cores=64), "float32", 2, measure=False) is None


def test_a_damaged_measurement_is_none(empty_cache: Path) -> None:
    speed.keep(HERE, "float32", 2, SPEED)
    (file,) = (empty_cache / "speed").glob("*.json")
    file.write_text('{"speed": {"products": 1}, "busy": false, "time": 0}', encoding="utf-8")
    assert speed.of(HERE, "float32", 2, measure=False) is None


@pytest.mark.slow
def test_this_machines_speed_is_measured_once(empty_cache: Path) -> None:
    here = machine.inspect()
    found = speed.of(here, "float32", 1)
    assert found is not None and found.products > 1e8 and found.start_s > 0
    (file,) = (empty_cache / "speed").glob("*.json")
    written = file.stat().st_mtime_ns
    assert speed.of(here, "float32", 1) == found
    assert file.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("length", "told"),
    [
        (3, "5 seconds"),
        (42, "40 seconds"),
        (60, "1 minute"),
        (250, "4 minutes"),
        (9000, "2.5 hours"),
        (90000, "25 hours"),
    ],
)
def test_lengths_of_time_are_told_as_people_tell_them(length: float, told: str) -> None:
    assert explain.span(length) == told


def test_a_prediction_that_is_not_sure_is_told_as_a_range() -> None:
    plan = planned(spec())
    part = replace(plan.seconds[0], seconds=240.0)
    assert explain.about(replace(plan, seconds=[part], seconds_within=1.5)) == "about 3 to 6 minutes"
    assert explain.about(replace(plan, seconds=[part], seconds_within=1.2)) == "about 4 minutes"
    part = replace(part, seconds=60.0)
    assert explain.about(replace(plan, seconds=[part], seconds_within=1.5)) == "about 40 seconds to 2 minutes"
