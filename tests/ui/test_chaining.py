"""Stages that are put together on the page, their routes, and how long they are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from engine import home
from engine.bases.models import ModelFacts
from engine.data.prepare import Prepared
from engine.errors import DataError, ModelError, RunError, SettingError
from engine.offers import Choice
from engine.runs import chains, store
from engine.runs.index import index
from engine.runs.stages import Stages
from tests.fakes import models, pages, runs
from tests.fakes.living import prepared
from tests.ui.test_limits import ADA, old
from tests.ui.test_screens import given
from ui import chain_feed, chaining, feed, history, limits, model_cards, own_choice, owner, retention
from ui.screens import chain, method, start


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return models.tiny_decoder(tmp_path / "tiny")


@pytest.fixture
def rows() -> Path:
    """Questions with answers, in the owner's folder."""
    path = home.files("local") / "chats.csv"
    path.write_text("question,answer\n" + "\n".join(f"What is {n}?,number {n}" for n in range(30)), encoding="utf-8")
    return path


def filled(screen: start.StartScreen, model: str, source: Path, text: str = "") -> list[Any]:
    """What the inputs send: a model, a file, the stages before."""
    how = screen.how
    return given(screen, {screen.rows.source._id: str(source), how.model._id: model, how.chain._id: text})


def kept(tiny: Path, rows: Path) -> Stages:
    """One stage that stands ready."""
    spec = runs.spec(tiny, "chat", "lora").as_dict()
    return Stages.parse({"stages": [{**spec, "data": [{"source": str(rows)}]}]}, fewest=1)


def made(name: str = "local", state: str = "created", compare: bool = False) -> tuple[chains.Chain, list[store.Run]]:
    spec = runs.spec(Path("/nowhere"), "chat", "lora").as_dict()
    later = {part: value for part, value in spec.items() if part != "model"}
    found = chains.create(Stages.parse({"stages": [spec, later], "compare": compare}), [prepared()] * 2, name)
    with index() as known:
        known.execute("UPDATE runs SET state = ? WHERE id = ?", (state, found.links[0].run))
    return found, [store.get(link.run) for link in found.links]


# --- putting it together


def test_a_stage_is_kept_and_the_next_one_begins_with_what_it_leaves(
    screen: start.StartScreen, tiny: Path, rows: Path
) -> None:
    _, name, *shown = chain._added(screen)(*filled(screen, str(tiny), rows))
    at = [*screen.rows.inputs, *screen.how.inputs, screen.how.chain]
    value = {item._id: new for item, new in zip(at, shown, strict=False)}
    text = value[screen.how.chain._id]
    assert name == "" and value[screen.rows.source._id]["value"] == ""
    assert value[screen.how.model._id]["value"] == "stage:1"
    (first,) = chaining.read(text).specs
    assert first.model.id == str(tiny) and first.data[0].source == str(rows)

    plan = screen.plan(filled(screen, "stage:1", rows, text), compare=True)
    assert [spec.model.id for spec in plan.specs] == [str(tiny), "stage:1"] and plan.compared == 2
    picture, acts, back, same, compare, button = chain._shown(text)
    assert "Stage 1" in picture and "chats.csv" in picture and "Described below" in picture
    assert acts["visible"] and compare["visible"] and button["value"] == "Start all 2 stages"
    assert (back["value"], same["value"]) == ("Back to stage 1", "Use the rows of stage 1 again")


def test_what_can_not_be_a_stage_is_refused_before_it_is_kept(screen: start.StartScreen, tiny: Path) -> None:
    bad = home.files("local") / "bad.csv"
    bad.write_text("question,answer\n" + "\n".join(["What?,"] + [f"{n}?,{n}" for n in range(20)]), encoding="utf-8")
    with pytest.raises(SettingError, match="Stage 1: 1 row has a problem"):
        chain._added(screen)(*filled(screen, str(tiny), bad))


def test_a_stage_is_opened_again_as_it_was(screen: start.StartScreen, tiny: Path, rows: Path) -> None:
    plan = kept(tiny, rows)
    _, _, *shown = chain._taken_back(screen)(*filled(screen, "stage:1", rows, chaining.text(plan)))
    count = len(screen.rows.inputs) + len(screen.how.inputs)
    again = [update["value"] for update in shown[:count]]
    assert screen.spec(["", *again, ""]) == plan.specs[0]
    assert shown[count : count + 3] == ["", "", own_choice.OWN_CHOICE]
    with pytest.raises(SettingError, match="no stage before"):
        chain._taken_back(screen)(*filled(screen, "", rows))


def test_the_rows_of_the_stage_before_can_be_used_again(screen: start.StartScreen, tiny: Path, rows: Path) -> None:
    text = chaining.text(kept(tiny, rows))
    _, source, *_ = chain._same_rows(screen)(*filled(screen, "stage:1", rows, text))
    assert source["value"] == str(rows)


def test_with_one_run_alone_nothing_of_it_shows() -> None:
    picture, acts, _, _, compare, button = chain._shown("")
    assert picture == "" and not acts["visible"] and not compare["visible"] and button["value"] == start.START


def test_a_later_stage_is_planned_with_the_base_of_what_it_begins_with(
    screen: start.StartScreen, tiny: Path, rows: Path
) -> None:
    *_, (shown, first, button) = screen.look(*filled(screen, "stage:1", rows, chaining.text(kept(tiny, rows))))
    assert "It begins with what stage 1 leaves" in shown and button["interactive"] and "Row" in first
    *_, (shown, _, button) = screen.look(*filled(screen, "stage:2", rows, chaining.text(kept(tiny, rows))))
    assert "stage:2 is no stage before it" in shown and not button["interactive"]


def test_what_a_stage_leaves_is_offered_as_a_model_with_its_facts(tiny: Path, rows: Path) -> None:
    text = chaining.text(kept(tiny, rows))
    assert "What stage 1 leaves" in model_cards.offered("stage:1", Choice("chat", "lora"), text)
    assert "What stage 1 leaves" not in model_cards.offered("stage:1", Choice("chat", "lora"))
    facts, problem = method._facts("stage:1", text)
    assert isinstance(facts, ModelFacts) and facts.kind == "decoder" and problem is None
    assert method._can_go_on("stage:1", text) and not method._can_go_on("stage:2", text)
    assert method._facts("stage:1", "") == (None, "There is no stage 1 before this one. Choose another model.")


@pytest.mark.parametrize("text", ["{", "[]", '{"stages": 3}', '{"stages": [{"model": {}}]}', "x" * 400_000])
def test_what_no_page_has_written_is_refused(text: str) -> None:
    with pytest.raises(SettingError):
        chaining.read(text)


def test_stages_of_others_files_and_models_are_refused(tiny: Path, rows: Path) -> None:
    plan = kept(tiny, rows)
    theirs = json.loads(chaining.text(plan))
    theirs["stages"][0]["data"][0]["source"] = "/etc/passwd"
    with pytest.raises(DataError, match="not there any more"):
        chaining.read(json.dumps(theirs))
    with pages.opened(), owner.acting(ADA):
        mine = home.files(ADA.name) / "chats.csv"
        mine.write_bytes(rows.read_bytes())
        theirs["stages"][0]["data"][0]["source"] = str(mine)
        with pytest.raises(ModelError, match="Folders of this machine are its host's"):
            chaining.read(json.dumps(theirs))


# --- looking at it, and what is done with all of it


def client() -> TestClient:
    return TestClient(Starlette(routes=[*feed.routes(), *chain_feed.routes(), *history.routes()]))


def test_a_runs_page_is_given_the_picture_of_its_chain_and_a_waiting_run_says_for_what() -> None:
    _, (first, second) = made(state="stopped")
    asked = client()
    picture = asked.get(f"/tunesmith/runs/{second.id}/chain").json()
    assert [stage["run"] for stage in picture["stages"]] == [first.id, second.id]
    assert asked.get(f"/tunesmith/runs/{second.id}").json()["waits"] == "waits until stage 1 is resumed"
    alone = store.create(runs.spec(Path("/nowhere"), "chat", "lora"), prepared())
    assert asked.get(f"/tunesmith/runs/{alone.id}/chain").json() is None
    assert asked.get(f"/tunesmith/runs/{alone.id}").json()["waits"] == ""


def test_a_chain_is_stopped_and_deleted_by_its_owner_alone() -> None:
    (found, held), (others, _) = made(), made("somebody")
    asked = client()
    for act in ("stop", "resume", "delete"):
        answer = asked.post(f"/tunesmith/chains/{others.id}/{act}")
        assert answer.status_code == 404 and "There is no chain" in answer.json()["problem"]
    assert asked.post(f"/tunesmith/chains/{found.id}/stop").status_code == 200
    assert store.get(held[0].id).state == "stopped"
    assert asked.post(f"/tunesmith/chains/{found.id}/delete").status_code == 200
    assert [one.id for one in chains.listed()] == [others.id]


def test_a_run_on_several_data_sets_can_be_compared_with_each_alone_by_its_owner(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[chains.Chain] = []
    monkeypatch.setattr(chains, "start", started.append)
    spec = runs.spec(tiny, "chat", "lora")
    both = [replace(row, source=row.row % 2) for row in runs.examples("messages")]
    mine, theirs = (
        store.create(spec.with_data(spec.data * 2), Prepared(both, [], [], []), name) for name in ("local", "somebody")
    )
    one, asked = store.create(spec, prepared()), client()
    offered = [asked.get(f"/tunesmith/runs/{run.id}").json()["alone"] for run in (mine, one)]
    assert offered == [True, False]
    assert asked.post(f"/tunesmith/runs/{theirs.id}/alone").status_code == 404
    assert "one data set" in asked.post(f"/tunesmith/runs/{one.id}/alone").json()["problem"]
    assert asked.post(f"/tunesmith/runs/{mine.id}/alone").status_code == 200
    (chain,) = started
    assert chains.listed() == [chain] and chain.beside == mine.id and chain.owner == "local"
    picture = asked.get(f"/tunesmith/runs/{mine.id}/chain").json()
    assert picture["whole"]["run"] == mine.id and len(picture["stages"]) == 2 and picture["verdicts"] == []
    assert all(stage["alone"] for stage in picture["stages"])
    assert asked.get(f"/tunesmith/runs/{mine.id}").json()["alone"] is False
    assert "already" in asked.post(f"/tunesmith/runs/{mine.id}/alone").json()["problem"]


def test_the_lists_of_runs_say_which_stage_of_which_plan_a_run_is() -> None:
    found, (first, second) = made()
    _, others = made("somebody")
    alone = store.create(runs.spec(Path("/nowhere"), "chat", "lora"), prepared())
    asked = client()
    for listed in (asked.get("/tunesmith/history").json()["runs"], asked.get("/tunesmith/runs").json()):
        stages = {line["id"]: line["stage"] for line in listed}
        told = {"title": "Stage 2", "place": 2, "count": 2, "plan": found.id, "name": found.name}
        assert stages[second.id] == told and stages[first.id]["place"] == 1 and stages[alone.id] is None
        assert not stages.keys() & {run.id for run in others}
    only = asked.get(f"/tunesmith/history?plan={found.id}").json()
    assert {line["id"] for line in only["runs"]} == {first.id, second.id} and only["total"] == 3
    assert asked.get("/tunesmith/history?plan=chain-x").json()["runs"] == []


def test_all_stages_are_deleted_at_once_from_the_list_and_one_that_others_need_is_kept() -> None:
    _, (first, second) = made()
    asked = client()
    kept = asked.post("/tunesmith/history/delete", json={"runs": [first.id]}).json()["kept"]
    assert kept[0]["id"] == first.id and "went on from this run" in kept[0]["problem"]
    answer = asked.post("/tunesmith/history/delete", json={"runs": [first.id, second.id]}).json()
    assert answer == {"deleted": 2, "kept": []} and store.listed() == []


def test_stages_are_stopped_from_the_list_with_their_plan_so_that_nothing_after_them_starts() -> None:
    found, (first, second) = made()
    _, (theirs, _) = made("somebody")
    alone = store.create(runs.spec(Path("/nowhere"), "chat", "lora"), prepared())
    asked = client()
    ids = [first.id, second.id, theirs.id, alone.id]
    answer = asked.post("/tunesmith/history/stop", json={"runs": ids}).json()
    assert answer["stopped"] == 2 and {run["id"] for run in answer["kept"]} == {theirs.id, alone.id}
    assert store.get(first.id).state == "stopped" and chains.picture(found)["state"] == "waiting"
    assert {store.get(run.id).state for run in (second, theirs, alone)} == {"created"}


def test_a_visitor_has_so_many_runs_at_a_time_stages_included(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.RUNS.variable, "1")
    found, _ = made(ADA.name, "running")
    with pages.opened(), owner.acting(ADA), pytest.raises(RunError, match="each visitor may have 1 at a time"):
        limits.resume_chain(found)


# --- how long it is kept


def test_stages_of_a_chain_at_work_are_kept_and_those_of_one_at_rest_go_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(retention.VARIABLE, "7")
    _, working = made(ADA.name, "running")
    _, resting = made(ADA.name, "stopped", compare=True)
    for run in (*working, *resting):
        old(run, 30)
    with pages.opened():
        retention.sweep()
    assert {run.id for run in store.listed()} == {run.id for run in working}


def test_when_a_person_deletes_all_no_later_stage_begins() -> None:
    made(ADA.name, "finished")
    with pages.opened():
        assert retention.delete_all(ADA.name) == 0
    assert store.listed() == []


def test_what_the_newest_stage_leaves_becomes_the_teacher_by_a_click(tiny: Path, rows: Path) -> None:
    text = chaining.text(kept(tiny, rows))
    for objective in ("distill", "imitate", "distill-labels"):
        offered = method.teacher_offered(objective, text)
        assert (offered["visible"], offered["value"]) == (True, "Learn from what stage 1 leaves")
    assert not method.teacher_offered("chat", text)["visible"] and not method.teacher_offered("distill", "")["visible"]
    teach = method._taught(["objective distill.teacher", "objective imitate.teacher"])
    kept_as_it_is, named = teach("imitate", text)
    assert named["value"] == "stage:1" and "value" not in kept_as_it_is
