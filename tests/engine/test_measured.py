"""What the benchmark of methods found, as it is quoted and minded."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from engine import tuners
from engine.bases import catalog, models
from engine.machine import Machine
from engine.methods import measured, recommend
from engine.offers import Choice
from ui import method_cards

GB = 10**9
LAPTOP = Machine(
    device="cpu", cores=4, memory_total=16 * GB, memory_available=14 * GB, disk_free=100 * GB, cpu_bfloat16=True
)
ENCODER = models.embedded_facts(catalog.MINILM)
MINILM, _, TWO_SETS = measured.TASKS


def row(tuner: str, score: float, seed: int = 1, **further: Any) -> dict[str, Any]:
    figures = {"low": score - 0.04, "high": score + 0.04, "trainable": 100, "total": 1000, "seconds": 40.0 + seed}
    size = {"peak_memory_bytes": 13 * 10**8, "artifact_bytes": 2_000_000}
    return {"task": "minilm", "tuner": tuner, "seed": seed, "score": score, **figures, **size, **further}


@pytest.fixture
def keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`keep(row, …)` is what was measured."""
    file = tmp_path / "methods.jsonl"
    monkeypatch.setattr(measured, "FILE", file)

    def keep(*rows: dict[str, Any]) -> None:
        file.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")

    return keep


def test_figures_are_means_over_the_seeds_with_the_widest_interval_and_the_fewest_seconds(keep: Any) -> None:
    keep(row("lora", 0.8), row("lora", 0.84, seed=2, low=0.7, high=0.9), row("lora", 0.82, seed=3))
    found = measured.figures("classify", "lora")
    assert found is not None and found.seeds == 3
    assert (round(found.score, 4), found.low, found.high, found.seconds) == (0.82, 0.7, 0.9, 41.0)


def test_the_newer_of_two_runs_holds_but_for_costs_that_cannot_stand_beside_others(keep: Any) -> None:
    keep(row("lora", 0.8), row("lora", 0.9, seconds=20.0, core_share=0.5))
    found = measured.figures("classify", "lora")
    assert found is not None and (found.seeds, found.score, found.seconds) == (1, 0.9, 10.0)
    keep(row("lora", 0.8), row("lora", 0.9, seconds=90.0, machine={"bfloat16": False}))
    found = measured.figures("classify", "lora")
    assert found is not None and (found.score, found.seconds) == (0.9, 41.0)
    lost = {"task": "minilm", "tuner": "lora", "seed": 1, "failed": "It broke."}
    keep(lost, row("lora", 0.9, seconds=90.0, machine={"bfloat16": False}))
    found = measured.figures("classify", "lora")
    assert found is not None and (found.score, found.seconds) == (0.9, 90.0)


def test_what_only_several_data_sets_teach_is_held_against_the_head_on_the_same_rows(keep: Any) -> None:
    both = {"task": TWO_SETS.name}
    keep(row("head", 0.7), row("lora", 0.8), row("head", 0.9) | both, row("lora", 0.85) | both)
    assert measured.figures("classify", "multitask-prompt") is None
    refused = {"task": "minilm", "tuner": "multitask-prompt", "seed": 1, "refused": "It needs several data sets."}
    keep(refused, row("head", 0.7), row("lora", 0.8), row("head", 0.9) | both, row("multitask-prompt", 0.8) | both)
    found, lora = (measured.figures("classify", name) for name in ("multitask-prompt", "lora"))
    assert found is not None and (found.task, found.score) == (TWO_SETS, 0.8)
    assert lora is not None and lora.task == MINILM
    assert measured.shortfall("classify", "lora") == ""
    assert "(80 % and 90 % right)" in measured.shortfall("classify", "multitask-prompt")


def test_a_card_quotes_the_task_of_its_objective_in_one_line(keep: Any) -> None:
    keep(row("lora", 0.834, seconds=49.2))
    line = "Measured. On 77 intents with MiniLM: 83 % in 49 s, 1.3 GB."
    assert line in method_cards.tuners_shown(Choice("classify", "lora"), "", ENCODER)
    assert "Measured." not in method_cards.tuners_shown(Choice("chat", "lora"), "", ENCODER)


def test_a_card_without_measurements_lacks_the_line(keep: Any) -> None:
    assert not measured.FILE.exists()
    assert "Measured." not in method_cards.tuners_shown(Choice("classify", "lora"), "", ENCODER)
    assert measured.shortfall("classify", "lora") == ""


def test_new_rows_are_seen_at_once(keep: Any) -> None:
    keep(row("lora", 0.8))
    assert measured.figures("classify", "ia3") is None
    keep(row("lora", 0.8), row("ia3", 0.7))
    assert measured.figures("classify", "ia3") is not None


def test_the_best_stand_first_and_those_without_a_score_last(keep: Any) -> None:
    lost = {"task": "minilm", "tuner": "boft", "seed": 1, "failed": "It broke."}
    keep(lost, row("ia3", 0.5), row("lora", 0.8))
    assert [one.tuner for one in measured.of(MINILM)] == ["lora", "ia3", "boft"]
    assert "it gave no result: It broke." in measured.shortfall("classify", "boft")


def test_a_tuner_that_does_not_go_with_the_measured_model_has_nothing_said_against_it(keep: Any) -> None:
    keep(row("head", 0.8), {"task": "minilm", "tuner": "biases", "seed": 1, "refused": "It has no biases."})
    assert measured.shortfall("classify", "biases") == ""
    assert [getattr(one, "reason", "") for one in measured.of(MINILM)] == ["", "It has no biases."]


@pytest.mark.parametrize(
    ("score", "low", "told"),
    [(0.79, 0.75, "did not beat a classifier on fixed features (79 % and 80 % right)"), (0.02, 0.01, "guessing")],
)
def test_what_is_no_better_than_the_frozen_model_says_so_and_is_not_recommended(
    keep: Any, score: float, low: float, told: str
) -> None:
    keep(row("head", 0.8), row("lora", score, low=low), row("full", 0.85), row("adapter", 0.7))
    assert told in measured.shortfall("classify", "lora")
    assert told in method_cards.tuners_shown(Choice("classify", "lora"), "", ENCODER)
    assert measured.shortfall("classify", "head") == measured.shortfall("classify", "full") == ""
    found = recommend.recommended(ENCODER, 100, True, LAPTOP)
    assert found.tuner == "full" and "85 %" in found.reason


def test_a_whole_model_that_measured_badly_is_not_recommended_with_many_rows_either(keep: Any) -> None:
    keep(row("head", 0.8), row("full", 0.6), row("lora", 0.82))
    assert recommend.recommended(ENCODER, 5000, True, LAPTOP).tuner == "lora"


def test_no_usual_tuner_hides_what_was_measured_against_it() -> None:
    """Over the rows that are kept beside the code."""
    for task in measured.TASKS:
        shown = unescape(method_cards.tuners_shown(Choice(task.objective, "lora"), "", None))
        reasons = {tuner.name: measured.shortfall(task.objective, tuner.name) for tuner in tuners.all()}
        assert [name for name, reason in reasons.items() if reason and reason not in shown] == []


@pytest.mark.parametrize("entry", catalog.EMBEDDED.values(), ids=lambda entry: entry.id)
@pytest.mark.parametrize("rows", [0, 100, 5000])
def test_what_is_recommended_was_not_measured_to_fall_short(entry: catalog.Embedded, rows: int) -> None:
    """Over the rows that are kept beside the code."""
    found = recommend.recommended(models.embedded_facts(entry), rows, True, LAPTOP)
    assert measured.shortfall(found.objective, found.tuner) == ""


def test_a_tuner_is_held_against_the_frozen_head_row_by_row(keep: Any) -> None:
    lora = [row("lora", 0.75, rows=4, right="e"), row("lora", 0.5, seed=2, rows=4, right="c")]
    keep(row("head", 0.5, rows=4, right="6"), *lora, row("ia3", 0.5))
    found = {one.tuner: one for one in measured.of(MINILM) if isinstance(one, measured.Figures)}
    assert found["lora"].right == (1, 1, 0.5, 0)
    gain = found["lora"].over(found["head"])
    assert gain is not None
    assert [round(value, 3) for value in gain] == [0.125, -0.492, 0.742]  # of 1, 0, -0.5, 0
    assert found["ia3"].over(found["head"]) is None
