"""The verdict: that it says what the figures carry, and nothing else."""

from __future__ import annotations

import json
import math
import random
import re
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.events import Finished
from engine.judging import evidence, pairing, verdict
from engine.judging.scores import ScoredRow
from engine.judging.verdict import Verdict
from engine.runs import store
from engine.runs.outcome import outcome
from tests.fakes import outcomes
from tests.fakes.outcomes import RIGHT, STORIES, WRONG, Story

CLAIMS = re.compile(r"\b(rose|fell|gain|better than|improve)", re.IGNORECASE)


def judged(story: Story) -> tuple[Verdict, store.Run]:
    run = outcomes.told(story)
    found = outcome(run)
    assert found is not None
    return found.verdict, run


def again(run: store.Run) -> Verdict:
    found = outcome(run)
    assert found is not None
    return found.verdict


@pytest.mark.parametrize(
    ("name", "kinds", "headline"),
    [
        ("better", ["better"], "Exact match rose from 0.0 % to 92.5 %"),
        ("worse", ["worse"], "Exact match fell from 75.0 % to 30.0 %"),
        ("noise", ["noise"], "No measurable change: exact match was 60.0 % before and 65.0 % after"),
        ("overfitted", ["better", "overfitted"], "Exact match rose from 0.0 % to 75.0 %"),
        ("underfitted", ["better", "underfitted"], "Exact match rose from 0.0 % to 50.0 %"),
        ("diverged", ["diverged", "worse"], "It diverged: training loss rose from 1.470 to 6.870"),
        ("unscored", ["unscored"], "Training loss fell from 2.262 to 0.053; no rows were held out to score"),
        ("free text", ["better"], "Held-out loss fell from 2.310 to 1.150"),
        ("prompting does as well", ["better"], "Exact match rose from 0.0 % to 90.0 %"),
        ("stopped", ["stopped"], "Stopped at step 50 of 100"),
        ("failed", ["diverged", "failed"], "It diverged, and failed at step 4 of 100"),
    ],
)
def test_a_run_with_a_known_end_is_judged_so(name: str, kinds: list[str], headline: str) -> None:
    found, _ = judged(STORIES[name])
    assert (found.kinds, found.headline) == (kinds, headline)


def test_noise_is_never_told_as_a_gain() -> None:
    found, _ = judged(STORIES["noise"])
    assert not CLAIMS.search(found.headline)
    told = " ".join(found.sentences)
    assert "may be chance" in told and "no measurable change" in told
    assert not CLAIMS.search(told)


def test_without_held_out_rows_only_the_losses_speak() -> None:
    found, _ = judged(STORIES["unscored"])
    assert found.rows is None and found.difference is None
    assert "not known" in " ".join(found.sentences) and "%" not in " ".join([found.headline, *found.sentences])


def test_overfitting_names_the_best_step_and_what_came_after() -> None:
    found, _ = judged(STORIES["overfitted"])
    told = " ".join(found.sentences)
    assert (
        "lowest at step 50 (1.021) and rose to 1.513 by step 100" in told and "The result is that of step 50." in told
    )


def test_a_single_higher_check_within_the_jitter_is_no_overfitting() -> None:
    story = replace(STORIES["overfitted"], held=[(25, 1.4), (50, 1.1), (75, 1.02), (100, 1.05)])
    assert judged(story)[0].kinds == ["better"]


def test_a_loss_that_falls_by_ever_less_is_no_underfitting() -> None:
    assert "underfitted" not in judged(STORIES["better"])[0].kinds


def test_training_loss_that_falls_while_held_out_loss_rises_is_no_underfitting() -> None:
    story = replace(STORIES["underfitted"], held=[(25, 2.8), (50, 2.3), (75, 2.4), (100, 2.9)])
    assert judged(story)[0].kinds == ["better", "overfitted"]


def test_a_spike_that_the_run_recovered_from_is_no_divergence() -> None:
    losses = list(outcomes.FALLING)
    losses[40:44] = [9.0] * 4
    assert judged(replace(STORIES["better"], train=losses))[0].kinds == ["better"]


def test_prompting_that_does_as_well_as_training_is_told() -> None:
    told = " ".join(judged(STORIES["prompting does as well"])[0].sentences)
    assert "Prompting alone does as well as training" in told and "scores 87.5 %" in told


def test_prompting_that_does_less_is_told_with_what_training_adds() -> None:
    story = replace(STORIES["prompting does as well"], baseline=[RIGHT] * 10 + [WRONG] * 30)
    told = " ".join(judged(story)[0].sentences)
    assert "Prompting alone does less" in told and "scores 25.0 %; training gives +65.0 points" in told


def test_a_model_that_was_not_scored_before_is_not_said_to_have_learned() -> None:
    found, _ = judged(replace(STORIES["better"], before=[], losses_before=[]))
    assert found.kinds == ["uncompared"] and found.headline == "Exact match is 92.5 % after training"
    assert "not known" in " ".join(found.sentences)


def test_a_run_that_stopped_early_says_where() -> None:
    told = " ".join(judged(replace(STORIES["better"], total_steps=180))[0].sentences)
    assert "It ended early, at step 100 of 180." in told


def test_scores_on_the_rows_that_chose_the_best_step_are_told_as_such() -> None:
    _, run = judged(STORIES["overfitted"])
    rewrite_events(run, lambda event: event["type"] == "finished" and event["metrics"].update(split="validation"))
    assert "flatters the score" in " ".join(again(run).sentences)


# What changed


def test_rows_are_counted_by_what_became_of_them() -> None:
    rows = judged(STORIES["noise"])[0].rows
    assert rows is not None
    assert rows.counts == {"better": 3, "worse": 2, "still_wrong": 5, "right": 10}
    assert len(rows.better) == 3 and len(rows.worse) == 2 and len(rows.still_wrong) == 5
    assert all(row.after == row.expected and row.before != row.expected for row in rows.better)


def test_the_most_telling_rows_are_of_as_many_labels_as_there_are() -> None:
    rows = judged(STORIES["better"])[0].rows
    assert rows is not None and rows.counts["better"] == 37
    assert len(rows.better) == 5 and {row.expected for row in rows.better} == set(outcomes.LABELS)


def test_where_the_loss_tells_rows_are_judged_by_it() -> None:
    story = replace(STORIES["free text"], losses_after=[1.1] * 19 + [2.5])
    found, _ = judged(story)
    assert found.measure == "loss" and found.rows is not None
    assert (found.rows.counts["better"], found.rows.counts["worse"]) == (19, 1)
    assert [row.row for row in found.rows.worse] == [20]


def test_rows_with_equal_numbers_of_two_data_sets_are_kept_apart() -> None:
    one, other = ScoredRow(1, "first set", "a", "a", 1.0), ScoredRow(1, "second set", "b", "x", 0.0)
    pairs = evidence.paired([one, other], [replace(other, score=1.0), one])
    assert [(a.prompt, b.prompt) for a, b in pairs] == [("second set", "second set"), ("first set", "first set")]


def test_a_long_text_is_cut_and_says_how_long_it_is() -> None:
    story = replace(STORIES["better"], answers=["x" * 10_000] * 40)
    rows = judged(story)[0].rows
    assert rows is not None and rows.still_wrong[0].after.endswith("(10,000 characters)")


# Every sentence from the figures


@pytest.mark.parametrize("name", STORIES)
def test_every_number_that_is_told_is_found_in_the_runs_files(name: str) -> None:
    found, run = judged(STORIES[name])
    known = set(figures(run))
    for sentence in [found.headline, *found.sentences]:
        for number in re.findall(r"\d[\d,]*(?:\.\d+)?", sentence):
            assert number.replace(",", "") in known, f"{number} in: {sentence}"


def test_another_score_makes_another_sentence() -> None:
    found, run = judged(STORIES["better"])

    def one_more_right(record: dict[str, Any]) -> None:
        row = next(row for row in record["rows"] if row["score"] == 0)
        row |= {"score": 1.0, "answer": row["expected"]}

    outcomes.rewritten(run, "scores/after.json", one_more_right)
    assert "37 got better" in found.sentences[0] and "38 got better" in again(run).sentences[0]


def test_another_metric_makes_another_headline() -> None:
    found, run = judged(STORIES["better"])
    rewrite_events(run, lambda event: event["type"] == "finished" and event["metrics"]["after"].update(exact_match=0.5))
    assert "92.5 %" in found.headline and again(run).headline == "Exact match rose from 0.0 % to 50.0 %"


def test_a_metric_that_contradicts_its_rows_claims_nothing() -> None:
    _, run = judged(STORIES["better"])
    rewrite_events(
        run, lambda event: event["type"] == "finished" and event["metrics"]["before"].update(exact_match=1.0)
    )
    assert again(run).kinds[0] == "noise"


def test_another_check_makes_another_sentence() -> None:
    found, run = judged(STORIES["overfitted"])

    def higher(event: dict[str, Any]) -> None:
        if event["type"] == "evaluation" and event["step"] == 100:
            event["metrics"]["loss"] = 1.777

    rewrite_events(run, higher)
    assert "1.513" in " ".join(found.sentences)
    assert "1.777" in " ".join(again(run).sentences) and "1.513" not in " ".join(again(run).sentences)


def test_another_training_loss_makes_another_headline() -> None:
    found, run = judged(STORIES["unscored"])
    rewrite_events(run, lambda event: event["type"] == "progress" and event["step"] > 50 and event.update(loss=0.777))
    assert "to 0.053" in found.headline and "to 0.777" in again(run).headline


def test_steps_that_a_resumed_run_made_twice_count_once() -> None:
    _, run = judged(STORIES["overfitted"])
    path = run.folder / "events.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    first = next(i for i, event in enumerate(events) if event.get("step") == 40)
    last = next(i for i, event in enumerate(events) if event.get("step") == 90)
    path.write_text("\n".join([*lines[:last], *lines[first:]]) + "\n", encoding="utf-8")
    found = evidence.gather(run.folder, "finished")
    assert [point.step for point in found.train] == list(range(1, 101))
    assert [point.step for point in found.held] == [25, 50, 75, 100]


def test_a_run_on_its_way_is_not_judged() -> None:
    run = outcomes.told(STORIES["better"])
    assert outcome(replace(run, state="running")) is None


def test_a_folder_with_nothing_in_it_but_its_spec_is_judged_all_the_same() -> None:
    run = outcomes.told(Story(state="failed"))
    for path in run.folder.iterdir():
        if path.is_file() and path.name != "spec.yaml":
            path.unlink()
    found = outcome(run)
    assert found is not None and found.verdict.headline == "Failed before the first step of training"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"rows": [{"row": 1}]}', '{"rows": null}'])
def test_damaged_scores_are_as_good_as_none(damage: str) -> None:
    _, run = judged(STORIES["better"])
    (run.folder / "scores" / "before.json").write_text(damage, encoding="utf-8")
    assert again(run).kinds == ["uncompared"]


# Whatever the scores are


@pytest.mark.parametrize("seed", range(300))
def test_no_gain_is_claimed_while_the_paired_interval_holds_0(base: evidence.Evidence, seed: int) -> None:
    chance = random.Random(seed)
    count = chance.choice([1, 2, 5, 8, 20, 60, 200])
    fractions = chance.random() < 0.3
    bar_before, bar_after = chance.random(), chance.random()
    before, after = [], []
    for number in range(count):
        luck = chance.random()
        other = luck if chance.random() < 0.7 else chance.random()
        scores = (luck, other) if fractions else (float(luck < bar_before), float(other < bar_after))
        losses = (2.0 - scores[0], 2.0 - scores[1] + chance.gauss(0, 0.3)) if chance.random() < 0.9 else (None, None)
        before.append(ScoredRow(number, "asked", "yes", "no", scores[0], losses[0]))
        after.append(ScoredRow(number, "asked", "yes", "maybe", scores[1], losses[1]))
    found = verdict.judge(scored(base, before, after))
    change = found.difference
    assert change is not None and len({"better", "worse", "noise"} & set(found.kinds)) == 1
    if change.low <= 0 <= change.high:
        assert "noise" in found.kinds and not re.search(r"\b(rose|fell)\b", found.headline)
    if not fractions and found.measure == "exact_match" and "noise" not in found.kinds:
        up, down = change.up, change.down
        chance_alone = 2 * sum(math.comb(up + down, k) for k in range(max(up, down), up + down + 1)) / 2 ** (up + down)
        assert chance_alone < 0.05 and (up > down) == ("better" in found.kinds)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[evidence.Evidence]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_HOME", str(tmp_path_factory.mktemp("home")))
        yield evidence.gather(outcomes.told(STORIES["better"]).folder, "finished")


def scored(base: evidence.Evidence, before: list[ScoredRow], after: list[ScoredRow]) -> evidence.Evidence:
    metrics: dict[str, Any] = {"main": "exact_match", "rows": len(after), "split": "test", "baselines": {}}
    for name, rows in (("before", before), ("after", after)):
        losses = [row.loss for row in rows if row.loss is not None]
        metrics[name] = {"exact_match": statistics.fmean(row.score for row in rows)}
        metrics[name] |= {"loss": statistics.fmean(losses)} if losses else {}
    return replace(base, before=before, after=after, finished=Finished(metrics, 1, 2, 3.0, 4, 5))


def figures(run: store.Run) -> Iterator[str]:
    """Every figure that a run's files hold, or that follows from them by counting, averaging and comparing."""
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    yield "95"  # per cent: what all intervals are
    losses = [event["loss"] for event in events if event["type"] == "progress"]
    told = list(losses)
    for count in range(1, len(losses) // 2 + 1):
        yield str(count)
        told += [statistics.fmean(losses[:count]), statistics.fmean(losses[-count:])]
        told.append(statistics.fmean(losses[-2 * count : -count]))
    for event in events:
        yield from (str(event[name]) for name in ("step", "total_steps") if name in event)
        told.append(event.get("metrics", {}).get("loss", 0.0) if event["type"] == "evaluation" else 0.0)
    done = next((event for event in events if event["type"] == "finished"), {"metrics": {}})["metrics"]
    rows = scored_rows(run.folder / "scores")
    for scores in [done.get("before"), done.get("after"), *(done.get("baselines") or {}).values()]:
        told.append((scores or {}).get("loss", 0.0))
        yield from (f"{100 * value:.1f}" for value in (scores or {}).values())
    for name, found in rows.items():
        yield str(len(found))
        yield f"{100 * statistics.fmean(row['score'] for row in found):.1f}"
        for key in ("score", "loss"):
            both = [(a[key], b[key]) for a, b in zip(found, rows.get("after", []), strict=False)]
            if name == "after" or not both or None in both[0]:
                continue
            change = pairing.difference([a for a, _ in both], [b for _, b in both])
            yield from (str(sum(b > a for a, b in both)), str(sum(b < a for a, b in both)))
            yield from (f"{abs(100 * value):.1f}" for value in (change.mean, change.low, change.high))
            told += [abs(change.mean), abs(change.low), abs(change.high)]
    for value in told:
        yield f"{value:.2g}" if 0 < value < 0.01 else f"{value:.3f}"


def scored_rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8"))["rows"] for path in folder.glob("*.json")}


def rewrite_events(run: store.Run, change: Any) -> None:
    path = run.folder / "events.jsonl"
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for event in events:
        change(event)
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
