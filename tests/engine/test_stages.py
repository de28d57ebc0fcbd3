"""A plan of stages: how it is read, and what is known of it before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.__main__ import main
from engine.bases import models as model_facts
from engine.errors import SettingError
from engine.runs import chains, stages, store
from engine.runs.stages import Stages
from tests.engine.test_text import document
from tests.fakes import models

SMALL = {
    "training": {"max_steps": 2, "batch_size": 2, "max_tokens": 48, "precision": "float32", "learning_rate": 1e-2},
    "evaluation": {"max_rows": 6},
    "launch": {"threads": 1},
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Documents, conversations and a tiny model, in a folder."""
    (tmp_path / "terms.md").write_text(document(30), encoding="utf-8")
    rows = [f"What is {number}?,number {number}" for number in range(40)]
    (tmp_path / "chats.csv").write_text("question,answer\n" + "\n".join(rows) + "\n", encoding="utf-8")
    models.tiny_decoder(tmp_path / "tiny")
    return tmp_path


def stage(files: Path, objective: Any = "chat", tuner: Any = "lora", **further: Any) -> dict[str, Any]:
    source = "terms.md" if objective == "text" else "chats.csv"
    return {"data": [{"source": str(files / source)}], "objective": objective, "tuner": tuner, **SMALL, **further}


def first(files: Path, objective: Any = "text", tuner: Any = "lora", **further: Any) -> dict[str, Any]:
    return stage(files, objective, tuner, model={"id": str(files / "tiny"), **further})


def problems(values: Any) -> list[str]:
    with pytest.raises(SettingError) as caught:
        Stages.parse(values).check(lambda text: None)
    return caught.value.problems


def test_a_stage_without_a_model_begins_with_what_the_one_before_leaves(files: Path) -> None:
    plan = Stages.parse({"stages": [first(files), stage(files), stage(files, model={"load": "16bit"})]})
    assert [spec.model.id for spec in plan.specs] == [str(files / "tiny"), "stage:1", "stage:2"]
    assert plan.specs[2].model.load == "16bit" and plan.line(3) == (1, 2)
    assert Stages.parse(plan.as_dict()) == plan


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([], "no list of stages"),
        ({"stages": "two"}, "no list of stages"),
        ({"stages": []}, "has 0 stages; it should have 2 to 6"),
        ({"stages": [{}, {}], "steps": 3}, "steps: a plan has no such entry"),
    ],
)
def test_what_is_no_plan_is_refused(values: Any, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        Stages.parse(values)


def test_wrong_settings_of_all_stages_are_told_at_once_with_their_numbers(files: Path) -> None:
    wrong = first(files, tuner={"name": "lora", "rank": 0})
    later = [stage(files, model={"id": "stage:2"}), stage(files, "distil"), stage(files, model={"id": "stage:x"})]
    told = "\n".join(problems({"stages": [wrong, *later]}))
    assert "Stage 1: Rank (tuner.rank)" in told
    assert "Stage 2: stage:2 is no stage before it. There is: stage:1." in told
    assert "Stage 3: " in told and "Did you mean distill?" in told
    assert "Stage 4: 'stage:x' names no stage." in told


def test_what_stands_in_the_way_of_any_stage_is_told_before_anything_starts(files: Path) -> None:
    rows = [f"What is {number}?,number {number}" for number in range(12)]
    (files / "bad.csv").write_text("\n".join(["question,answer", "Who?,", *rows]) + "\n", encoding="utf-8")
    bad = stage(files) | {"data": [{"source": str(files / "bad.csv")}]}
    gone = stage(files) | {"data": [{"source": str(files / "gone.csv")}]}
    told = problems({"stages": [first(files, tuner="prompt"), bad, gone]})
    assert [line.split(":")[0] for line in told] == ["Stage 2", "Stage 2", "Stage 3"]
    assert "1 row has a problem" in told[0]
    assert "Stage 1 learned with Prompt tuning, which can't become part of its base" in told[1]
    assert "gone.csv" in told[2]
    assert store.listed() == []


def test_a_stage_goes_on_with_what_the_one_before_added_where_both_are_alike(files: Path) -> None:
    on = {"id": "stage:1", "continued": True}
    rows = Stages.parse({"stages": [first(files, "chat"), stage(files, model=on)]}).check(lambda text: None)
    assert [len(prepared.examples) for prepared in rows] == [40, 40]
    other = stage(files, tuner={"name": "lora", "rank": 4}, model=on)
    assert (
        "what stage 1 added needs its settings: tuner.rank is 4"
        in problems({"stages": [first(files, "chat"), other]})[0]
    )
    whole = problems({"stages": [first(files, "chat", "full"), stage(files, tuner="full", model=on)]})
    assert whole[0].startswith("Stage 2: Stage 1 changed the whole model and added nothing")


def test_the_facts_of_what_a_stage_will_leave_are_those_of_its_base(files: Path) -> None:
    plan = Stages.parse(
        {
            "stages": [
                first(files, keep_layers=2),
                stage(files),
                stage(files, model={"id": "stage:2", "continued": True}),
            ]
        }
    )
    base = model_facts.facts(plan.specs[0].model)
    left = plan.facts(plan.specs[1].model)
    assert (left.layers, left.parameters, left.vocabulary) == (base.layers, base.parameters, base.vocabulary)
    assert left.id == "what stage 1 leaves"
    assert plan.stand_in(3).model == plan.specs[0].model
    wrong = problems({"stages": [first(files), stage(files, model={"id": "stage:1", "keep_layers": 99})]})
    assert wrong[0].startswith("Stage 2: ") and "99" in wrong[0]


def test_the_first_task_after_reading_is_the_one_that_is_compared(files: Path) -> None:
    values = {"stages": [first(files), stage(files, "text"), stage(files), stage(files, "distill")], "compare": True}
    values["stages"][1]["data"] = values["stages"][0]["data"]
    plan = Stages.parse(values)
    assert plan.compared == 3 and plan.line(3) == (1, 2)
    alone = plan.alone()
    assert alone.model == plan.specs[0].model and alone.training == plan.specs[2].training
    assert Stages.parse(values | {"compare": 4}).compared == 4
    with pytest.raises(SettingError, match="compare is 1; the stages that it can name: 2, 3, 4"):
        Stages.parse(values | {"compare": 1})
    apart = {"stages": [first(files), stage(files, model={"id": str(files / "tiny")})], "compare": True}
    with pytest.raises(SettingError, match="none, since no stage begins with what an earlier one leaves"):
        Stages.parse(apart)


def test_a_teacher_can_be_what_an_earlier_stage_leaves(files: Path) -> None:
    taught = stage(
        files, {"name": "distill", "teacher": "stage:1"}, model={"id": str(files / "tiny"), "keep_layers": 2}
    )
    plan = Stages.parse({"stages": [first(files, "chat"), taught]})
    assert stages.needs(plan.specs[1]) == [1]
    plan.check(lambda text: None)
    named = stages.named(plan.specs[1], {1: "20260101-000000-aaaaaaaa"})
    assert named.as_dict()["objective"]["teacher"] == "run:20260101-000000-aaaaaaaa"
    assert problems({"stages": [first(files, "chat"), stage(files, {"name": "distill", "teacher": "stage:3"})]}) == [
        "Stage 2: stage:3 is no stage before it. There is: stage:1."
    ]


def test_a_teacher_of_the_same_base_is_another_model_than_the_one_that_learns(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the plan the same files stand for both, as they began alike; without the data's answers there is enough."""
    from engine.planning import speed
    from engine.planning.explain import explain

    monkeypatch.setattr(speed, "of", lambda *given, **further: None)
    goal = {"name": "distill", "data_weight": 0}
    base = {"id": str(files / "tiny")}
    for student, name, works in (
        (base, "stage:1", True),
        ({"id": "stage:1"}, str(files / "tiny"), True),
        ({**base, "keep_layers": 2}, "stage:1", True),
        ({"id": "stage:1"}, "stage:1", False),
        ({"id": "stage:1"}, "", False),
    ):
        plan = Stages.parse({"stages": [first(files, "chat"), stage(files, goal | {"teacher": name}, model=student)]})
        if works:
            plan.check(lambda text: None)
            told = " ".join(explain(plan.stand_in(2)).plan.reasons)
            assert "The teacher is" in told and "itself" not in told
        else:
            with pytest.raises(SettingError, match="nothing would be learned"):
                plan.check(lambda text: None)


def test_a_classifier_that_a_stage_leaves_teaches_another_one(files: Path) -> None:
    rows = [f"What is {number}?,{'odd' if number % 2 else 'even'}" for number in range(40)]
    (files / "labels.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    labels = {"data": [{"source": str(files / "labels.csv")}]}
    taught = stage(files, {"name": "distill-labels", "teacher": "stage:1"}) | labels
    for student in ({"id": str(files / "tiny"), "keep_layers": 2}, {"id": "stage:1"}):
        plan = Stages.parse({"stages": [first(files, "classify") | labels, taught | {"model": student}]})
        plan.check(lambda text: None)


@pytest.mark.timeout(900)
def test_a_chain_of_reading_chatting_and_distilling_runs_to_its_end(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By real workers: the student is made of layers of the base, and learns from what the second stage leaves."""
    student = {"name": "distill", "teacher": "stage:2", "data_weight": 0, "own_share": 0.5, "own_tokens": 8}
    texts, talks = {"source": "terms.md"}, {"source": "chats.csv"}
    plan = {
        "name": "a small chain",
        "stages": [
            first(files) | {"data": [texts]},
            stage(files) | {"data": [talks]},
            stage(files, student, model={"id": str(files / "tiny"), "keep_layers": 2}) | {"data": [talks]},
        ],
        "compare": True,
    }
    path = files / "chain.yaml"
    path.write_text(yaml.safe_dump(plan), encoding="utf-8")
    code = main(["chain", str(path), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (code, found["state"], found["name"]) == (0, "finished", "a small chain")
    assert [stage["title"] for stage in found["stages"]] == ["Stage 1", "Stage 2", "Stage 3", "Stage 2 without stage 1"]
    assert all(stage["after"] is not None for stage in found["stages"])
    (verdict,) = found["verdicts"]
    assert "Both learned from the same rows" in verdict["data"]
    assert verdict["headline"].lower().startswith(("whether stage 1", "stage 1"))
    chain = chains.get(found["id"])
    second, third = (store.get(chain.links[place].run) for place in (1, 2))
    assert third.spec().objective_settings.teacher == f"run:{second.id}" and (second.folder / "merged").is_dir()
    assert third.spec().model.keep_layers == 2 and third.spec().model.id == str(files / "tiny")

    assert main(["show", chain.id]) == 0
    out = capsys.readouterr().out
    assert "Stage 3: Distill, LoRA: finished; exact match" in out and verdict["sentence"] in out
    assert main(["chains"]) == 0 and "All 4 runs have finished." in capsys.readouterr().out
    assert main(["delete", chain.id]) == 0 and store.listed() == []


def test_the_plan_in_the_docs_is_one() -> None:
    page = (Path(__file__).resolve().parent.parent.parent / "docs" / "go-on.md").read_text(encoding="utf-8")
    (text,) = [block for block in page.split("```") if block.startswith("yaml\nname: ")]
    plan = Stages.parse(yaml.safe_load(text.removeprefix("yaml")))
    assert [spec.objective.name for spec in plan.specs] == ["text", "chat", "distill"]
    assert (plan.compared, plan.line(3)) == (2, (1, 2))
