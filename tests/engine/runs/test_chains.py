"""Chains of runs, with real supervisors and a fake worker: their order, what holds them up, what takes them up again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine import home
from engine.errors import DataError, RunError
from engine.runs import chains, links, queue, store
from engine.runs.chains import Chain
from engine.runs.index import index
from engine.runs.stages import Stages
from engine.runs.store import Run
from tests.fakes import runs
from tests.fakes.living import at_work, attempts, comes_to, has_checkpoint, killed, living, prepared, until


def plan(count: int = 3, compare: Any = False) -> Stages:
    first = runs.spec(Path("/nowhere"), "chat", "lora").as_dict()
    later = [{name: value for name, value in first.items() if name != "model"}] * (count - 1)
    return Stages.parse({"stages": [first, *later], "compare": compare})


def chained(*orders: list[str], compare: Any = False, owner: str = "local") -> tuple[Chain, list[Run]]:
    """A chain whose workers obey these orders, and its runs."""
    made = plan(len(orders) - bool(compare), compare)
    chain = chains.create(made, [prepared()] * len(made.specs), owner)
    found = [run for run in chains.runs(chain) if run is not None]
    for run, order in zip(found, orders, strict=True):
        (run.folder / "orders.json").write_text(json.dumps(order), encoding="utf-8")
    return chain, found


def state(run: Run) -> str:
    return store.get(run.id).state


def set_state(run: Run, value: str) -> None:
    with index() as rows:
        rows.execute("UPDATE runs SET state = ? WHERE id = ?", (value, run.id))


def test_each_stage_starts_when_the_one_before_has_finished_without_anybody_looking() -> None:
    chain, (first, second, third) = chained(["wait"], ["finish"], ["finish"])
    chains.start(chain)
    at_work(first)
    assert (state(second), state(third)) == ("created", "created")
    assert chains.picture(chain)["says"] == "Stage 1 (1 of 3) is at work."
    (first.folder / "go").touch()
    until(lambda: state(third) == "finished")  # only the supervisors did it
    ends = [json.loads((run.folder / "exit.json").read_text())["time"] for run in (first, second, third)]
    assert ends == sorted(ends) and chains.at(chain) is None
    assert store.get(second.id).about.model == f"run:{first.id}"
    told = chains.picture(chain)
    assert (told["state"], [stage["after"] for stage in told["stages"]]) == ("finished", [0.9] * 3)


def test_the_stage_without_those_before_it_comes_last_and_has_the_same_rows() -> None:
    chain, (first, second, alone) = chained(["finish"], ["finish"], ["finish"], compare=2)
    assert [link.title for link in chain.links] == ["Stage 1", "Stage 2", "Stage 2 without stage 1"]
    assert alone.about.model == first.about.model
    assert (alone.folder / "examples.jsonl").read_bytes() == (second.folder / "examples.jsonl").read_bytes()
    differing = {name for name, value in second.spec().as_dict().items() if alone.spec().as_dict()[name] != value}
    assert differing == {"name", "model"}
    chains.start(chain)
    comes_to(alone, "finished")
    assert state(second) == "finished"


def test_what_comes_after_a_stage_that_broke_waits_and_goes_on_when_that_is_resumed() -> None:
    chain, (_, second, third) = chained(["finish"], ["user-error", "finish"], ["finish"])
    chains.start(chain)
    comes_to(second, "failed")
    queue.reconcile()
    told = chains.picture(chain)
    assert state(third) == "created" and told["state"] == "waiting"
    assert told["says"] == "Stage 2 (2 of 3) broke; what comes after it waits. Resume it to go on."
    assert told["stages"][2]["waits"] == "waits until stage 2 is resumed"
    queue.resume(second)
    comes_to(third, "finished")
    assert attempts(second) == 2


def test_a_chain_is_stopped_and_resumed() -> None:
    chain, (first, second) = chained(["wait", "finish"], ["finish"])
    chains.start(chain)
    at_work(first)
    chains.stop(chain)
    comes_to(first, "stopped")
    queue.reconcile()
    assert state(second) == "created"
    with pytest.raises(RunError, match="Nothing of this chain is on its way"):
        chains.stop(chain)
    assert chains.resume(chain).id == first.id
    comes_to(second, "finished")
    with pytest.raises(RunError, match="All of this chain has finished"):
        chains.resume(chain)


def test_a_stop_between_two_stages_holds_the_next_one() -> None:
    chain, (first, second) = chained(["finish"], ["finish"])
    set_state(first, "finished")
    chains.stop(chain)
    queue.reconcile()
    assert state(second) == "stopped" and attempts(second) == 0
    chains.resume(chain)
    comes_to(second, "finished")


def test_a_supervisor_that_ended_before_it_let_the_next_stage_in_is_made_up_for() -> None:
    _, (first, second) = chained(["finish"], ["finish"])
    set_state(first, "finished")  # its last word to the index, and no more
    assert state(second) == "created"
    comes_to(second, "finished")


def test_a_chain_that_was_written_and_not_started_is_started_by_whoever_looks_next() -> None:
    _, (first, second) = chained(["finish"], ["finish"])
    comes_to(second, "finished")
    assert state(first) == "finished"


def test_a_killed_stage_is_taken_up_again_and_the_chain_goes_on() -> None:
    chain, (first, second) = chained(["wait-checkpoints", "finish"], ["finish"])
    chains.start(chain)
    worker = at_work(first)
    has_checkpoint(first, 2)
    killed(living(first, "supervisor"))
    killed(worker)
    comes_to(second, "finished")
    assert attempts(first) == 2 and attempts(second) == 1


def test_a_chain_goes_on_with_an_index_that_was_lost() -> None:
    chain, (first, second, third) = chained(["finish"], ["wait"], ["finish"])
    chains.start(chain)
    at_work(second)
    for file in home.runs().glob("index.sqlite*"):
        file.unlink()
    assert (state(first), state(second), state(third)) == ("finished", "running", "created")
    (second.folder / "go").touch()
    comes_to(third, "finished")


def test_a_later_stage_is_not_started_by_hand_before_its_turn() -> None:
    chain, (first, second) = chained(["wait"], ["finish"])
    with pytest.raises(RunError, match="This is stage 2 of a chain, and stage 1 has not finished"):
        queue.start(second)
    chains.start(chain)
    at_work(first)
    (first.folder / "go").touch()
    comes_to(second, "finished")


def test_a_stage_that_a_later_one_needs_is_not_deleted_and_a_chain_is_deleted_as_a_whole() -> None:
    chain, (first, second) = chained(["wait"], ["finish"])
    chains.start(chain)
    at_work(first)
    with pytest.raises(RunError, match="Stop the chain first"):
        chains.delete(chain)
    chains.stop(chain)
    comes_to(first, "stopped")
    with pytest.raises(RunError, match="went on from this run and needs it"):
        store.delete(first)
    chains.delete(chain)
    assert store.listed() == [] and chains.listed() == []
    with pytest.raises(RunError, match="There is no chain"):
        chains.get(chain.id)
    assert second.folder.exists() is False


def test_what_comes_after_a_deleted_run_does_not_start_by_itself_and_an_empty_chain_is_forgotten() -> None:
    chain, (first, second, alone) = chained(["finish"], ["user-error"], ["finish"], compare=2)
    chains.start(chain)
    comes_to(second, "failed")
    store.delete(second)
    queue.reconcile()
    told = chains.picture(chain)
    assert state(alone) == "created" and told["state"] == "broken"
    assert told["stages"][2]["waits"] == "does not start by itself, since stage 2 was deleted"
    with pytest.raises(RunError, match="stage 2 was deleted"):
        chains.resume(chain)
    queue.start(alone)  # it needs nothing of the others
    comes_to(alone, "finished")
    for run in (alone, first):
        store.delete(run)
    queue.reconcile()
    assert chains.listed() == []


def test_a_chain_that_can_not_be_made_leaves_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    create, made = store.create, []

    def second_fails(*given: Any) -> Run:
        made.append(given)
        if len(made) == 2:
            raise DataError("Row 3 has no answer.")
        return create(*given)

    monkeypatch.setattr(store, "create", second_fails)
    with pytest.raises(DataError):
        chains.create(plan(), [prepared()] * 3)
    assert store.listed() == [] and chains.listed() == []


def test_a_chain_is_its_owners() -> None:
    chain, _ = chained(["finish"], ["finish"], owner="somebody")
    assert chains.get(chain.id, "somebody") == chain
    assert [chains.listed(name) for name in ("somebody", "local")] == [[chain], []]
    with pytest.raises(RunError, match="There is no chain"):
        chains.get(chain.id, "local")


def test_a_damaged_or_strange_file_is_no_chain() -> None:
    chain, (first, _) = chained(["finish"], ["finish"])
    place = home.runs() / "chains" / f"{chain.id}.json"
    place.write_text("{cut", encoding="utf-8")
    (place.parent / "chain-notes.json").write_text("{}", encoding="utf-8")
    assert chains.listed() == [] and chains.of(first.id) is None
    with pytest.raises(RunError, match="There is no chain"):
        links.get("chain-../../../etc")
