"""Two runs side by side: sentences follow from the rows, and no gain is claimed for noise."""

from __future__ import annotations

import json
from typing import Any

from engine.runs import store
from engine.runs.comparison import compare
from tests.fakes import outcomes
from tests.fakes.outcomes import RIGHT, STORIES, WRONG, Story


def told(after: list[float], **more: Any) -> store.Run:
    return outcomes.told(Story(before=[WRONG] * len(after), after=after, train=outcomes.FALLING, **more))


def test_a_clear_difference_names_the_better_one_with_its_interval() -> None:
    found = compare(told([RIGHT] * 20 + [WRONG] * 20), told([RIGHT] * 37 + [WRONG] * 3))
    assert found.sentence.startswith(
        "On the 40 held-out rows that both answered, B does better: exact match is 50.0 % for A and 92.5 % for B, "
        "which is 42.5 percentage points more than A (95 % interval "
    )
    assert found.difference and found.difference.certain
    assert found.counts == {"A": 0, "B": 17, "other": 0, "alike": 23}


def test_the_better_one_may_be_the_first() -> None:
    found = compare(told([RIGHT] * 37 + [WRONG] * 3), told([RIGHT] * 20 + [WRONG] * 20))
    assert "A does better" in found.sentence and "which is 42.5 percentage points more than B" in found.sentence


def test_noise_is_told_as_such_and_names_no_winner() -> None:
    found = compare(told([RIGHT] * 12 + [WRONG] * 8), told([RIGHT] * 10 + [WRONG] * 2 + [RIGHT] * 3 + [WRONG] * 5))
    assert "no difference between A and B can be told from chance" in found.sentence
    assert "does better" not in found.sentence


def test_equal_answers_are_equal() -> None:
    rows = [RIGHT] * 12 + [WRONG] * 8
    found = compare(told(rows), told(rows))
    assert "A and B do equally well: exact match is 60.0 % for A and 60.0 % for B" in found.sentence
    assert found.rows == [] and found.counts["alike"] == 20


def test_a_changed_score_changes_the_sentence() -> None:
    a, b = told([RIGHT] * 20 + [WRONG] * 20), told([RIGHT] * 37 + [WRONG] * 3)
    before = compare(a, b).sentence

    def worse(record: dict[str, Any]) -> None:
        for row in record["rows"][20:]:
            row["score"], row["answer"] = 0.0, "nothing"

    outcomes.rewritten(b, "scores/after.json", worse)
    after = compare(a, b).sentence
    assert before != after and "do equally well" in after


def test_free_text_is_compared_by_its_loss() -> None:
    losses = [1.4, 1.6] * 10
    a = told([WRONG] * 20, losses_before=[2.3] * 20, losses_after=losses)
    lower = [value - 0.5 for value in losses]
    b = told([WRONG] * 20, losses_before=[2.3] * 20, losses_after=lower, answers=["said otherwise"] * 20)
    found = compare(a, b)
    assert "B does better: held-out loss is 1.500 for A and 1.000 for B, which is 0.500" in found.sentence
    assert found.counts["B"] == 20


def test_settings_that_differ_are_named_as_the_page_names_them() -> None:
    a = told([RIGHT] * 20, settings={"tuner": {"name": "lora", "rank": 4}, "training": {"epochs": 3}})
    b = told([RIGHT] * 20, settings={"tuner": {"name": "full"}, "output": {"webhook": "https://example.com/secret"}})
    found = {setting.place: setting for setting in compare(a, b).settings}
    assert (found["training.epochs"].title, found["training.epochs"].a, found["training.epochs"].b) == ("Passes", 3, 10)
    assert (found["tuner.name"].a, found["tuner.name"].b) == ("lora", "full")
    assert (found["tuner.rank"].title, found["tuner.rank"].a, found["tuner.rank"].b) == ("Rank", 4, None)
    assert "output.webhook" not in found and "name" not in found


def test_the_same_data_is_known_by_its_content() -> None:
    assert compare(told([RIGHT] * 20), told([WRONG] * 20)).data == (
        "Both learned from the same rows, split in the same way."
    )


def test_other_rows_to_learn_from_leave_the_held_out_ones_comparable() -> None:
    """Rows are numbered through, so the held-out ones of these two have other numbers in their data, not in the score."""
    found = compare(told([RIGHT] * 20, rows=320), told([WRONG] * 20, rows=160))
    assert found.data == "The data differs: A learned from 320 rows, B from 160 rows. The held-out rows are the same."
    assert found.difference is not None


def renamed(run: store.Run, first: int) -> None:
    """Held-out rows from `first` on become others."""

    def other(record: dict[str, Any]) -> None:
        for row in record["rows"][first:]:
            row["prompt"] = "Another question"

    outcomes.rewritten(run, "scores/after.json", other)


def test_only_rows_that_both_answered_are_compared() -> None:
    a, b = told([RIGHT] * 20, rows=320), told([WRONG] * 20, rows=160)
    renamed(b, 15)
    found = compare(a, b)
    assert "Only the 15 of 20 held-out rows that both answered are compared." in found.data
    assert found.sentence.startswith("On the 15 held-out rows that both answered, A does better")


def test_runs_without_common_rows_are_not_compared() -> None:
    a, b = told([RIGHT] * 20, rows=320), told([WRONG] * 20, rows=160)
    renamed(b, 0)
    found = compare(a, b)
    assert found.sentence == (
        "Which is better is not known: A and B were scored on different rows, and have none in common."
    )
    assert found.difference is None and "may come from the rows alone" in found.data


def test_a_run_that_has_no_score_says_why_nothing_is_compared() -> None:
    better, stopped, unscored = (outcomes.told(STORIES[name]) for name in ("better", "stopped", "unscored"))
    assert "B has no score after training, since it has not finished" in compare(better, stopped).sentence
    told = compare(unscored, better).sentence
    assert "A has no score after training, since no rows were held out to score it" in told


def test_different_measures_are_not_compared() -> None:
    a, b = told([RIGHT] * 20), told([RIGHT] * 20)
    lines = (b.folder / "events.jsonl").read_text(encoding="utf-8").replace('"main":"exact_match"', '"main":"accuracy"')
    (b.folder / "events.jsonl").write_text(lines, encoding="utf-8")
    assert compare(a, b).sentence == "Which is better is not known: A is scored by exact match and B by accuracy."


def test_all_of_it_can_be_sent_to_a_page() -> None:
    a = outcomes.told(STORIES["overfitted"])
    found = json.loads(json.dumps(compare(a, outcomes.told(STORIES["better"])).as_dict()))
    assert found["runs"][0]["held"][0] == [25, 1.402] and len(found["runs"][0]["train"]) == 100
    assert found["runs"][0]["summary"]["id"] == a.id
    assert {"row", "prompt", "expected", "a", "b", "better"} == found["rows"][0].keys()
