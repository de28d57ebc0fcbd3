"""What is advised after a run: the right thing first, with a reason from the run, and settings that can be used."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine import objectives
from engine.data.audit import Finding
from engine.judging.advice import Advice
from engine.methods.job import Job
from engine.planning import jobs
from engine.runs.outcome import outcome
from engine.specs import spec
from engine.texts.tokens import Encoded
from tests.fakes import outcomes
from tests.fakes.outcomes import RIGHT, STORIES, WRONG, Story


def advised(story: Story) -> list[Advice]:
    found = outcome(outcomes.told(story))
    assert found is not None
    return found.advice


def changed(advice: Advice, story: Story) -> spec.RunSpec:
    """The spec of the advised run, put together as from the address of its link."""
    whole = outcomes.told(story).spec().as_dict()
    return spec.RunSpec.parse(spec.changed(whole, {name: json.dumps(value) for name, value in advice.changes.items()}))


def finding(name: str, count: int) -> Finding:
    return Finding(name, "Rows with equal text but different labels (2 texts)", count, [3, 8], "Decide.")


def with_a_rare_label(**objective: Any) -> list[Advice]:
    """Of a classifier that missed all six held-out rows of a rare label, and none of the forty of another."""
    settings = {"objective": {"name": "classify", **objective}, "tuner": "full"}
    story = replace(STORIES["better"], settings=settings, findings=[finding("uneven labels", 2)])
    run = outcomes.told(story)

    def changed(record: dict[str, Any]) -> None:
        told = [("ham", "ham")] * 40 + [("spam", "ham")] * 6
        record["rows"] = [
            {"row": n, "prompt": f"Text {n}", "expected": label, "answer": answer, "score": float(label == answer)}
            for n, (label, answer) in enumerate(told, start=1)
        ]

    for name in ("before", "after"):
        outcomes.rewritten(run, f"scores/{name}.json", changed)
    found = outcome(run)
    assert found is not None
    return found.advice


def test_a_rare_label_that_is_missed_may_count_more() -> None:
    (advice,) = [one for one in with_a_rare_label() if one.changes == {"objective.class_weights": "balanced"}]
    assert "Of the 6 held-out rows with the label 'spam', which has few rows, 0 got it" in advice.reason


def test_weights_that_are_there_are_not_advised() -> None:
    advice = with_a_rare_label(class_weights="square root")
    assert not [one for one in advice if "objective.class_weights" in one.changes]


CUT = "31 of 320 rows to learn from are longer than 1024 tokens: cut at the end."
FURTHER = {
    "conflicts": replace(STORIES["better"], findings=[finding("conflicts", 4)]),
    "cut rows": replace(STORIES["better"], notices=[CUT]),
    "few rows": replace(STORIES["better"], rows=64),
    "no clipping": replace(STORIES["diverged"], settings={"training": {"clip_norm": 0, "learning_rate": 0.02}}),
    "step limit": replace(STORIES["overfitted"], settings={"training": {"max_steps": 100}}),
    "step limit, too few": replace(STORIES["underfitted"], settings={"training": {"max_steps": 100}}),
    "two data sets": replace(
        STORIES["unscored"],
        settings={"data": [{"source": "a.jsonl", "split": {"test_rows": 0, "test": 0}}, {"source": "b.jsonl"}]},
    ),
    "a great share held out": replace(STORIES["unscored"], settings=
        {"data": [{"source": "a.jsonl", "split": {"test": 0.05, "validation": 0.9}}]}),
    "full fine-tuning": replace(STORIES["underfitted"], settings={"tuner": "full"}),
    "the limits of all settings": replace(
        STORIES["underfitted"],
        notices=["31 of 320 rows to learn from are longer than 1000000 tokens: cut at the end."],
        settings={
            "tuner": {"name": "lora", "rank": 1024},
            "training": {"epochs": 1000, "learning_rate": 1, "max_tokens": 1_000_000},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("story", [*STORIES.values(), *FURTHER.values()], ids=[*STORIES, *FURTHER])
def test_advised_settings_can_be_used_as_they_are_and_differ_from_those_that_were(story: Story) -> None:
    found = advised(story)
    assert len(found) <= 3
    paths = [path for advice in found for path in advice.changes]
    assert len(paths) == len(set(paths))
    for advice in found:
        assert advice.title and advice.reason.endswith(".")
        if advice.changes:
            assert changed(advice, story).as_dict() != outcomes.told(story).spec().as_dict()


def first(story: Story) -> Advice:
    return advised(story)[0]


def test_a_run_that_overfitted_is_made_shorter_by_where_it_was_best() -> None:
    found = first(STORIES["overfitted"])
    assert found.changes == {"training.epochs": 5.0, "evaluation.early_stopping": 2}
    assert "5 in place of 10" in found.title and "step 50 (1.021)" in found.reason


def test_a_run_that_overfitted_under_a_step_limit_gets_a_lower_one() -> None:
    assert first(FURTHER["step limit"]).changes["training.max_steps"] == 50


def test_a_run_that_overfitted_few_rows_is_told_how_many_it_had() -> None:
    titles = [advice.title for advice in advised(replace(STORIES["overfitted"], rows=64))]
    assert "More rows to learn from: it had 64" in titles


def test_a_run_that_was_still_learning_gets_more_of_everything() -> None:
    changes: dict[str, Any] = {}
    for advice in advised(STORIES["underfitted"]):
        changes |= advice.changes
    assert changes == {"training.epochs": 20.0, "training.learning_rate": 0.001, "tuner.rank": 16}


def test_a_run_that_diverged_gets_a_third_of_its_own_learning_rate() -> None:
    for name in ("diverged", "failed"):
        assert first(STORIES[name]).changes == {"training.learning_rate": 0.00017}  # 0.0005, from its plan


def test_a_run_that_got_worse_gets_a_lower_learning_rate_with_its_scores_as_the_reason() -> None:
    found = first(STORIES["worse"])
    assert found.changes == {"training.learning_rate": 0.00017} and "from 75.0 % to 30.0 %" in found.reason


def test_clipping_that_was_off_is_switched_on_after_a_divergence() -> None:
    assert advised(FURTHER["no clipping"])[1].changes == {"training.clip_norm": 1.0}


def test_noise_asks_for_more_rows_to_score() -> None:
    found = first(STORIES["noise"])
    assert found.changes == {"data.0.split.test": 0.2} and "On 20 rows" in found.reason


def test_noise_on_a_part_of_the_held_out_rows_asks_to_score_them_all() -> None:
    run = outcomes.told(STORIES["noise"])
    for name in ("before", "after"):
        outcomes.rewritten(run, f"scores/{name}.json", lambda record: record.update(rows=record["rows"][:12]))
    found = outcome(run)
    assert found is not None and found.advice[0].changes == {"evaluation.max_rows": 20}
    assert found.advice[0].title == "Score all 20 held-out rows in place of 12"


def test_a_data_sets_own_division_is_not_doubled_by_a_setting() -> None:
    story = replace(STORIES["noise"], rows=20, validation=0)
    assert first(story).title == "More held-out rows to score" and not first(story).changes


def test_labels_that_contradict_each_other_are_named_with_their_rows() -> None:
    found = first(FURTHER["conflicts"])
    assert "4 rows" in found.title and "3, 8" in found.reason and not found.changes


def test_wrong_answers_that_the_model_is_sure_of_ask_for_a_look_at_their_labels() -> None:
    story = replace(STORIES["better"], losses_after=[0.1] * 37 + [2.4, 3.1, 0.5])
    found = first(story)
    assert found.title == "Look at the labels of 2 rows: 39, 38" and "2 of 40" in found.reason


def test_a_model_that_is_wrong_about_most_rows_blames_no_labels() -> None:
    story = replace(STORIES["better"], after=[RIGHT] * 10 + [WRONG] * 30, losses_after=[0.1] * 10 + [3.0] * 30)
    assert not any("labels" in advice.title for advice in advised(story))


def test_cut_rows_ask_for_longer_ones() -> None:
    found = first(FURTHER["cut rows"])
    assert found.changes == {"training.max_tokens": 2048} and "31 of 320 rows" in found.reason


def test_rows_that_the_model_itself_cuts_ask_for_nothing() -> None:
    """At less than the spec allows it is the model's context that ends."""
    assert not advised(replace(FURTHER["cut rows"], notices=[CUT.replace("1024", "512")]))


def test_the_notice_of_cut_rows_is_understood_as_the_worker_writes_it() -> None:
    rows = [Encoded([1, 2], [False, True], 40), Encoded([1, 2], [False, True], 2)]
    job = SimpleNamespace(
        encoded={"train": rows, "validation": [], "test": []},
        training=SimpleNamespace(max_tokens=1024),
        objective=objectives.get("chat"),
        pairs=False,
    )
    notice = jobs.truncation(cast(Job, job))[0]
    found = first(replace(STORIES["better"], notices=[notice]))
    assert found.changes == {"training.max_tokens": 2048} and "1 of 2 rows" in found.reason


def test_without_held_out_rows_some_are_asked_for() -> None:
    found = advised(STORIES["unscored"])
    assert [list(advice.changes) for advice in found] == [["data.0.split.test"], ["data.0.split.validation"]]


def test_data_that_came_divided_without_held_out_rows_is_not_blamed_on_a_setting() -> None:
    found = advised(replace(STORIES["unscored"], settings={}))
    assert [advice.changes for advice in found] == [{}, {}]


def test_an_exact_number_of_held_out_rows_gives_way_to_a_share() -> None:
    changes = first(FURTHER["two data sets"]).changes
    assert changes == {"data.0.split.test": 0.1, "data.0.split.test_rows": None}


def test_a_base_that_was_not_scored_is_to_be() -> None:
    assert first(replace(STORIES["better"], before=[])).changes == {"evaluation.before": True}


def test_a_run_without_a_fault_gets_no_advice() -> None:
    assert advised(STORIES["better"]) == []
