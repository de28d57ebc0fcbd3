"""A teacher by its names: fetched, and compared with the model that learns before anything starts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import home, objectives
from engine.bases import models
from engine.bases.catalog import SMOLLM2
from engine.errors import ModelError, SettingError, UserError
from engine.machine import Machine
from engine.planning import memory, planner, timing
from engine.planning.speed import Course, Speed
from engine.publishing.origin import public_spec
from engine.runs import store
from engine.runs.index import index
from engine.specs.sections import Model
from engine.specs.spec import RunSpec
from engine.teachers import teacher
from engine.teachers.own_answers import Own
from tests.fakes import models as tiny
from tests.fakes import pages, runs
from ui import limits, owner

ROWS = [40] * 20


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {"student": tiny.tiny_decoder(place / "student"), "teacher": tiny.tiny_biased_decoder(place / "teacher")}


def gather(student: Path, name: Path | str) -> teacher.Teacher:
    section = Model(id=str(student))
    return teacher.gather(str(name), section, models.facts(section), student, lambda text: None)


def changed(folder: Path, to: Path, **vocabulary: int) -> Path:
    """A copy of a model whose tokenizer has other ids for some tokens."""
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    record = json.loads((to / "tokenizer.json").read_text(encoding="utf-8"))
    ids = record["model"]["vocab"]
    for token, number in vocabulary.items():
        ids[token] = number
    (to / "tokenizer.json").write_text(json.dumps(record), encoding="utf-8")
    return to


def spec(student: Path, **settings: Any) -> RunSpec:
    return runs.spec(student, {"name": "distill", **settings}, "lora")


def ready(student: Path, **settings: Any) -> RunSpec:
    """A spec whose teacher was looked at, as a plan is made of it."""
    wanted = spec(student, **settings)
    facts = models.facts(wanted.model)
    found = wanted.objective.gathered(wanted.objective_settings, wanted.model, facts, student, lambda text: None)
    return replace(wanted, objective_settings=found)


def test_a_folder_a_run_and_the_model_itself_can_teach(folders: dict[str, Path], tmp_path: Path) -> None:
    found = gather(folders["student"], folders["teacher"])
    assert (found.folder, found.words, found.is_student) == (folders["teacher"], tiny.VOCABULARY, False)
    itself = gather(folders["student"], "")
    assert itself.is_student and itself.folder == folders["student"]
    run = home.runs() / "20260101-000000-aaaaaaaa"
    runs.folder(run, runs.spec(folders["student"], "chat", "full"))
    (run / "model").mkdir()
    for file in folders["teacher"].iterdir():
        (run / "model" / file.name).write_bytes(file.read_bytes())
    assert gather(folders["student"], f"run:{run.name}").folder == run / "model"


def test_other_ids_of_the_same_words_are_refused_by_name(folders: dict[str, Path], tmp_path: Path) -> None:
    ids = json.loads((folders["teacher"] / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    swapped = changed(folders["teacher"], tmp_path / "other", a=ids["b"], b=ids["a"])
    with pytest.raises(ModelError) as told:
        gather(folders["student"], swapped)
    assert (
        f"other words than {folders['student']}: 'a' is number {ids['a']:,} here and {ids['b']:,} there"
        in told.value.problem
    )
    assert "and 1 more tokens differ" in told.value.problem and "same family" in told.value.fix


def test_words_that_one_of_them_lacks_are_refused_by_name() -> None:
    here = {"a": 0, "b": 1}
    assert teacher.difference(here, dict(here)) == ""
    more = {**here, "c": 2, "d": 3, "e": 4, "f": 5}
    assert teacher.difference(here, more) == "the student's tokenizer lacks 'c', 'd', 'e' and 1 more"
    assert teacher.difference(more, here) == "the teacher's tokenizer lacks 'c', 'd', 'e' and 1 more"


def test_rows_that_one_vocabulary_is_padded_with_are_left_out(folders: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    padded = changed(folders["teacher"], tmp_path / "padded")
    model = AutoModelForCausalLM.from_pretrained(padded)
    model.resize_token_embeddings(tiny.VOCABULARY + 16)
    model.save_pretrained(padded)
    assert gather(folders["student"], padded).words == tiny.VOCABULARY
    assert gather(padded, folders["student"]).words == tiny.VOCABULARY


def test_a_model_that_reads_but_does_not_write_is_no_teacher(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is of the kind encoder"):
        gather(folders["student"], tiny.tiny_encoder(tmp_path / "encoder"))
    with pytest.raises(UserError, match="There is no finished run"):
        gather(folders["student"], "run:20260101-000000-zzzzzzzz")


def test_a_model_that_teaches_itself_alone_would_learn_nothing(folders: dict[str, Path]) -> None:
    with pytest.raises(SettingError, match="nothing would be learned"):
        ready(folders["student"], data_weight=0.0)
    assert "itself" in ready(folders["student"]).objective.remarks(ready(folders["student"]).objective_settings)[0]


def test_memory_and_time_count_the_teacher(folders: dict[str, Path]) -> None:
    here = Machine("cpu", 2, 16 * 10**9, 14 * 10**9, 10**11, True)
    speed = Speed(products=1e11, memory=1e10, read=Course(1e-3, 1e-4, 1e-9), **_rest())
    taught, alone = (
        ready(folders["student"], teacher=str(folders["teacher"])),
        runs.spec(folders["student"], "chat", "lora"),
    )
    facts = models.facts(alone.model)
    plans = [planner.make(one, facts, ROWS, here, ROWS) for one in (taught, alone)]
    parts = [{part.name: part.bytes for part in plan.memory} for plan in plans]
    weights = models.facts(Model(id=str(folders["teacher"]))).parameters
    assert parts[0]["Teacher"] >= memory.WIDTH[plans[0].compute] * weights and "Teacher" not in parts[1]
    assert parts[0]["Scores of words"] > 2 * parts[1]["Scores of words"]
    assert "is read at each step" in " ".join(plans[0].reasons)
    counts = timing.Rows(timing.Counts(ROWS, ROWS), timing.Counts([], []), timing.Counts([], []))
    seconds = [
        timing.predict(one, facts, plan, counts, speed)["train"]
        for one, plan in zip((taught, alone), plans, strict=True)
    ]
    assert seconds[0] > 1.2 * seconds[1]


def test_a_teacher_that_reads_once_is_gone_while_the_model_learns(folders: dict[str, Path]) -> None:
    here = Machine("cpu", 2, 16 * 10**9, 14 * 10**9, 10**11, True)
    facts = models.embedded_facts(SMOLLM2)
    once, always = (
        with_facts(ready(folders["student"], teacher=str(folders["teacher"]), top_k=k), models.embedded_facts(SMOLLM2))
        for k in (8, 0)
    )
    once, always = (
        replace(
            one,
            training=one.training.model_copy(
                update={"max_tokens": 500, "batch_size": 8, "micro_batch_size": 8, "checkpointing": "on"}
            ),
        )
        for one in (once, always)
    )
    long = [500] * 20
    need = [planner.make(one, facts, long, here, long).memory_bytes for one in (once, always)]
    assert need[0] < need[1]
    assert "8 likeliest words are kept" in " ".join(planner.make(once, facts, ROWS, here, ROWS).reasons)
    speed = Speed(products=1e11, memory=1e10, read=Course(1e-3, 1e-4, 1e-9), **_rest())
    counts = timing.Rows(timing.Counts(ROWS, ROWS), timing.Counts([], []), timing.Counts([], []))
    assert timing.predict(once, facts, planner.make(once, facts, ROWS, here, ROWS), counts, speed)["teacher"] > 0
    with pytest.raises(SettingError, match="320 in all"):
        ready(folders["student"], teacher=str(folders["teacher"]), top_k=320)


def test_the_time_in_which_a_teacher_writes_is_planned_by_the_length_of_its_answers(folders: dict[str, Path]) -> None:
    here = Machine("cpu", 2, 16 * 10**9, 14 * 10**9, 10**11, True)
    speed = Speed(products=1e11, memory=1e10, read=Course(1e-3, 1e-4, 1e-9), **_rest())
    counts = timing.Rows(timing.Counts([60, 90], [20, 40]), timing.Counts([], []), timing.Counts([], []))
    seconds = []
    for most in (4, 40):
        wanted = runs.spec(
            folders["student"], {"name": "imitate", "teacher": str(folders["teacher"]), "answer_tokens": most}, "lora"
        )
        facts = models.facts(wanted.model)
        found = wanted.objective.gathered(
            wanted.objective_settings, wanted.model, facts, folders["student"], lambda text: None
        )
        wanted = replace(wanted, objective_settings=found)
        plan = planner.make(wanted, facts, [60, 90], here, [20, 40])
        seconds.append(timing.predict(wanted, facts, plan, counts, speed))
    assert seconds[1]["answers"] > 5 * seconds[0]["answers"] > 0
    assert "teacher" not in seconds[0] and seconds[0]["train"] == seconds[1]["train"]


def _rest() -> dict[str, Any]:
    from dataclasses import fields

    course = Course(1e-3, 1e-4, 1e-9)
    known = {"products", "memory", "read"}
    return {
        field.name: course if field.name in ("additions", "fast", "base") else 1e-3
        for field in fields(Speed)
        if field.name not in known
    }


def with_facts(wanted: RunSpec, facts: models.ModelFacts) -> RunSpec:
    """The spec with a teacher of these facts."""
    found = replace(wanted.objective_settings.found, facts=facts)
    return replace(wanted, objective_settings=wanted.objective_settings.model_copy(update={"found": found}))


def test_a_teacher_that_does_not_fit_is_told_before_the_start(folders: dict[str, Path]) -> None:
    wanted = ready(folders["student"], teacher=str(folders["teacher"]))
    wanted = with_facts(wanted, replace(wanted.objective_settings.found.facts, parameters=10**11))
    here = Machine("cpu", 2, 16 * 10**9, 14 * 10**9, 10**11, True)
    with pytest.raises(UserError, match="This run does not fit"):
        planner.make(wanted, models.facts(wanted.model), ROWS, here, ROWS)


@pytest.mark.parametrize("own_share", [0.0, 0.5])
def test_a_teacher_that_has_no_room_beside_the_model_may_read_before_it_learns(own_share: float) -> None:
    student = models.embedded_facts(SMOLLM2)
    found = teacher.Teacher(replace(student, parameters=4 * 10**8), Path(), student.vocabulary, is_student=False)
    wanted = runs.spec(Path(SMOLLM2.id), "distill", "full")
    goal = objectives.get("distill")
    settings = goal.Settled(teacher="larger", own_share=own_share, found=found)  # type: ignore[attr-defined]
    here = Machine("cpu", 2, 4_500_000_000, 4_500_000_000, 10**11, True)
    with pytest.raises(UserError, match="This run does not fit") as told:
        planner.make(replace(wanted, objective_settings=settings), student, [60] * 20, here, [30] * 20)
    assert told.value.fix.startswith("Set 'Words kept of the teacher' (objective.top_k) to 64")
    assert ("(objective.own_share) to 0" in told.value.fix) is bool(own_share)
    lighter, _ = goal.lighter(settings) or (None, "")
    planner.make(replace(wanted, objective_settings=lighter), student, [60] * 20, here, [30] * 20)


def test_a_teacher_that_fits_nowhere_is_told_how_small_another_one_has_to_be(folders: dict[str, Path]) -> None:
    here = Machine("cpu", 2, 16 * 10**9, 14 * 10**9, 10**11, True)
    for goal in ("distill", "imitate"):
        wanted = runs.spec(folders["student"], {"name": goal, "teacher": str(folders["teacher"])}, "lora")
        facts = models.facts(wanted.model)
        found = wanted.objective.gathered(
            wanted.objective_settings, wanted.model, facts, folders["student"], lambda text: None
        )
        wanted = replace(wanted, objective_settings=found)
        huge = with_facts(wanted, replace(found.found.facts, parameters=10**11))
        with pytest.raises(UserError) as told:
            planner.make(huge, facts, ROWS, here, ROWS)
        assert told.value.fix.startswith("Choose a smaller teacher: beside this model there is room for one of about ")
        room = float(told.value.fix.split(" about ")[1].split()[0]) * 1e9
        planner.make(
            with_facts(wanted, replace(found.found.facts, parameters=int(0.9 * room))), facts, ROWS, here, ROWS
        )


def test_answers_of_its_own_count_in_memory_time_and_words(folders: dict[str, Path]) -> None:
    here = Machine("cpu", 2, 16 * 10**9, 14 * 10**9, 10**11, True)
    facts = models.facts(Model(id=str(folders["student"])))
    speed = Speed(products=1e11, memory=1e10, read=Course(1e-3, 1e-4, 1e-9), **_rest())
    counts = timing.Rows(timing.Counts(ROWS, [10] * 20), timing.Counts([], []), timing.Counts([], []))
    memory_bytes, seconds, told = [], [], []
    for settings in ({}, {"own_share": 0.5, "own_tokens": 16}, {"own_share": 1.0, "own_tokens": 16}):
        wanted = ready(folders["student"], teacher=str(folders["teacher"]), **settings)
        plan = planner.make(wanted, facts, ROWS, here, [10] * 20)
        memory_bytes.append(plan.memory_bytes)
        seconds.append(timing.predict(wanted, facts, plan, counts, speed)["train"])
        told.append(" ".join(timing.timed(plan, wanted, facts, counts, here, speed).reasons))
    assert memory_bytes[0] < memory_bytes[1] == memory_bytes[2] and seconds[0] < seconds[1] < seconds[2]
    assert "% of the time of training is for writing answers" in told[1] and "writing" not in told[0]
    assert "the model writes 50 % of the answers itself, of at most 16 tokens" in told[1]


def test_rows_with_answers_of_their_own_are_no_longer_than_the_longest_row() -> None:
    own = Own(0.5, 16)
    assert own.longest([40, 60], [10, 4], 64) == ([56, 64], [16, 16])
    assert own.usual([40, 60], [10, 4], 64) == ([43, 62], [13, 6])


def test_a_teacher_has_to_be_able_to_read_the_rows(folders: dict[str, Path]) -> None:
    wanted = ready(folders["student"], teacher=str(folders["teacher"]))
    wanted = with_facts(wanted, replace(wanted.objective_settings.found.facts, context=32))
    with pytest.raises(SettingError, match="reads at most 32"):
        planner.make(wanted, models.facts(wanted.model), ROWS, Machine("cpu", 2, 10**11, 10**11, 10**11, True), ROWS)


def test_a_visitor_names_no_others_run_and_no_folder_as_teacher(folders: dict[str, Path]) -> None:
    with pages.opened():
        ada = owner.Visitor("v-" + "a" * 24)
        theirs = store.create(runs.spec(Path("/nowhere"), "chat", "lora"), _prepared(), "v-" + "b" * 24)
        mine = store.create(runs.spec(Path("/nowhere"), "chat", "lora"), _prepared(), ada.name)
        for name, problem in (
            (f" run:{theirs.id}", "There is no run"),
            (str(folders["teacher"]), "Folders of this machine"),
        ):
            wanted = RunSpec.parse(
                {
                    **spec(folders["student"]).as_dict(),
                    "model": {"id": "embedded:smollm2-135m"},
                    "objective": {"name": "distill", "teacher": name},
                }
            )
            with owner.acting(ada), pytest.raises(UserError, match=problem):
                limits.require_models(wanted)
        own = RunSpec.parse({**wanted.as_dict(), "objective": {"name": "distill", "teacher": f"run:{mine.id}"}})
        with owner.acting(ada), pytest.raises(UserError, match="no finished run"):  # theirs, but without a result yet
            limits.require_models(own)


def _prepared() -> Any:
    from engine.data.prepare import Prepared

    return Prepared(runs.examples("messages"), [], [], [])


def test_what_is_published_names_no_folder_and_a_run_is_kept_while_it_teaches(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders["teacher"].parent)
    run = store.create(spec(folders["student"], teacher="teacher"), _prepared())
    assert run.spec().objective_settings.teacher == str(folders["teacher"])
    assert public_spec(run.spec()).objective_settings.teacher == "teacher"
    first = store.create(runs.spec(folders["student"], "chat", "lora"), _prepared())
    second = store.create(spec(folders["student"], teacher=f"run:{first.id}"), _prepared())
    with index() as rows:
        rows.execute("UPDATE runs SET state = 'queued' WHERE id = ?", (second.id,))
    with pytest.raises(UserError, match="needs it"):
        store.delete(first)
    with index() as rows:
        rows.execute("UPDATE runs SET state = 'finished' WHERE id = ?", (second.id,))
    store.delete(first)


def test_settings_that_were_looked_at_are_written_as_they_were(folders: dict[str, Path]) -> None:
    wanted = ready(folders["student"], teacher=str(folders["teacher"]), temperature=3.0)
    assert (
        RunSpec.parse(wanted.as_dict()).objective_settings
        == spec(folders["student"], teacher=str(folders["teacher"]), temperature=3.0).objective_settings
    )
    assert objectives.get("distill").models(wanted.objective_settings) == [str(folders["teacher"])]
