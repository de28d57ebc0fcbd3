"""Each data set of a run learned by itself: the same rows and split, and a comparison for each set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.__main__ import main
from engine.data import example as examples_file
from engine.errors import DataError, RunError, UserError
from engine.runs import alone, chains, store
from engine.runs.worker import main as work
from engine.specs.spec import RunSpec, of_spec
from tests.fakes import models, runs
from tests.fakes.finished import settled


def file(place: Path, name: str, labels: list[str], rows: int = 30) -> dict[str, Any]:
    lines = "".join(
        f"{name} {labels[row % len(labels)]} number {row},{labels[row % len(labels)]}\n" for row in range(rows)
    )
    (place / f"{name}.csv").write_text(f"text,label\n{lines}", encoding="utf-8")
    return {"source": str(place / f"{name}.csv"), "split": {"test": 0.2}}


def values(place: Path, *data: dict[str, Any], tuner: Any = "biases", **objective: Any) -> dict[str, Any]:
    return {
        "name": "both",
        "model": {"id": str(models.tiny_encoder(place / "tiny"))},
        "data": list(data),
        "objective": {"name": "classify", **objective},
        "tuner": tuner,
        "mixture": {"by": "equal", "weights": [2, 1]},
        "training": {"max_steps": 2, "batch_size": 2, "max_tokens": 48, "precision": "float32", "learning_rate": 1e-2},
        "launch": {"threads": 1},
    }


def made(place: Path, *data: dict[str, Any], **further: Any) -> store.Run:
    spec = RunSpec.parse(values(place, *data, **further))
    return store.create(spec, of_spec(spec))


def learned(run: store.Run) -> store.Run:
    """After its worker's work, in this process."""
    assert work(run.folder) == 0, runs.events(run.folder)[-1]
    return settled(run)


def test_each_set_is_learned_alone_and_compared_with_all_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = [file(tmp_path, "letters", ["a", "b"]), file(tmp_path, "calls", ["b", "c"]) | {"task": "phone calls"}]
    run = learned(made(tmp_path, *data, heads="separate", prefix=True))
    assert alone.could_be(run)

    monkeypatch.setattr(chains, "start", lambda chain: [learned(store.get(link.run)) for link in chain.links])
    assert main(["alone", run.id, "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])  # what workers print stands before it
    assert (found["state"], found["whole"]["run"], found["whole"]["title"]) == ("finished", run.id, "All together")
    assert [stage["title"] for stage in found["stages"]] == ["letters.csv alone", "phone calls alone"]
    assert [told["headline"].partition(":")[0] for told in found["verdicts"]] == ["letters.csv", "phone calls"]
    # Of each set, all its held-out rows were answered by both.
    assert all("On the 6 held-out rows that both answered" in told["sentence"] for told in found["verdicts"])
    every = examples_file.load(run.folder / "examples.jsonl")
    for source, stage in enumerate(found["stages"]):
        single = store.get(stage["run"])
        rows = examples_file.load(single.folder / "examples.jsonl")
        own = [row for row in every if row.source == source]
        assert [(row.row, row.split, row.text, row.label) for row in rows] == [
            (row.row, row.split, row.text, row.label) for row in own
        ]
        assert all(row.before for row in own) and not any(row.before for row in rows)
        assert single.name == f"both: {stage['title']}" and single.spec().mixture.weights == []
    chain = chains.get(found["id"])
    assert chains.beside(run.id) == chain and chains.of(run.id) is None and not alone.could_be(run)
    assert main(["show", chain.id]) == 0
    assert "All together: " in (out := capsys.readouterr().out) and found["verdicts"][1]["sentence"] in out
    with pytest.raises(RunError, match="compared with each data set alone already"):
        alone.singles(run)
    # What it stands beside is no part of it.
    assert main(["delete", chain.id]) == 0 and [kept.id for kept in store.listed()] == [run.id]
    assert alone.could_be(run)


def test_what_can_not_be_learned_alone_is_told_by_name(tmp_path: Path) -> None:
    two, one = file(tmp_path, "letters", ["a", "b"]), file(tmp_path, "calls", ["c"])
    with pytest.raises(DataError, match=r"All rows of calls.csv have the same answer, 'c'"):
        alone.singles(made(tmp_path, two, one))
    single = {**values(tmp_path, two), "mixture": {}}
    spec = RunSpec.parse(single)
    with pytest.raises(RunError, match="learns from one data set"):
        alone.singles(store.create(spec, of_spec(spec)))
    prompts = made(tmp_path, two, file(tmp_path, "notes", ["c", "d"]), tuner="multitask-prompt")
    with pytest.raises(UserError, match="needs at least 2 data sets"):
        alone.singles(prompts)
    assert chains.listed() == []


def test_sets_of_marked_words_can_be_learned_alone(tmp_path: Path) -> None:
    data = []
    for name, words in (("people", ("Ada", "Omar")), ("places", ("Oslo", "Lima"))):
        lines = [
            {"text": f"{word} is named in row {row}", "entities": [[0, len(word), name]]}
            for row in range(20)
            for word in words
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        data.append({"source": str(tmp_path / f"{name}.jsonl"), "split": {"test": 0.2}})
    found = alone.singles(made(tmp_path, *data))
    assert [one.name for one in found] == ["people.jsonl", "places.jsonl"]
    assert all(row.marks for one in found for row in one.rows.examples)


def test_where_a_run_can_not_be_made_none_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(tmp_path, file(tmp_path, "letters", ["a", "b"]), file(tmp_path, "calls", ["b", "c"]))
    found = alone.singles(run)
    create, calls = store.create, []

    def breaks(*given: Any) -> store.Run:
        calls.append(given)
        if len(calls) == 2:
            raise DataError("No room.", "")
        return create(*given)

    monkeypatch.setattr(store, "create", breaks)
    with pytest.raises(DataError, match="No room"):
        chains.create_singles(run, found)
    assert [kept.id for kept in store.listed()] == [run.id] and chains.listed() == []
