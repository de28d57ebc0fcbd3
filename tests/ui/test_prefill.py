"""A new run that opens with the settings of an earlier one, by the address."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from engine import demo, home
from engine.data.prepare import prepare
from engine.runs import store
from engine.specs.spec import RunSpec
from ui import owner, prefill, sources
from ui.prefill import Prefill


def made(spec: RunSpec | None = None, who: str = "local") -> store.Run:
    wanted = spec or demo.spec()
    return store.create(wanted, prepare(wanted.data, wanted.objective.wants, wanted.training.seed), who)


def asked(run: str, *changes: str) -> Prefill:
    found = prefill.asked("?" + urlencode([("from", run), *(("set", change) for change in changes)]))
    assert isinstance(found, Prefill)
    return found


def test_an_address_that_asks_for_nothing_opens_nothing() -> None:
    assert prefill.asked("") is None
    assert prefill.asked("?sample") is None
    assert prefill.asked("?set=training.epochs=5") is None


def test_a_run_of_several_data_sets_opens_with_all_of_them() -> None:
    spec = demo.spec().as_dict()
    twice = RunSpec.parse({**spec, "data": [*spec["data"], {**spec["data"][0], "system": "Be brief."}]})
    found = asked(made(twice).id)
    assert found.step == prefill.PLAN and "data sets" not in found.note
    assert [found.entry, *(one.entry for one in found.sets.ready)] == twice.as_dict()["data"]
    assert found.sets.place == 0 and found.sets.ready[0].told == "600 rows: texts with labels"


def test_a_runs_settings_are_opened_whole_on_the_plan() -> None:
    found = asked(made().id)
    assert found.spec == demo.spec().as_dict()
    assert found.step == prefill.PLAN and found.has_data
    assert "Settings of run Sample: bank intents." in found.note and "Nothing has been started." in found.note


def test_a_merge_opens_on_the_data_and_the_base_of_its_first_run() -> None:
    first, second = made(), made()
    found = prefill.asked(f"?merge={first.id},{second.id}")
    assert isinstance(found, Prefill) and found.step == prefill.PLAN
    assert found.spec["tuner"] | {"name": "merge", "runs": f"{first.id} {second.id}"} == found.spec["tuner"]
    assert found.spec["data"] == demo.spec().as_dict()["data"]
    assert found.spec["model"] == demo.spec().as_dict()["model"]


def test_a_merge_of_somebody_elses_run_is_refused_in_words() -> None:
    mine, theirs = made(), made(who="v-" + "b" * 24)
    with owner.acting("v-" + "b" * 24):
        found = prefill.asked(f"?merge={theirs.id},{mine.id}")
    assert isinstance(found, str) and "There is no run" in found


def test_changes_by_the_address_are_made_and_named_as_the_page_names_them() -> None:
    found = asked(made().id, "training.epochs=5", "tuner.rank=8", "training.learning_rate=2e-4")
    assert (found.spec["training"]["epochs"], found.spec["tuner"]["rank"]) == (5, 8)
    assert found.spec["training"]["learning_rate"] == 2e-4
    assert "Changed: Passes 5, Rank 8, Learning rate 2e-4." in found.note


@pytest.mark.parametrize(
    "change",
    [
        "training.epochs=-1",
        "training.nothing=1",
        "tuner.rank=wide",
        "model=5",
        "version=7",
        "nonsense",
        "data.9.source=x",
    ],
)
def test_a_change_that_is_refused_is_told_and_not_made(change: str) -> None:
    found = asked(made().id, "tuner.rank=8", change)
    assert "The changes were not made." in found.note
    assert found.spec == demo.spec().as_dict()


def test_another_tuner_takes_none_of_the_first_ones_settings_along() -> None:
    found = asked(made().id, "tuner.name=full")
    assert found.spec["tuner"]["name"] == "full" and "rank" not in found.spec["tuner"]
    assert "not made" not in found.note


def test_data_that_is_gone_is_said_and_all_else_is_kept() -> None:
    source = sources.kept("text,label\n" + "\n".join(f"t{n},{'ab'[n % 2]}" for n in range(40)))
    values = demo.spec().as_dict()
    values["data"] = [{"source": source}]
    run = made(RunSpec.parse(values))
    for file in home.files("local").iterdir():
        file.unlink()
    found = asked(run.id)
    assert found.step == prefill.DATA and not found.has_data
    assert "data is not there any more" in found.note
    assert found.spec["tuner"]["rank"] == 16


def test_somebody_elses_run_is_not_opened() -> None:
    run = made(who="somebody")
    told = prefill.asked(f"?from={run.id}")
    assert isinstance(told, str) and "There is no run" in told
    with owner.acting("somebody"):
        assert isinstance(prefill.asked(f"?from={run.id}"), Prefill)


def test_a_run_that_is_not_there_is_told_in_words() -> None:
    told = prefill.asked("?from=../../etc")
    assert isinstance(told, str) and "role='alert'" in told


def test_marks_in_an_address_stay_text() -> None:
    found = asked(made().id, "<img src=x>=1")
    assert "<img" not in found.note
