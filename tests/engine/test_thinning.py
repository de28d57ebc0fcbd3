"""A model that is made of some of another's layers: what is left, what it answers, and what can't be taken apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engine.bases import models, thinning
from engine.data.prepare import Prepared
from engine.errors import ModelError, SettingError
from engine.export import export
from engine.machine import Machine
from engine.planning import planner, stacking
from engine.publishing import origin, push
from engine.runs import store
from engine.runs.worker import main as work
from engine.settings import parse
from engine.specs.sections import Model
from engine.specs.spec import RunSpec
from tests.engine.compute.test_script import alone
from tests.fakes import models as tiny
from tests.fakes import runs

MAKERS = {"llama": tiny.tiny_decoder, "gpt2": tiny.tiny_gpt2, "bert": tiny.tiny_encoder}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("whole")
    return {name: make(place / name, layers=5) for name, make in MAKERS.items()}


@pytest.fixture(autouse=True)
def _own_cache(empty_cache: Path) -> None:
    """Models that are made here are kept nowhere else."""


def section(folder: Path, keep: int = 3) -> Model:
    return Model(id=str(folder), keep_layers=keep)


def made(folder: Path, keep: int = 3) -> Path:
    return models.ensure(section(folder, keep), lambda text: None)


def spec(folder: Path, objective: str, tuner: str, keep: int = 3) -> RunSpec:
    values = runs.spec(folder, objective, tuner).as_dict()
    return RunSpec.parse({**values, "model": {"id": str(folder), "keep_layers": keep}})


def test_kept_layers_are_evenly_spaced_with_both_ends() -> None:
    assert thinning.places(30, 15)[:3] == [0, 2, 4] and thinning.places(30, 15)[-2:] == [27, 29]
    assert thinning.places(5, 3) == [0, 2, 4] and thinning.places(12, 2) == [0, 11]
    assert all(len(set(thinning.places(n, k))) == k for n in range(2, 40) for k in range(2, n + 1))


@pytest.mark.parametrize("name", MAKERS)
def test_it_gives_what_the_model_gives_whose_other_layers_are_deleted_by_hand(
    name: str, whole: dict[str, Path]
) -> None:
    import torch
    from torch import nn
    from transformers import AutoModel

    by_hand, smaller = (AutoModel.from_pretrained(place).eval() for place in (whole[name], made(whole[name])))
    inside = by_hand.encoder if name == "bert" else by_hand
    kind = {"llama": "layers", "gpt2": "h", "bert": "layer"}[name]
    setattr(inside, kind, nn.ModuleList([getattr(inside, kind)[place] for place in (0, 2, 4)]))
    by_hand.config.num_hidden_layers = 3
    ids = torch.arange(8, 40).reshape(2, 16)
    with torch.no_grad():
        ours, theirs = (model(ids, **({} if name == "bert" else {"use_cache": False})) for model in (smaller, by_hand))
    assert torch.equal(ours.last_hidden_state, theirs.last_hidden_state)


@pytest.mark.parametrize("name", MAKERS)
def test_facts_are_those_of_the_folder_that_is_made(name: str, whole: dict[str, Path]) -> None:
    told, found = models.facts(section(whole[name])), models.folder_facts(made(whole[name]), "made")
    for what in ("layers", "tensors", "linears", "biases", "parameters", "config", "has_mlm_head", "tied"):
        assert getattr(told, what) == getattr(found, what), what
    assert (told.layers, told.made_of) == (3, 5)
    assert models.facts(section(whole[name], 5)).made_of == 0 and made(whole[name], 5) == whole[name]


def test_it_is_made_once_and_anew_where_the_model_changed(whole: dict[str, Path], tmp_path: Path) -> None:
    told: list[str] = []
    first = models.ensure(section(whole["llama"], 4), told.append)
    assert models.ensure(section(whole["llama"], 4), told.append) == first and len(told) == 1
    other = shutil.copytree(whole["llama"], tmp_path / "other")
    before = made(other)
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-4}), encoding="utf-8")
    assert made(other) != before


def test_a_model_in_several_files_becomes_one(whole: dict[str, Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(whole["llama"]).save_pretrained(tmp_path / "parts", max_shard_size="40KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    one, other = (load_file(made(place) / "model.safetensors") for place in (tmp_path / "parts", whole["llama"]))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_lists_that_speak_of_layers_are_thinned_and_no_others() -> None:
    config = {"n_layer": 3, "layer_types": ["a", "b", "c"], "eos_token_id": [1, 2, 3], "no_rope_layers": [1, 0, 1]}
    assert thinning.thinned_config(config, [0, 2]) == {
        "n_layer": 2,
        "layer_types": ["a", "c"],
        "eos_token_id": [1, 2, 3],
        "no_rope_layers": [1, 1],
    }


def test_what_can_not_be_made_is_refused_with_the_reason(whole: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="has 5 layers, of which 6 can't be kept"):
        models.facts(section(whole["llama"], 6))
    with pytest.raises(SettingError, match="or 2 and more"):
        parse(Model, {"id": "x", "keep_layers": 1}, "model")
    names = [f"model.layers.{place}.weight" for place in range(4)]
    with pytest.raises(ModelError, match="mlp_only_layers"):
        thinning.chosen("it", {"num_hidden_layers": 4, "mlp_only_layers": [0]}, names, 2)
    kinds = {"num_hidden_layers": 4, "sliding_window_pattern": 2}
    with pytest.raises(ModelError, match="sliding_window_pattern"):
        thinning.chosen("it", kinds, names, 2)
    assert thinning.chosen("it", {**kinds, "layer_types": ["a", "b", "a", "b"]}, names, 2) == [0, 3]
    with pytest.raises(ModelError, match="can't be told apart"):
        thinning.chosen("albert", {"num_hidden_layers": 4}, ["shared.weight"], 2)


def test_the_plan_says_what_the_model_is_made_of_and_counts_that_alone(whole: dict[str, Path]) -> None:
    here = Machine("cpu", 2, 16 * 10**9, 14 * 10**9, 10**11, True)
    smaller, all_of_it = spec(whole["llama"], "chat", "full"), runs.spec(whole["llama"], "chat", "full")
    plans = [planner.make(one, models.facts(one.model), [40] * 9, here) for one in (smaller, all_of_it)]
    assert "made of 3 of the 5 layers" in " ".join(plans[0].reasons)
    assert plans[0].memory_bytes < plans[1].memory_bytes


def test_an_adapter_on_it_is_whole_without_the_program_and_its_script_too(
    whole: dict[str, Path], tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from engine.compute.result import open_result

    folder = runs.folder(tmp_path / "run", spec(whole["llama"], "chat", "lora"))
    assert work(folder) == 0
    _, ours = open_result(folder)
    result = folder / "model"
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(result / "base"), result).eval()
    ids = torch.arange(8, 24)[None]
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, ours(ids).logits)
    _, losses = alone(folder, tmp_path / "run-out" / "base")
    told = [e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]
    assert [losses[0], losses[-1]] == pytest.approx([told[0], told[-1]], rel=1e-4)


def test_a_whole_result_holds_the_smaller_model_alone(whole: dict[str, Path], tmp_path: Path) -> None:
    folder = runs.folder(tmp_path / "run", spec(whole["bert"], "classify", "full"))
    assert work(folder) == 0
    assert models.folder_facts(folder / "model", "it").layers == 3
    assert not (folder / "model" / "base").exists() and (folder / "base" / "model.safetensors").exists()
    assert (export(folder, "script", tmp_path / "out") / "base" / "config.json").exists()


def test_going_on_with_additions_needs_all_layers_and_a_name_says_what_was_kept(whole: dict[str, Path]) -> None:
    run = store.create(spec(whole["llama"], "chat", "lora"), Prepared(runs.examples("messages"), [], [], []))
    (run.folder / "model").mkdir()
    values = spec(whole["llama"], "chat", "lora").as_dict()
    values["model"] = {"id": f"run:{run.id}", "continued": True, "keep_layers": 3}
    assert "leaves some out" in str(stacking.refusal(RunSpec.parse(values)))
    assert models.facts(Model(id=f"run:{run.id}")).layers == 3
    base = origin.base(Model(id="embedded:smollm2-135m", keep_layers=15))
    assert "made of 15 layers" in base.note and not base.exact


def test_what_stands_on_it_is_pushed_as_merged_weights_alone(whole: dict[str, Path]) -> None:
    run = store.create(spec(whole["llama"], "chat", "lora"), Prepared(runs.examples("messages"), [], [], []))
    assert work(run.folder) == 0
    with pytest.raises(SettingError, match="nobody else has") as told:
        push.begin(run, push.Request("me/it", True, False), None)
    assert told.value.fix == "Push merged weights."


def test_merged_weights_of_what_stands_on_it_are_the_smaller_model(whole: dict[str, Path], tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from engine.compute.result import open_result, save_result
    from tests import test_matrix

    learned = test_matrix.trained(runs.folder(tmp_path / "run", spec(whole["llama"], "chat", "lora")))
    save_result(learned.job, learned.model)
    merged = export(tmp_path / "run", "merged", tmp_path / "merged")
    assert not (merged / "base").exists() and models.folder_facts(merged, "it").layers == 3
    alone = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()
    _, ours = open_result(tmp_path / "run")
    _, before = open_result(tmp_path / "run", base=True)
    ids = torch.arange(8, 24)[None]
    with torch.no_grad():
        torch.testing.assert_close(alone(ids).logits, ours(ids).logits, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(alone(ids).logits, before(ids).logits, rtol=1e-4, atol=1e-5)
