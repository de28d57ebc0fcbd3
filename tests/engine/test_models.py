"""Facts of models from their files, compared with the models that torch loads."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import home
from engine.bases import models
from engine.errors import ModelError
from engine.specs.sections import Model
from tests.fakes import models as fakes
from tests.fakes import runs

CHECKOUT = Path(__file__).resolve().parents[2]
TINY: dict[str, Callable[[Path], Path]] = {
    "llama": fakes.tiny_decoder,
    "qwen2": fakes.tiny_biased_decoder,
    "gpt2": fakes.tiny_gpt2,
    "bert": fakes.tiny_encoder,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of tiny models, each made once."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = TINY[name](tmp_path_factory.mktemp(name))
        return made[name]

    return folder


def _facts(folder: Path) -> models.ModelFacts:
    return models.facts(Model(id=str(folder)))


def _loaded(folder: Path, kind: str) -> Any:
    from transformers import AutoModel, AutoModelForCausalLM

    return (AutoModelForCausalLM if kind == "decoder" else AutoModel).from_pretrained(folder)


def _copy(source: Path, target: Path, **config: Any) -> Path:
    """A copy of a model with some entries of its config changed; None removes one."""
    shutil.copytree(source, target)
    values = json.loads((target / "config.json").read_text()) | config
    (target / "config.json").write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    return target


def _renamed(folder: Path, rename: Callable[[str], str | None]) -> Path:
    """The model with its tensors renamed in the file; None leaves one out."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    save_file({new: tensor for name, tensor in tensors.items() if (new := rename(name))}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("name", TINY)
def test_names_shapes_and_counts_are_those_of_the_loaded_model(tiny: Callable[[str], Path], name: str) -> None:
    facts = _facts(tiny(name))
    parameters = dict(_loaded(tiny(name), facts.kind).named_parameters())
    assert {key: info.shape for key, info in facts.tensors.items()} == {
        key: tuple(p.shape) for key, p in parameters.items()
    }
    assert facts.parameters == sum(p.numel() for p in parameters.values())


@pytest.mark.parametrize("name", TINY)
def test_linear_layers_are_those_that_get_an_addition_from_peft(tiny: Callable[[str], Path], name: str) -> None:
    from peft import LoraConfig, get_peft_model

    facts = _facts(tiny(name))
    model = _loaded(tiny(name), facts.kind)
    model.pooler = None  # as the classifier uses an encoder
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", fan_in_fan_out=name == "gpt2"))
    targets = {
        key.removeprefix("base_model.model.") for key, module in wrapped.named_modules() if hasattr(module, "lora_A")
    }
    assert set(facts.linears) == targets
    trained = sum(p.numel() for p in wrapped.parameters() if p.requires_grad)
    assert 2 * sum(inputs + outputs for outputs, inputs in facts.linears.values()) == trained


@pytest.mark.parametrize(("name", "biased"), [("llama", False), ("qwen2", True), ("gpt2", True), ("bert", True)])
def test_biases_are_found(tiny: Callable[[str], Path], name: str, biased: bool) -> None:
    facts = _facts(tiny(name))
    expected = {
        key: p.numel() for key, p in _loaded(tiny(name), facts.kind).named_parameters() if key.endswith(".bias")
    }
    assert facts.biases == expected
    assert facts.has_biases is biased


@pytest.mark.parametrize(
    ("name", "kind", "tied"), [("llama", "decoder", True), ("qwen2", "decoder", False), ("bert", "encoder", False)]
)
def test_kind_sizes_and_heads_come_from_the_config(
    tiny: Callable[[str], Path], name: str, kind: str, tied: bool
) -> None:
    facts = _facts(tiny(name))
    assert (facts.kind, facts.tied) == (kind, tied)
    assert (facts.layers, facts.hidden, facts.vocabulary, facts.context) == (2, 32, fakes.VOCABULARY, fakes.CONTEXT)
    assert facts.has_lm_head is (kind == "decoder")
    assert not facts.has_mlm_head


def test_gpt2_has_its_sizes_under_names_of_its_own(tiny: Callable[[str], Path]) -> None:
    facts = _facts(tiny("gpt2"))
    assert (facts.layers, facts.hidden, facts.context) == (2, 32, fakes.CONTEXT)
    assert facts.linears["transformer.h.0.attn.c_attn"] == (96, 32)


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_the_chat_template_is_found_in_the_config_and_in_a_file_of_its_own(
    tiny: Callable[[str], Path], name: str
) -> None:
    assert _facts(tiny(name)).chat_template == fakes.CHATML


def test_a_template_among_several_is_the_default_one(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = _copy(tiny("llama"), tmp_path / "m")
    named = [{"name": "tool_use", "template": "b"}, {"name": "default", "template": "a"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert _facts(folder).chat_template == "a"


def test_a_file_without_the_bodys_prefix_gets_the_names_of_the_loaded_model(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = _renamed(_copy(tiny("gpt2"), tmp_path / "m"), lambda name: name.removeprefix("transformer."))
    assert _facts(folder).tensors.keys() == _facts(tiny("gpt2")).tensors.keys()


def test_an_encoder_with_the_bodys_prefix_and_old_names_of_norms_gets_todays_names(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    def old(name: str) -> str:
        return "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    folder = _renamed(_copy(tiny("bert"), tmp_path / "m", architectures=["BertForMaskedLM"]), old)
    assert _facts(folder).tensors.keys() == _facts(tiny("bert")).tensors.keys()


def test_a_masked_language_head_is_found_and_not_counted(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    BertForMaskedLM(BertConfig.from_pretrained(tiny("bert"))).save_pretrained(tmp_path)
    facts = _facts(tmp_path)
    assert facts.has_mlm_head
    assert facts.kind == "encoder"
    assert facts.backbone_parameters == facts.parameters == _facts(tiny("bert")).backbone_parameters


def test_a_head_stored_beside_an_embedding_that_it_shares_is_counted_once(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = _copy(tiny("qwen2"), tmp_path / "m", tie_word_embeddings=True)
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}, folder / "model.safetensors")
    facts = _facts(folder)
    assert facts.tied
    assert facts.parameters == sum(p.numel() for p in _loaded(folder, "decoder").parameters())


def test_a_model_in_several_files_has_the_facts_of_one_in_a_single_file(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    _loaded(tiny("llama"), "decoder").save_pretrained(tmp_path, max_shard_size="40KB")
    assert not (tmp_path / "model.safetensors").exists()
    assert _facts(tmp_path).tensors == _facts(tiny("llama")).tensors


def test_a_missing_shard_is_named(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    _loaded(tiny("llama"), "decoder").save_pretrained(tmp_path, max_shard_size="40KB")
    lost = sorted(tmp_path.glob("model-*.safetensors"))[0]
    lost.unlink()
    with pytest.raises(ModelError, match=lost.name):
        _facts(tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "damaged"),
        (b"\x00" * 4, "damaged"),
        (struct.pack("<Q", 1 << 60) + b"{}", "longer than the file"),
        (struct.pack("<Q", 4) + b"abcd", "damaged"),
        (struct.pack("<Q", 2) + b"[]", "damaged"),
    ],
)
def test_a_damaged_weights_file_is_refused(
    tiny: Callable[[str], Path], tmp_path: Path, content: bytes, told: str
) -> None:
    folder = _copy(tiny("llama"), tmp_path / "m")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=told):
        _facts(folder)


def test_a_weights_file_that_was_cut_off_is_refused(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = _copy(tiny("llama"), tmp_path / "m")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(ModelError, match="ends too early"):
        _facts(folder)


def test_pickle_weights_are_refused(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = _copy(tiny("llama"), tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle"):
        _facts(folder)


def test_quantised_weights_are_refused(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = _copy(tiny("llama"), tmp_path / "m", quantization_config={"quant_method": "gptq"})
    with pytest.raises(ModelError, match="gptq"):
        _facts(folder)


def test_a_models_own_code_is_not_needed_where_transformers_knows_it(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = _copy(tiny("llama"), tmp_path / "m", auto_map={"AutoModel": "modeling_x.X"})
    assert "It is not run" in _facts(folder).notices[0]


def test_a_model_that_lives_by_its_own_code_is_refused(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = _copy(tiny("llama"), tmp_path / "m", auto_map={"AutoModel": "modeling_x.X"}, model_type="made_up")
    with pytest.raises(ModelError, match="never run"):
        _facts(folder)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (
            {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "is_encoder_decoder": True},
            "encoder-decoder",
        ),
        ({"architectures": ["RobertaForMaskedLM"], "model_type": "roberta"}, "encoder"),
        ({"architectures": ["ModernBertForMaskedLM"], "model_type": "modernbert"}, "encoder"),
        ({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}, "decoder"),
        ({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}, "decoder"),
        ({"architectures": ["BertForSequenceClassification"], "model_type": "bert"}, "encoder"),
        ({"model_type": "llama", "num_key_value_heads": 2}, "decoder"),
        ({"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "vision_config": {}}, "unknown"),
        ({"architectures": ["ViTModel"], "model_type": "vit"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_the_kind_follows_from_the_config(tiny: Callable[[str], Path], tmp_path: Path, config: Any, kind: str) -> None:
    folder = _copy(tiny("llama"), tmp_path / "m")
    (folder / "config.json").write_text(json.dumps(config))
    assert _facts(folder).kind == kind


def test_robertas_positions_begin_behind_the_padding_tokens(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = _copy(tiny("bert"), tmp_path / "m", model_type="xlm-roberta", max_position_embeddings=514, pad_token_id=1)
    assert _facts(folder).context == 512


@pytest.mark.parametrize("id", ["./nowhere", "/no/such/folder", "a/b/c", "~/nothing-here", "owner/na me", "..", ""])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(id: str) -> None:
    with pytest.raises(ModelError):
        models.facts(Model(id=id))


def test_a_folder_without_a_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        _facts(tmp_path)


def test_an_adapter_is_no_base_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="adapter"):
        _facts(tmp_path)


def test_a_local_folder_is_its_own_place(tiny: Callable[[str], Path]) -> None:
    assert models.ensure(Model(id=str(tiny("llama"))), print) == tiny("llama")


def left(base: Path, tuner: str, *files: str) -> Path:
    """The result of a run "r1" from `base`: its model folder, with these files."""
    folder = home.runs() / "r1"
    (folder / "model").mkdir(parents=True)
    runs.spec(base, "chat", tuner).save(folder / "spec.yaml")
    for name in files:
        (folder / "model" / name).write_bytes(b"")
    return folder / "model"


def test_a_runs_whole_weights_can_be_started_from(tiny: Callable[[str], Path]) -> None:
    target = left(tiny("llama"), "full")
    shutil.copytree(tiny("llama"), target, dirs_exist_ok=True)
    assert models.facts(Model(id="run:r1")).tensors == _facts(tiny("llama")).tensors
    assert models.ensure(Model(id="run:r1"), print) == target


def test_what_a_run_added_has_the_facts_of_its_base(tiny: Callable[[str], Path]) -> None:
    left(tiny("llama"), "lora", "adapter_config.json")
    base = _facts(tiny("llama"))
    on_top, continued = (models.facts(Model(id="run:r1", continued=value)) for value in (False, True))
    assert on_top.tensors == continued.tensors == base.tensors
    assert on_top.id == "run:r1" and continued.id == str(tiny("llama"))
    assert models.ensure(Model(id="run:r1", continued=True), print) == tiny("llama")


def test_runs_that_come_from_each_other_in_a_circle_are_refused(tiny: Callable[[str], Path]) -> None:
    left(tiny("llama"), "lora", "adapter_config.json")
    spec = home.runs() / "r1" / "spec.yaml"
    spec.write_text(spec.read_text().replace(str(tiny("llama")), "run:r1"))
    with pytest.raises(ModelError, match="more than 8 runs"):
        models.facts(Model(id="run:r1"))


def test_a_run_whose_settings_are_lost_can_not_be_started_from(tiny: Callable[[str], Path]) -> None:
    left(tiny("llama"), "lora", "adapter_config.json")
    (home.runs() / "r1" / "spec.yaml").write_text("tuner: 5")
    with pytest.raises(ModelError, match="settings of run r1 can't be read"):
        models.facts(Model(id="run:r1"))


@pytest.mark.parametrize("id", ["run:none", "run:../..", "run:", "run:a/../b"])
def test_an_unknown_run_is_refused(id: str) -> None:
    with pytest.raises(ModelError, match="no finished run"):
        models.facts(Model(id=id))


def test_facts_of_an_embedded_model_need_no_download(empty_cache: Path) -> None:
    facts = models.facts(Model(id="embedded:smollm2-135m"))
    assert facts.parameters == 134_515_008
    assert facts.chat_template and facts.license == "apache-2.0"
    assert not list(empty_cache.iterdir())


def test_an_unknown_embedded_model_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"Did you mean embedded:minilm\?.*embedded:smollm2-135m"):
        models.facts(Model(id="embedded:minilm2"))


def test_facts_load_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from engine import machine; from engine.bases import models; from engine.planning import planner, memory; from engine.specs.sections import Model;"
        "models.facts(Model(id='embedded:minilm')); machine.inspect();"
        "print(sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.model
@pytest.mark.parametrize("id", ["embedded:smollm2-135m", "embedded:minilm"])
def test_pinned_facts_of_embedded_models_are_those_of_their_files_and_of_the_loaded_model(id: str) -> None:
    pinned = models.facts(Model(id=id))
    folder = models.ensure(Model(id=id), print)
    found = models.folder_facts(folder, id)
    for name in (
        "kind",
        "architecture",
        "tensors",
        "parameters",
        "layers",
        "hidden",
        "vocabulary",
        "context",
        "linears",
    ):
        assert getattr(pinned, name) == getattr(found, name), name
    assert (pinned.biases, pinned.tied, pinned.chat_template) == (found.biases, found.tied, found.chat_template)
    loaded = {key: tuple(p.shape) for key, p in _loaded(folder, pinned.kind).named_parameters()}
    assert {key: info.shape for key, info in pinned.tensors.items()} == loaded


def test_a_tokenizer_is_where_the_model_is_and_nowhere_before_an_embedded_one_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    assert models.tokenizer_folder(Model(id="embedded:smollm2-135m")) is None
    folder = fakes.tiny_decoder(tmp_path / "tiny")
    assert models.tokenizer_folder(Model(id=str(folder))) == folder.resolve()
    with pytest.raises(ModelError, match="no model folder"):
        models.tokenizer_folder(Model(id="./nowhere/at/all"))
