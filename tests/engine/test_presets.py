"""Settings under a name: kept, found by their owner alone, used with other data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import home
from engine.errors import SettingError, UserError
from engine.specs import presets
from engine.specs.spec import RunSpec
from tests.fakes import runs


def spec() -> RunSpec:
    return runs.spec(Path("/nowhere"), "classify", "lora", epochs=7)


def test_a_preset_is_a_spec_without_data_and_name() -> None:
    presets.save("ada", "Quick try", spec())
    found = presets.load("ada", "Quick try")
    whole = spec().as_dict()
    assert found == {part: value for part, value in whole.items() if part not in ("name", "data")}
    again = RunSpec.parse({**found, "data": [{"source": "other.csv"}]})
    assert (again.objective.name, again.training.epochs, again.data[0].source) == ("classify", 7, "other.csv")


def test_a_preset_of_somebody_else_looks_like_none() -> None:
    presets.save("ada", "mine", spec())
    assert presets.listed("bob") == []
    with pytest.raises(UserError, match="There is no preset 'mine'"):
        presets.load("bob", "mine")
    with pytest.raises(UserError, match="There is no preset 'mine'"):
        presets.delete("bob", "mine")
    assert [preset.name for preset in presets.listed("ada")] == ["mine"]


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "../ada", "a/b", "a\\b", ".hidden", "x" * 61, "a\0b", "nul", "COM1", "end.", "-x", "a:b"],
)
def test_a_name_that_is_no_files_name_is_refused(name: str) -> None:
    with pytest.raises(SettingError):
        presets.save("ada", name, spec())
    with pytest.raises(UserError, match="There is no preset"):
        presets.load("ada", name)
    assert not (home.home() / "presets").exists()


def test_names_that_differ_in_capitals_alone_are_one_preset() -> None:
    presets.save("ada", "quick", spec())
    presets.save("ada", "Quick", runs.spec(Path("/nowhere"), "chat", "lora"))
    assert [preset.name for preset in presets.listed("ada")] == ["Quick"]
    assert presets.load("ada", "QUICK")["objective"]["name"] == "chat"


def test_presets_are_listed_by_name_with_what_they_do() -> None:
    for name in ("zebra", "Apfel größer", "middle"):
        presets.save("ada", name, spec())
    found = [preset.as_dict() for preset in presets.listed("ada")]
    assert [preset["name"] for preset in found] == ["Apfel größer", "middle", "zebra"]
    assert {found[0][part] for part in ("model", "objective", "tuner")} == {"/nowhere", "classify", "lora"}


def test_a_preset_that_is_deleted_is_gone() -> None:
    presets.save("ada", "mine", spec())
    presets.delete("ada", "mine")
    assert presets.listed("ada") == []


def test_a_damaged_preset_is_told_and_hides_no_other() -> None:
    presets.save("ada", "good", spec())
    (home.home() / "presets" / "ada" / "bad.yaml").write_text("model: [", encoding="utf-8")
    assert [preset.name for preset in presets.listed("ada")] == ["good"]
    with pytest.raises(UserError, match="The preset 'bad' can't be read"):
        presets.load("ada", "bad")


def test_there_is_a_most_of_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "MOST", 2)
    presets.save("ada", "one", spec())
    presets.save("ada", "two", spec())
    with pytest.raises(SettingError, match="There are 2 presets already"):
        presets.save("ada", "three", spec())
    presets.save("ada", "two", spec())


def test_old_presets_of_visitors_are_swept_up_and_the_hosts_stay() -> None:
    for owner in ("local", "visitor"):
        presets.save(owner, "old", spec())
        presets.save(owner, "new", spec())
        os.utime(home.home() / "presets" / owner / "old.yaml", (1000, 1000))
    presets.sweep("local", oldest=2000)
    assert [len(presets.listed(owner)) for owner in ("local", "visitor")] == [2, 1]


def test_all_presets_of_an_owner_can_be_forgotten() -> None:
    presets.save("visitor", "mine", spec())
    presets.save("local", "mine", spec())
    presets.forget("visitor")
    assert [len(presets.listed(owner)) for owner in ("local", "visitor")] == [1, 0]
