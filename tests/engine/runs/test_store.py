"""Run folders: made, found, renamed, deleted."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import home
from engine.data.prepare import Prepared
from engine.data.rows import RowProblem
from engine.errors import DataError, MachineError, RunError, SettingError
from engine.files import read_json, write_json
from engine.home import CHECKOUT
from engine.runs import queue, store
from engine.runs.about import About
from engine.specs.spec import RunSpec
from tests.fakes import runs
from tests.fakes.living import at_work, comes_to, made, prepared


def test_a_run_folder_holds_all_that_a_worker_needs() -> None:
    run = made("finish")
    assert run.spec().training.max_steps == 4
    assert len((run.folder / "examples.jsonl").read_text(encoding="utf-8").splitlines()) == 12
    assert read_json(run.folder / "data.json") == {"notices": [], "findings": [], "problems": []}


def test_an_id_tells_when_it_was_made_and_can_stand_in_an_address() -> None:
    ids = [made("finish").id for _ in range(3)]
    assert all(store.ID.fullmatch(run_id) for run_id in ids) and len(set(ids)) == 3
    assert [run_id[:15] for run_id in ids] == sorted(run_id[:15] for run_id in ids)


def test_a_run_without_a_name_is_named_after_what_it_does() -> None:
    assert made("finish").name == "chat, lora"


def test_a_run_of_somebody_else_looks_like_none() -> None:
    run = made("finish", owner="ada")
    with pytest.raises(RunError, match="There is no run") as theirs:
        store.get(run.id, owner="bob")
    with pytest.raises(RunError, match="There is no run") as none:
        store.get("20260101-000000-abcdefgh", owner="bob")
    assert str(theirs.value).replace(run.id, "") == str(none.value).replace("20260101-000000-abcdefgh", "")
    assert store.listed(owner="bob") == [] and len(store.listed(owner="ada")) == 1


@pytest.mark.parametrize(
    "run_id", ["../etc", "", "20261122-120000-abc", "20261122-120000-abcdefg!", "20261122-120000-abcdefgh\n", "x" * 500]
)
def test_an_id_that_is_none_is_refused(run_id: str) -> None:
    with pytest.raises(RunError):
        store.get(run_id)


def test_a_search_finds_runs_by_name() -> None:
    made("finish", name="Bank intents"), made("finish", name="Poems")
    assert [run.name for run in store.listed(search="bank")] == ["Bank intents"]


def test_the_newest_run_stands_first() -> None:
    ids = [made("finish").id for _ in range(3)]
    assert [run.id for run in store.listed()] == ids[::-1]


def test_rows_with_problems_keep_a_run_from_being_made() -> None:
    problem = RowProblem(3, "line 4", "The answer is empty.", "Fill it in.")
    spec = runs.spec(Path("/nowhere"), "chat", "lora")
    with pytest.raises(DataError, match="The answer is empty"):
        store.create(spec, Prepared([], [problem], [], [], [problem]))
    assert store.listed() == [] and not list(home.runs().glob("2*"))


def test_a_disk_without_room_is_told_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(CHECKOUT)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_000_000))
    with pytest.raises(MachineError, match=r"The disk has 10 MB free; a run needs at least 200 MB\."):
        made("finish")
    assert store.listed() == []


def test_a_run_that_can_not_be_written_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.examples_file, "save", full)
    with pytest.raises(MachineError, match="No space left on device"):
        made("finish")
    assert store.listed() == [] and not [path for path in home.runs().iterdir() if path.is_dir()]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_runs_can_be_read_by_their_owner_alone() -> None:
    run = made("finish")
    assert stat.S_IMODE(home.runs().stat().st_mode) == stat.S_IMODE(run.folder.stat().st_mode) == 0o700


def test_a_model_folder_is_named_in_full_since_the_worker_looks_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    run = store.create(runs.spec(Path("base"), "chat", "lora"), prepared())
    assert run.spec().model.id == str((tmp_path / "base").resolve())


def test_a_new_name_outlives_the_index() -> None:
    run = made("finish", name="before")
    store.rename(run, "after: größer")
    for file in home.runs().glob("index.sqlite*"):
        file.unlink()
    assert store.get(run.id).name == "after: größer"


def test_a_running_run_is_not_deleted_and_a_stopped_one_is() -> None:
    run = made("wait")
    queue.start(run)
    at_work(run)
    with pytest.raises(RunError, match="Stop it first"):
        store.delete(store.get(run.id))
    queue.stop(run)
    comes_to(run, "stopped")
    store.delete(store.get(run.id))
    assert not run.folder.exists() and store.listed() == []


def test_a_run_that_another_went_on_from_is_not_deleted_before_it() -> None:
    first = made("finish")
    queue.start(first)
    comes_to(first, "finished")
    (first.folder / "model").mkdir(exist_ok=True)
    spec = first.spec().as_dict()
    later = store.create(RunSpec.parse({**spec, "name": "later", "model": {"id": f"run:{first.id}"}}), prepared())
    with pytest.raises(RunError, match=r"'later' .* went on from this run"):
        store.delete(first)
    store.delete(later)
    store.delete(first)
    assert not first.folder.exists()


def test_a_run_whose_folder_was_removed_by_hand_can_be_deleted() -> None:
    run = made("finish")
    shutil.rmtree(run.folder)
    assert store.listed() == []
    store.delete(run)
    with pytest.raises(RunError, match="There is no run"):
        store.delete(run)


def test_a_run_that_can_not_be_deleted_stays_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = made("finish")

    def refused(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refused)
        with pytest.raises(MachineError, match="can't be deleted: Permission denied"):
            store.delete(run)
    assert [found.id for found in store.listed()] == [run.id]


WRITES = """
from tests.fakes.living import made
for _ in range(25):
    made("finish")
"""


def test_four_writers_at_once_lose_nothing() -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITES], cwd=CHECKOUT) for _ in range(4)]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    assert len(store.listed()) == 100


def lose_index() -> None:
    for file in home.runs().glob("index.sqlite*"):
        file.unlink()


def test_what_a_person_says_of_a_run_outlives_the_index() -> None:
    run = made("finish")
    store.annotate(run, name="  bank   helper ", note=" For Friday.\n", tags=["Paper", "bank ", "", "paper"])
    lose_index()
    again = store.get(run.id)
    assert (again.name, again.note, again.tags) == ("bank helper", "For Friday.", ("Paper", "bank"))


def test_what_is_not_said_anew_stays() -> None:
    run = made("finish")
    store.annotate(run, note="A note.", tags=["one"])
    store.annotate(run, name="other")
    again = store.get(run.id)
    assert (again.name, again.note, again.tags, again.owner) == ("other", "A note.", ("one",), run.owner)
    store.annotate(run, note="", tags=[])
    assert (store.get(run.id).note, store.get(run.id).tags) == ("", ())


def test_all_that_does_not_fit_is_told_at_once() -> None:
    run = made("finish", name="kept")
    with pytest.raises(SettingError) as caught:
        store.annotate(run, name=" ", note="x" * 4001, tags=["y" * 31, "a,b"])
    told = "\n".join(caught.value.problems)
    assert all(part in told for part in ("name is empty", "4,001 letters", "31 letters", "comma"))
    assert store.get(run.id).name == "kept"


def test_a_search_looks_into_names_notes_tags_ids_and_models() -> None:
    first, second = made("finish", name="Bank"), made("finish", name="Poems")
    store.annotate(second, note="About GRÖSSE", tags=["Verse"])
    assert [run.id for run in store.listed(search="größe")] == [second.id]
    assert [run.id for run in store.listed(search=" verse ")] == [second.id]
    assert [run.id for run in store.listed(search=first.id[-8:])] == [first.id]
    assert len(store.listed(search="nowhere")) == 2 and store.listed(search="/nowhere") == []


def test_no_more_runs_are_listed_than_are_asked_for() -> None:
    ids = [made("finish").id for _ in range(3)]
    assert [run.id for run in store.listed(most=2)] == ids[:0:-1]


def test_a_run_is_about_its_model_method_and_data_without_places(tmp_path: Path) -> None:
    values = runs.spec(Path("/nowhere"), "chat", "lora").as_dict()
    entry = {"source": str(tmp_path / "bank.csv")}
    run = store.create(RunSpec.parse({**values, "data": [entry, entry, entry]}), prepared())
    assert run.about == store.get(run.id).about == About("nowhere", "chat", "lora", "bank.csv and 2 more")


def test_what_an_older_run_is_about_is_read_from_its_spec() -> None:
    run = made("finish")
    record = read_json(run.folder / "run.json") or {}
    write_json(run.folder / "run.json", {name: record[name] for name in ("id", "owner", "name", "created")})
    lose_index()
    again = store.get(run.id)
    assert again.known is None and (again.about.objective, again.note, again.tags) == ("chat", "", ())
