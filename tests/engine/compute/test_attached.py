"""Parts of our own in other people's models: adapters, soft prompts and prefixes, over the families that they know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import tuners
from engine.bases import models as model_facts
from engine.bases import parts
from engine.scripts import snippets
from engine.specs.sections import Model
from tests import test_matrix
from tests.fakes import models, runs

WIDE = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
GROUPED = {**WIDE, "num_key_value_heads": 2}
OLD = {"vocab_size": 320, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 16},
    "gemma": {**GROUPED, "head_dim": 16},
    "phi3": GROUPED,
    "gpt_neox": WIDE,
    "gpt2": OLD,
    "opt": {**WIDE, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "bert": WIDE,
    "roberta": WIDE,
    "electra": {**WIDE, "embedding_size": 16},
    "distilbert": {
        "vocab_size": 320,
        "dim": 32,
        "hidden_dim": 64,
        "n_layers": 2,
        "n_heads": 4,
        "max_position_embeddings": 128,
    },
    "modernbert": WIDE,
}
ENCODERS = ("bert", "roberta", "electra", "distilbert", "modernbert")
CHOSEN: dict[str, tuple[str, dict[str, Any]]] = {
    "houlsby": ("adapter", {"placement": "houlsby"}),
    "pfeiffer": ("adapter", {"placement": "pfeiffer", "layers": 1}),
    "parallel": ("adapter", {"placement": "parallel"}),
    "prompt": ("prompt", {"tokens": 5}),
    "p-tuning": ("p-tuning", {"tokens": 5, "encoder": "lstm", "hidden": 8}),
    "prefix": ("prefix", {"tokens": 5}),
    "prefix-network": ("prefix", {"tokens": 5, "reparametrised": True, "hidden": 8}),
}
IDS = [[21, 40, 77, 130, 9, 255, 64, 18, 31], [90, 12, 44, 51, 203, 8, 0, 0, 0]]
MASK = [[1] * 9, [1] * 6 + [0] * 3]


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    place, found = tmp_path_factory.mktemp("families"), {}
    for family, values in FAMILIES.items():
        config = AutoConfig.for_model(family, **values)
        config.bos_token_id, config.eos_token_id, config.pad_token_id = 1, 1, 0
        auto = AutoModel if family in ENCODERS else AutoModelForCausalLM
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            auto.from_config(config).save_pretrained(place / family)
        found[family] = place / family
    return found


def base_of(folder: Path, encoder: bool) -> Any:
    from transformers import AutoModel, AutoModelForCausalLM

    model = (AutoModel if encoder else AutoModelForCausalLM).from_pretrained(folder, attn_implementation="sdpa")
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model.eval()


def changed(model: Any, way: str, seed: int = 1) -> Any:
    name, values = CHOSEN[way]
    tuner = tuners.get(name)
    return tuner.apply(model, tuner.Settings(**values), seed)


def output(model: Any, ids: list[list[int]] = IDS, mask: list[list[int]] = MASK) -> Any:
    import torch

    return model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))[0]


def learned(model: Any) -> Any:
    """The model after its added weights have moved, so that it no longer is what it was."""
    import torch

    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", CHOSEN)
def test_it_learns_what_was_counted_in_every_family(way: str, family: str, families: dict[str, Path]) -> None:
    name, values = CHOSEN[way]
    tuner, facts = tuners.get(name), model_facts.facts(Model(id=str(families[family])))
    settings = tuner.Settings(**values)
    assert tuner.refuses(facts, settings) is None
    model = changed(base_of(families[family], family in ENCODERS), way)
    output(model).float().pow(2).sum().backward()
    own = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert sum(parameter.numel() for parameter in own) == tuner.trainable_parameters(facts, settings)
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in own)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", CHOSEN)
def test_padding_changes_nothing_and_only_real_tokens_come_out(
    way: str, family: str, families: dict[str, Path]
) -> None:
    import torch

    model = learned(changed(base_of(families[family], family in ENCODERS), way))
    with torch.no_grad():
        both, alone = output(model), output(model, [IDS[1][:6]], [[1] * 6])
    assert both.shape[:2] == (2, 9)
    torch.testing.assert_close(both[1:, :6], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert", "modernbert"])
@pytest.mark.parametrize("way", ["houlsby", "pfeiffer", "parallel"])
def test_a_new_adapter_changes_nothing(way: str, family: str, families: dict[str, Path]) -> None:
    import torch

    base = base_of(families[family], family in ENCODERS)
    with torch.no_grad():
        before = output(base)
        assert torch.equal(output(changed(base, way)), before)
        assert not torch.equal(output(learned(base)), before)


def test_a_prompt_that_begins_as_words_is_read_as_those_words(families: dict[str, Path], tmp_path: Path) -> None:
    import torch

    folder = models.tiny_decoder(tmp_path / "base")
    base = base_of(folder, False)
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(folder)("The answer is the name")["input_ids"]
    with torch.no_grad():
        before = output(base, [words + IDS[0]], [[1] * (len(words) + 9)])[:, len(words) :]
        tuner = tuners.get("prompt")
        tuner.apply(base, tuner.Settings(tokens=len(words), text="The answer is the name"), 1)
        torch.testing.assert_close(output(base, IDS[:1], MASK[:1]), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "gpt_neox"])
def test_a_prefix_that_a_network_makes_begins_as_the_one_without(family: str, families: dict[str, Path]) -> None:
    import torch

    with torch.no_grad():
        plain = output(changed(base_of(families[family], False), "prefix"))
        model = changed(base_of(families[family], False), "prefix-network")
        assert torch.equal(output(model), plain)
        assert not torch.equal(output(learned(model)), plain)


GOLDEN = {
    "chat": [5.773569583892822, 5.770738124847412, 5.77152681350708, 5.758195400238037],
    "classify": [1.1145786046981812, 1.1008297204971313, 1.135650873184204, 1.1868609189987183],
}


@pytest.mark.parametrize(("objective", "kind"), [("chat", "decoder"), ("classify", "encoder")])
def test_a_prefix_with_its_network_keeps_the_contract(objective: str, kind: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    name, values = CHOSEN["prefix-network"]
    spec = runs.spec(test_matrix.MODELS[kind](tmp_path / "base"), objective, name, learning_rate=0.3)
    spec = replace(spec, tuner_settings=spec.tuner.Settings(**values))
    run = test_matrix.keeps_its_contract(tmp_path, spec, GOLDEN[objective])
    saved = load_file(run.job.folder / "model" / parts.weights_file("soft_prefix"))
    assert {key.rpartition(".")[2] for key in saved} == {"keys", "values"}
    assert sum(tensor.numel() for tensor in saved.values()) == spec.tuner.saved_parameters(
        run.job.facts, spec.tuner_settings
    )


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "gpt_neox"])
@pytest.mark.parametrize("way", CHOSEN)
def test_generation_is_what_the_likeliest_next_word_gives_again_and_again(
    way: str, family: str, families: dict[str, Path]
) -> None:
    import torch

    model = learned(changed(base_of(families[family], False), way))
    with torch.no_grad():
        ids = torch.tensor(IDS[:1])
        given = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=5,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        for _ in range(5):
            ids = torch.cat([ids, model(input_ids=ids, use_cache=False).logits[:, -1:].argmax(-1)], dim=1)
    assert given.tolist() == ids.tolist()


@pytest.mark.parametrize("way", ["prompt", "prefix", "prefix-network", "p-tuning"])
def test_answers_to_many_are_those_to_each_alone(way: str, tmp_path: Path) -> None:
    """With a beginning that is computed once for all of them, and gaps."""
    from engine.compute.language import answers
    from engine.planning.jobs import open_job

    base = models.tiny_decoder(tmp_path / "base")
    name, values = CHOSEN[way]
    spec = runs.spec(base, "chat", name)
    spec = replace(spec, tuner_settings=spec.tuner.Settings(**values))
    job = open_job(runs.folder(tmp_path / "run", spec), lambda text: None)
    model = learned(changed(base_of(base, False), way))
    shared = list(range(40, 52))
    prompts = [[*shared, 60, 61, 62], [*shared, 70], [*shared, 80, 81]]
    together = answers(job, model, prompts, most_tokens=6)
    assert together == [answers(job, model, [prompt], most_tokens=6)[0] for prompt in prompts]
    assert len(set(together)) > 1


@pytest.mark.parametrize("family", ["llama", "bert"])
@pytest.mark.parametrize("way", CHOSEN)
def test_gradient_checkpointing_gives_the_same_gradients(way: str, family: str, families: dict[str, Path]) -> None:
    import torch

    found = []
    for checkpointing in (False, True):
        model = learned(changed(base_of(families[family], family in ENCODERS), way))
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model.train()
        output(model).float().pow(2).sum().backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", CHOSEN)
def test_it_stands_on_16_bit_weights_without_autocast(way: str, families: dict[str, Path]) -> None:
    import torch

    model = learned(changed(base_of(families["llama"], False).to(torch.bfloat16), way))
    assert output(model).dtype == torch.bfloat16
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}


# The card's code leaves closing its files to Python, as short code does.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("objective", "kind"), [("chat", "decoder"), ("classify", "encoder")])
@pytest.mark.parametrize("way", ["houlsby", "parallel", "prompt", "prefix", "prefix-network", "p-tuning"])
def test_the_cards_code_puts_it_in_place_without_us(
    way: str, objective: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from engine.compute.result import open_result, save_result

    base = test_matrix.MODELS[kind](tmp_path / "base")
    name, values = CHOSEN[way]
    spec = runs.spec(base, objective, name)
    run = runs.folder(tmp_path / "run", replace(spec, tuner_settings=spec.tuner.Settings(**values)))
    trainer = test_matrix.trained(run)
    folder = save_result(trainer.job, trainer.model)
    part = parts.part_in(folder)
    assert part
    source = snippets.Source("a/b", "attached", str(base), on_hub=False, part=part)
    code = snippets.chat(source, []) if objective == "chat" else snippets.classify(source, {"pooling": "mean"}, 64)
    monkeypatch.setitem(
        __import__("sys").modules,
        "huggingface_hub",
        SimpleNamespace(hf_hub_download=lambda repo, name: str(folder / name)),
    )
    made: dict[str, Any] = {}
    load = code.load.replace('from_pretrained("a/b")', f"from_pretrained({str(folder)!r})")
    exec(compile(load, "card", "exec"), made)
    assert "engine" not in load
    job, ours = open_result(run)
    backbone = job.objective.backbone(ours)
    ids = torch.tensor(IDS[:1])
    with torch.no_grad():
        torch.testing.assert_close(
            made["model"].eval()(input_ids=ids)[0], backbone(input_ids=ids)[0], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(("name", "word"), [("adapter", "LoRA"), ("prefix", "LoRA")])
def test_a_model_whose_layers_are_not_found_is_refused(name: str, word: str, tmp_path: Path) -> None:
    facts = model_facts.facts(Model(id=str(models.tiny_decoder(tmp_path / "base"))))
    tuner = tuners.get(name)
    strange = {part.replace("proj", "own"): shape for part, shape in facts.linears.items()}
    reason = tuner.refuses(replace(facts, linears=strange), tuner.Settings())
    assert reason is not None and word in reason and facts.id in reason


def test_adapters_in_more_layers_than_there_are_are_refused(tmp_path: Path) -> None:
    facts = model_facts.facts(Model(id=str(models.tiny_decoder(tmp_path / "base"))))
    tuner = tuners.get("adapter")
    assert "has 2 layers, not 3" in str(tuner.refuses(facts, tuner.Settings(layers=3)))


def test_adapters_of_the_top_layer_leave_the_lower_ones_alone(families: dict[str, Path]) -> None:
    model = changed(base_of(families["llama"], False), "pfeiffer")
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert names and all(name.startswith("model.layers.1.mlp.down_proj.adapter.") for name in names)
