"""What is told of a teacher beside its student: shares of a gap that is there, and noise as no share of anything."""

from __future__ import annotations

import json
import random

import pytest

from engine.judging import gap, verdict
from engine.judging.evidence import gather
from engine.runs import store
from engine.runs.outcome import outcome
from tests.fakes import outcomes
from tests.fakes.outcomes import RIGHT, STORIES, WRONG, Story

HALF = Story([WRONG] * 40, [RIGHT] * 20 + [WRONG] * 20, [2.0] * 40, [1.0] * 40, train=outcomes.FALLING)


def taught(story: Story, scores: list[float], losses: list[float]) -> store.Run:
    """A run that ended so, with what its teacher scored on the same rows."""
    run = outcomes.told(story)
    kept = json.loads((run.folder / "scores" / "before.json").read_text(encoding="utf-8"))
    for row, score, loss in zip(kept["rows"], scores, losses, strict=True):
        row |= {"score": score, "loss": loss}
    (run.folder / "scores" / "before, teacher.json").write_text(json.dumps(kept), encoding="utf-8")
    return run


def sentences(run: store.Run) -> str:
    found = outcome(run)
    assert found is not None
    return " ".join(found.verdict.sentences)


def test_a_share_is_that_of_the_way_from_the_model_before_to_its_teacher() -> None:
    found = gap.closed([0.0] * 40, [1.0] * 40, [1.0] * 10 + [0.0] * 30, lower_is_better=False)
    assert found.share == pytest.approx(0.25) and 0 < found.low < 0.25 < found.high < 0.5
    losses = gap.closed([2.0, 2.2] * 20, [1.0, 1.2] * 20, [1.5, 1.7] * 20, lower_is_better=True)
    assert losses.share == pytest.approx(0.5) and losses.low == pytest.approx(0.5) == losses.high


def test_its_interval_holds_the_share_of_all_rows_as_often_as_it_says() -> None:
    draw, held = random.Random(1), 0
    for _ in range(100):
        before = [draw.gauss(2.0, 0.3) for _ in range(60)]
        teacher = [one - 1.0 + draw.gauss(0, 0.3) for one in before]
        after = [one - 0.4 + draw.gauss(0, 0.3) for one in before]
        found = gap.closed(before, teacher, after, lower_is_better=True)
        held += found.low <= 0.4 <= found.high
    assert 88 <= held <= 100


@pytest.mark.parametrize("teacher", [[0.0] * 40, [1.0, 0.0] * 20, [0.0] * 38 + [1.0] * 2])
def test_where_the_teacher_is_not_measurably_better_there_is_no_share(teacher: list[float]) -> None:
    found = gap.closed([0.0, 1.0] * 20 if teacher[0] else [0.0] * 40, teacher, [1.0] * 40, lower_is_better=False)
    assert found.share is None


def test_a_change_by_chance_closes_nothing() -> None:
    found = gap.closed([0.0] * 40, [1.0] * 40, [1.0] * 3 + [0.0] * 37, lower_is_better=False)
    assert found.share == pytest.approx(3 / 40) and found.low == 0.0


def test_the_verdict_tells_the_share_and_takes_no_teacher_for_a_prompt() -> None:
    told = sentences(taught(HALF, [RIGHT] * 40, [0.5] * 40))
    assert "the teacher 100.0 %, the model 0.0 % before and 50.0 % after: 50 % of the gap is closed (95 %" in told
    assert "the teacher 0.500, the model 2.000 before and 1.000 after: 67 % of the gap is closed" in told
    assert "Prompting alone" not in told


def test_the_verdict_tells_no_share_where_there_is_no_gap_or_only_noise() -> None:
    told = sentences(taught(HALF, [WRONG] * 40, [2.0] * 40))
    assert told.count("there is no gap to close") == 2 and "of the gap is closed" not in told
    noise = STORIES["noise"]
    told = sentences(taught(noise, [RIGHT] * 20, [0.1] * 20))
    assert "can't be told from nothing" in told and "% of the gap is closed" not in told


def test_a_model_that_is_better_than_its_teacher_is_told_so() -> None:
    told = sentences(taught(HALF, [WRONG] * 40, [1.6] * 40))
    assert "all of the gap is closed and more, 250 % of it (95 % interval 250 to 250)" in told


def test_a_model_that_got_worse_made_the_gap_grow() -> None:
    story = Story([RIGHT] * 20 + [WRONG] * 20, [WRONG] * 40, [1.0] * 40, [2.0] * 40, train=outcomes.FALLING)
    assert "the gap grew, by 100 %" in sentences(taught(story, [RIGHT] * 40, [0.5] * 40))


def test_size_and_speed_are_told_where_they_are_known() -> None:
    run = taught(HALF, [RIGHT] * 40, [0.5] * 40)
    found = gather(run.folder, "finished")
    assert found.finished is not None
    found.finished.metrics["models"] = {
        "teacher": {"parameters": 2000, "tokens_per_second": 100.4},
        "before": {"parameters": 1000, "tokens_per_second": 2100.0},
        "after": {"parameters": 1000, "tokens_per_second": 1900.0},
    }
    told = " ".join(verdict.judge(found).sentences)
    assert "The teacher has 2,000 weights and the model 1,000; the teacher read 100 tokens of held-out rows a" in told
    assert "the model 2,100 before and 1,900 after." in told


def test_what_the_model_wrote_itself_is_told() -> None:
    run = taught(HALF, [RIGHT] * 40, [0.5] * 40)
    found = gather(run.folder, "finished")
    assert found.finished is not None and "wrote" not in " ".join(verdict.judge(found).sentences)
    found.finished.metrics["own_answers"] = 0.5
    assert "Of the answers that it learned, it wrote 50 % itself" in verdict.judge(found).sentences[-1]
