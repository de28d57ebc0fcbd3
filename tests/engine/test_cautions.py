"""What a person is told to beware of before a run starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest

from engine.bases.catalog import SMOLLM2
from engine.bases.models import embedded_facts
from engine.data.example import Example
from engine.machine import Machine
from engine.planning import cautions, planner
from engine.planning.plan import TimePart
from engine.specs.spec import RunSpec
from engine.texts.preview import Lengths

HERE = Machine(
    device="cpu", cores=2, memory_total=16 * 10**9, memory_available=14 * 10**9, disk_free=10**11, cpu_bfloat16=True
)
SPEC = RunSpec.parse({"model": {"id": "embedded:smollm2-135m"}, "data": [{"source": "x.csv"}]})
PLAN = planner.make(SPEC, embedded_facts(SMOLLM2), [64] * 200, HERE)


def labelled(split: Literal["train", "validation", "test"], **counts: int) -> list[Example]:
    names = [name for name, count in counts.items() for _ in range(count)]
    return [Example(row=number, split=split, text="t", label=name) for number, name in enumerate(names)]


def lengths(truncated: int = 0, unlearned: int = 0) -> Lengths:
    return Lengths([64], [4], truncated=truncated, unlearned=unlearned, longest=64, total=64)


def found(examples: list[Example], **changes: Any) -> list[str]:
    given = {"lengths": lengths(), "plan": PLAN, "here": HERE, "trained": 5_000_000, **changes}
    return cautions.found(SPEC, examples, **given)


ENOUGH = [*labelled("train", a=100, b=100), *labelled("test", a=60, b=60)]


def test_data_that_is_enough_and_clean_gets_no_caution() -> None:
    assert found(ENOUGH) == []


def test_labels_with_few_rows_are_counted_and_named() -> None:
    told = found([*ENOUGH, *labelled("train", rare=2, odd=1)])
    assert told == ["2 labels of 4 have fewer than 5 rows to learn from: odd, rare."]


def test_labels_that_are_held_out_only_are_named() -> None:
    assert found([*ENOUGH, *labelled("test", new=3)]) == [
        "1 label stands in held-out rows only and can't be learned: new."
    ]


def test_few_held_out_rows_say_what_gain_they_could_show() -> None:
    told = found([*labelled("train", a=100, b=100), *labelled("test", a=6, b=6)])
    assert told == ["12 rows are held out to score it: only a gain of about 41 points or more can be told from chance."]


@pytest.mark.parametrize(("rows", "points"), [(12, 41), (50, 20), (100, 14), (1000, 5)])
def test_more_held_out_rows_show_a_smaller_gain(rows: int, points: int) -> None:
    assert cautions.visible_gain(rows) == points


def test_no_held_out_rows_are_told() -> None:
    assert found(labelled("train", a=100, b=100)) == ["No rows are held out, so nothing will say whether it learned."]


def test_few_rows_to_learn_from_are_told() -> None:
    told = found([*labelled("train", a=10, b=10), *labelled("test", a=60, b=60)])
    assert told == ["20 rows are little to learn from: the model may learn them by heart and no more."]


def test_cut_rows_and_lost_answers_are_told_first() -> None:
    told = found(ENOUGH, lengths=lengths(truncated=3, unlearned=1))
    assert told == [
        "3 rows are longer than 1,024 tokens and cut at the end.",
        "In 1 row nothing is left to learn after the cut.",
    ]


def test_a_short_disk_is_told() -> None:
    (told,) = found(ENOUGH, here=replace(HERE, disk_free=10**9), trained=135_000_000)
    assert told.startswith("The disk is short")


def test_a_run_of_hours_says_what_shortens_it() -> None:
    (told,) = found(ENOUGH, plan=replace(PLAN, seconds=[TimePart("train", 36000.0, 36000.0)]))
    assert told.startswith("This takes about 10 hours here.") and "GPU" in told


def test_tight_memory_is_told() -> None:
    assert found(ENOUGH, plan=replace(PLAN, reasons=["Memory is tight: so and so."])) == ["Memory is tight: so and so."]


def test_free_answers_are_no_labels() -> None:
    answers = [Example(row=n, split="train", text="t", label=f"answer {n}") for n in range(200)]
    assert found([*answers, *labelled("test", other=120)]) == []
