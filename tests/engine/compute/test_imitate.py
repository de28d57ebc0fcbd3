"""A teacher of this machine writes what is learned: what it writes, with which tokenizer, and that it writes it once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.compute import language, writing
from engine.compute.result import load_scores
from engine.errors import SettingError
from engine.judging import gap
from engine.planning.jobs import open_job
from engine.planning.planner import make
from engine.runs.worker import main as work
from engine.specs.spec import RunSpec
from engine.teachers import teacher
from engine.teachers.teacher_answers import Answers
from engine.texts.tokens import Tokens
from tests.engine.compute.test_script import alone
from tests.fakes import models, runs


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("base")
    return {
        "student": models.tiny_decoder(place / "student"),
        "teacher": models.tiny_biased_decoder(place / "teacher"),
        "foreign": models.tiny_foreign_decoder(place / "foreign"),
    }


def spec(base: dict[str, Path], who: str = "foreign", **settings: Any) -> RunSpec:
    objective = {"name": "imitate", "teacher": str(base[who]), "answer_tokens": 6, **settings}
    return runs.spec(base["student"], objective, "lora")


def test_the_teacher_answers_with_its_own_tokenizer_token_by_token(base: dict[str, Path], tmp_path: Path) -> None:
    """Against a loop that takes the likeliest token of the whole sequence, time after time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    job = open_job(runs.folder(tmp_path / "run", spec(base)), lambda text: None)
    tokenizer = AutoTokenizer.from_pretrained(base["foreign"])
    model = AutoModelForCausalLM.from_pretrained(base["foreign"], dtype=torch.float32).eval()
    stops = Tokens.load(base["foreign"]).stop_ids
    own = [row for row in runs.examples("messages") if row.split == "train"]
    for row, taught in list(zip(own, job.examples["train"], strict=True))[:3]:
        text = tokenizer.apply_chat_template(row.prompt, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        new: list[int] = []
        with torch.no_grad():
            while len(new) < 6 and not (new and new[-1] in stops):
                new.append(int(model(torch.tensor([ids + new])).logits[0, -1].argmax()))
        kept = new[:-1] if new[-1] in stops else new
        assert taught.answer == tokenizer.decode(kept, skip_special_tokens=True).strip()
    assert [row.answer for row in job.examples["test"]] == [row.answer for row in runs.examples("messages")[10:]]


def test_what_was_written_is_not_written_again(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "ROWS_BETWEEN_NOTES", 3)
    written, asked = language.continued, list[int]()

    def counted(*given: Any) -> Any:
        if sum(asked) == 6:
            raise KeyboardInterrupt
        asked.append(len(given[2]))
        return written(*given)

    monkeypatch.setattr(writing, "continued", counted)
    folder = runs.folder(tmp_path / "run", spec(base))
    with pytest.raises(KeyboardInterrupt):  # as if it were killed while the third part is written
        open_job(folder, lambda text: None)
    assert asked == [3, 3]
    asked.clear()
    first = open_job(folder, lambda text: None)
    assert asked == [2]
    again = open_job(folder, lambda text: None)
    assert asked == [2] and first.examples == again.examples
    spec(base, answer_tokens=5).save(folder / "spec.yaml")
    open_job(folder, lambda text: None)
    assert asked == [2, 3, 3, 2]  # another limit, other answers


def test_an_answer_that_the_limit_cuts_is_told_apart_and_an_empty_one_is_none(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = [("short", True), ("cut", False), ("", True)]
    monkeypatch.setattr(writing, "continued", lambda job, model, prompts, most: (ends * 3)[: len(prompts)])
    told: list[str] = []
    job = open_job(runs.folder(tmp_path / "run", spec(base, unanswered="data")), told.append)
    assert any(text.startswith("3 answers of the teacher were cut") for text in told)
    assert any(text.startswith("2 rows of 8 keep the data's own") for text in told)
    assert {"short", "cut"} < {row.answer for row in job.examples["train"]}
    answers = Answers(job.folder, job.objective.teacher_of(job))
    assert len(answers) == 6


def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused(base: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="reads at most 512"):
        open_job(runs.folder(tmp_path / "run", spec(base, answer_tokens=505)), lambda text: None)


def test_the_plan_counts_with_a_teacher_that_is_gone_before_training(base: dict[str, Path]) -> None:
    from engine import machine
    from engine.bases import models as known

    wanted = spec(base)
    facts, folder = known.facts(wanted.model), base["student"]
    found = wanted.objective.gathered(wanted.objective_settings, wanted.model, facts, folder, lambda text: None)
    wanted = replace(wanted, objective_settings=found)
    plan = make(wanted, facts, [40], machine.inspect(), [5])
    assert any("writes the answers to learn before training" in reason for reason in plan.reasons)
    beside = wanted.objective.beside(facts, found)
    assert beside is not None and (beside.each_step, beside.is_scored, beside.writes) == (False, True, 6)


def test_files_that_were_changed_are_another_teacher(base: dict[str, Path], tmp_path: Path) -> None:
    import os
    import shutil

    copy = Path(shutil.copytree(base["foreign"], tmp_path / "copy"))
    first = teacher.fingerprint(copy)
    assert teacher.fingerprint(copy) == first
    os.utime(copy / "model.safetensors", ns=(1, 1))
    assert teacher.fingerprint(copy) != first


def test_a_run_learns_and_tells_of_its_teacher_and_the_script_gives_the_same_losses(
    base: dict[str, Path], tmp_path: Path
) -> None:
    folder = runs.folder(tmp_path / "run", spec(base))
    assert work(folder) == 0
    done = runs.events(folder)[-1]
    theirs = load_scores(folder, "before, teacher")
    assert theirs is not None and len(theirs.rows) == 2 and all(row.loss is None for row in theirs.rows)
    assert "loss" not in theirs.metrics and done["metrics"]["models"]["teacher"]["parameters"] > 0
    ours = [e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]
    place, losses = alone(folder, base["student"])
    assert [losses[0], losses[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)
    rows = [json.loads(line) for line in (place / "examples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[0]["messages"][-1]["content"] != runs.examples("messages")[0].answer


def test_a_gap_without_a_loss_is_told_by_the_score_alone(base: dict[str, Path], tmp_path: Path) -> None:
    from engine.judging.scores import ScoredRow
    from tests.fakes import outcomes  # what a finished run leaves

    assert outcomes
    rows = [ScoredRow(number, f"q{number}", "a", "a", 1.0, None) for number in range(30)]
    wrong = [replace(row, answer="b", score=0.0, loss=1.0) for row in rows]
    found = type("Found", (), {"baselines": {"teacher": rows}, "before": wrong, "after": wrong, "metrics": {}})()
    told = list(gap.told(found, "exact_match"))
    assert len(told) == 1 and "exact match" in told[0]
