"""The fast path: LoRA by a forward and a backward pass written by hand, held to what PEFT and autograd make of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.compute import rows_apart
from engine.compute.fast import body as fast
from engine.compute.fast import numbers, parts
from engine.compute.fast.stack import Stack
from engine.home import CHECKOUT
from engine.planning.paths import ALL

WORDS = 101
SHAPE = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 80,
    "vocab_size": WORDS,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "llama with biases": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("MistralConfig", {"sliding_window": 64}),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", {"head_dim": 16}),
}
LENGTHS = (7, 1, 12)
Found = tuple[Any, dict[str, Any]]


def made(family: str = "llama", dtype: str = "float32", **lora: Any) -> Any:
    """A small model with LoRA of which nothing is as it begins."""
    import peft
    import torch
    import transformers

    name, further = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, name)(**SHAPE, **further)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    for place, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.data = 0.1 * torch.randn_like(parameter) + ("norm" in place)
    model = model.to(getattr(torch, dtype)).requires_grad_(False)
    settings = {"r": 4, "lora_alpha": 12, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | lora
    model = peft.get_peft_model(model, peft.LoraConfig(**settings))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = 0.1 * torch.randn(parameter.shape)
    return model.train()


def ids(rows: int = 3, tokens: int = 11) -> Any:
    import torch

    return torch.randint(WORDS, (rows, tokens), generator=torch.Generator().manual_seed(3))


def learned(model: Any, given: Any, **further: Any) -> Found:
    """What comes out of the model's body, and the gradients of what learns by name."""
    import torch

    model.zero_grad()
    narrow = next(p for p in model.parameters() if not p.requires_grad).dtype
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=narrow == torch.bfloat16):
        out = parts.body_of(model)(input_ids=given, use_cache=False, **further).last_hidden_state.float()
    out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(4)))
    return out.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def apart(found: Found, true: Found) -> tuple[float, float]:
    """How far results and gradients are apart, of their norm."""
    import torch

    assert found[1].keys() == true[1].keys()
    joined = [torch.cat([one.flatten() for one in gradients.values()]) for _, gradients in (found, true)]
    return tuple(float((one - other).norm() / other.norm()) for one, other in ((found[0], true[0]), tuple(joined)))  # type: ignore[return-value]


def taken(model: Any, level: int = 0, wide: bool = False) -> None:
    """The fast path in place, untried."""
    import torch

    body = parts.body_of(model)
    body.forward = fast._forward(body, body.forward, torch.float32, Stack(body, torch.float32, level, wide))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("level", range(ALL + 1))
@pytest.mark.parametrize("family", FAMILIES)
def test_results_and_gradients_are_those_of_autograd(family: str, level: int, wide: bool) -> None:
    model = made(family)
    true = learned(model, ids())
    taken(model, level, wide)
    assert max(apart(learned(model, ids()), true)) < 1e-5
    assert max(apart(learned(model, ids(1, 5)), learned(made(family), ids(1, 5)))) < 1e-5  # of any shape


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["k_proj", "down_proj"], ["o_proj", "up_proj"]])
def test_layers_without_an_addition_are_joined_to_those_with_one(targets: list[str], wide: bool) -> None:
    model = made(target_modules=targets, rank_pattern={targets[0]: 2}, use_rslora=True)
    true = learned(model, ids())
    taken(model, wide=wide)
    assert max(apart(learned(model, ids()), true)) < 1e-5


@pytest.mark.parametrize("wide", [False, True])
def test_a_base_of_4_bits_is_unpacked_for_each_product(wide: bool, tmp_path: Path) -> None:
    import peft
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig

    torch.manual_seed(0)
    shape = SHAPE | {"hidden_size": 64, "intermediate_size": 128}  # blocks are 64 wide
    AutoModelForCausalLM.from_config(LlamaConfig(**shape)).save_pretrained(tmp_path)
    few = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    base = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=few, attn_implementation="sdpa")
    settings = peft.LoraConfig(r=4, lora_alpha=12, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(base.requires_grad_(False), settings).train()
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.requires_grad_(True)
            parameter.data = 0.1 * torch.randn(parameter.shape)
    true = learned(model, ids())
    packed = parts.body_of(model).layers[0].mlp.up_proj.base_layer.weight
    if wide:
        taken(model, level=2, wide=True)
    else:
        assert fast.use(model, torch.float32, level=2)
    assert max(apart(learned(model, ids()), true)) < 1e-5
    assert parts.body_of(model).layers[0].mlp.up_proj.base_layer.weight is packed and packed.dtype == torch.uint8


def test_an_addition_learns_beside_one_that_stays() -> None:
    """As with PiSSA, which takes away from the base what it begins as."""
    import peft
    import torch

    model = made(lora_alpha=4)
    further = peft.LoraConfig(r=2, lora_alpha=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    model.add_adapter("second", further)
    model.base_model.set_adapter(["default", "second"])
    for name, parameter in model.named_parameters():
        if ".second." in name:
            parameter.data = 0.1 * torch.randn(parameter.shape)
            parameter.requires_grad_(False)
    true = learned(model, ids())
    assert fast.use(model, torch.float32)
    assert max(apart(learned(model, ids()), true)) < 1e-5
    assert not any(".second." in name for name in true[1])


@pytest.mark.parametrize("level", [0, 3, ALL])
def test_rows_in_one_sequence_are_learned_as_each_by_itself(level: int) -> None:
    import torch

    given, model = ids(1, sum(LENGTHS)), made()
    out, gradients = [], dict[str, Any]()
    above = torch.randn(1, sum(LENGTHS), SHAPE["hidden_size"], generator=torch.Generator().manual_seed(4))
    for row, own in zip(given[0].split(LENGTHS), above[0].split(LENGTHS), strict=True):
        model.zero_grad()
        out.append(parts.body_of(model)(input_ids=row[None], use_cache=False).last_hidden_state)
        out[-1].backward(own[None])
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                gradients[name] = gradients.get(name, 0) + parameter.grad
    assert rows_apart.use(model) and fast.use(model, torch.float32, level)
    positions = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    further = rows_apart.given(model.get_base_model(), positions)
    assert max(apart(learned(model, given, **further), (torch.cat(out, dim=1).detach(), gradients))) < 1e-5


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_in_bfloat16_it_errs_no_more_than_the_usual_way(family: str) -> None:
    """Against float32: the issue asks for errors within those of plain bfloat16."""
    import torch

    model, quick = made(family, "bfloat16"), made(family, "bfloat16")
    assert fast.use(quick, torch.bfloat16)
    plain, found = torch.zeros(2), torch.zeros(2)
    for shape in ((4, 40), (8, 20), (2, 90)):
        true = learned(made(family), ids(*shape))
        plain += torch.tensor(apart(learned(model, ids(*shape)), true))
        found += torch.tensor(apart(learned(quick, ids(*shape)), true))
    assert (found < 1.5 * plain).all()  # of so few numbers, chance decides on a part


def curve(dtype: str, quick: bool = False, shifted: float = 0.0) -> Any:
    """Losses of 200 steps. shifted: by what share additions differ at the start, at random."""
    import torch

    model = made(dtype=dtype)
    model.get_output_embeddings().weight.data.mul_(15)  # as it begins it can hardly tell words apart
    assert not quick or fast.use(model, getattr(torch, dtype))
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.data *= 1 + shifted * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(6))
    optimizer = torch.optim.AdamW(learning, lr=1e-3, fused=True)
    losses, draw = [], torch.Generator().manual_seed(5)
    for _ in range(200):
        first, step = (torch.randint(1, most, (4, 1), generator=draw) for most in (40, 4))
        some = (first + step * torch.arange(9)) % 40
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = model(input_ids=some, labels=some, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return torch.tensor(losses)


@pytest.mark.parametrize(("dtype", "rounding"), [("float32", 1e-6), ("bfloat16", 4e-3)])
def test_two_hundred_steps_learn_the_same(dtype: str, rounding: float) -> None:
    """No further from the usual way than that is from itself, once its start was changed by what is lost to rounding."""
    usual, quick = curve(dtype), curve(dtype, quick=True)
    noise = (curve(dtype, shifted=rounding) - usual).abs().view(10, 20).mean(dim=1)
    found = (quick - usual).abs().view(10, 20).mean(dim=1)
    assert usual[-20:].mean() < usual[:20].mean() - 0.3  # it learns
    assert (usual[:20] - quick[:20]).abs().max() < 20 * rounding
    assert found.max() < 3 * noise.max(), (found, noise)


def test_what_an_optimizer_or_a_checkpoint_puts_in_place_is_used_at_once() -> None:
    import torch

    model, other = made(), made()
    assert fast.use(model, torch.float32)
    for one in (model, other):
        with torch.no_grad():
            for parameter in one.parameters():
                if parameter.requires_grad:
                    parameter.data.mul_(1.5)  # leaves no trace in its version
    assert max(apart(learned(model, ids()), learned(other, ids()))) < 1e-5


def test_weights_are_held_once_and_stay_as_they_are() -> None:
    import torch

    model, true = made(), made()
    assert fast.use(model, torch.float32)
    learned(model, ids())
    for (name, one), (_, other) in zip(model.named_parameters(), true.named_parameters(), strict=True):
        assert torch.equal(one, other), name
    attention = parts.body_of(model).layers[0].self_attn
    places = {getattr(attention, f"{name}_proj").base_layer.weight.untyped_storage().data_ptr() for name in "qkv"}
    assert len(places) == 1


@pytest.mark.parametrize(
    "case", ["no gradients", "evaluation", "a mask", "a cache", "vectors in place of words", "hidden states", "window"]
)
def test_what_it_is_not_made_for_is_computed_as_ever(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import DynamicCache

    model, true = (made("mistral" if case == "window" else "llama") for _ in range(2))
    assert fast.use(model, torch.float32)
    monkeypatch.setattr(Stack, "__call__", lambda *_: pytest.fail("it was computed on the fast path"))
    body, other = parts.body_of(model), parts.body_of(true)
    given: dict[str, Any] = {"input_ids": ids(1, 80) if case == "window" else ids()}
    if case == "a mask":
        given["attention_mask"] = torch.ones(3, 11, dtype=torch.long)
    elif case == "vectors in place of words":
        given = {"inputs_embeds": other.embed_tokens(ids())}
    elif case == "hidden states":
        given["output_hidden_states"] = True
    elif case == "evaluation":
        body.eval()
        other.eval()
    found = []
    for one in (body, other):
        cached = {"past_key_values": DynamicCache(config=one.config)} if case == "a cache" else {}
        with torch.set_grad_enabled(case != "no gradients"):
            found.append(one(**given, **cached).last_hidden_state)
    assert torch.allclose(*found, atol=1e-5)


def _norm(model: Any) -> None:
    parts.body_of(model).layers[0].input_layernorm.weight.requires_grad_(True)


def _words(model: Any) -> None:
    parts.body_of(model).embed_tokens.weight.requires_grad_(True)


def _hook(model: Any) -> None:
    parts.body_of(model).layers[2].mlp.register_forward_hook(lambda *_: None)


def _eager(model: Any) -> None:
    parts.body_of(model).config._attn_implementation = "eager"


def _attention_dropout(model: Any) -> None:
    model.get_base_model().config.attention_dropout = 0.1


@pytest.mark.parametrize("change", [_norm, _words, _hook, _eager, _attention_dropout])
def test_a_model_of_which_something_else_learns_or_looks_on_stays_as_it_is(change: Any) -> None:
    import torch

    model = made()
    change(model)
    assert not fast.use(model, torch.float32) and "forward" not in vars(model.get_base_model().model)


@pytest.mark.parametrize("lora", [{"lora_dropout": 0.1}, {"use_dora": True}])
def test_other_kinds_of_additions_are_left_to_their_library(lora: dict[str, Any]) -> None:
    import torch

    assert not fast.use(made(**lora), torch.float32)


def test_other_formats_and_families_are_left_alone() -> None:
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config

    assert not fast.use(made(), torch.bfloat16)
    config = GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=WORDS)
    assert not fast.use(AutoModelForCausalLM.from_config(config), torch.float32)


@pytest.mark.parametrize("fault", ["wrong", "impossible"])
def test_where_a_trial_shows_something_else_the_usual_way_is_kept(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine whose kernels are wrong, or aren't there."""
    import torch

    true = learned(made(), ids())
    right = numbers.turned

    def turned(x: Any, cos: Any, sin: Any) -> Any:
        if fault == "impossible":
            raise NotImplementedError("no kernel for it")
        return right(x, cos, 1.5 * sin)

    monkeypatch.setattr(numbers, "turned", turned)
    model = made()
    assert not fast.use(model, torch.float32)
    assert len(parts.body_of(model).layers) == SHAPE["num_hidden_layers"]
    assert max(apart(learned(model, ids()), true)) < 1e-6


@pytest.fixture(scope="module")
def interpreted() -> dict[str, float]:
    """How far Triton's kernels are from torch's operations, run by Triton's interpreter in a process of its own."""
    triton = Path(sys.prefix) / "kernels"
    assert triton.exists(), "Triton is not in its folder; `python tests/run.py` puts it there"
    paths = os.pathsep.join([str(CHECKOUT), str(triton)])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths}
    command = [sys.executable, "-m", "tests.fakes.interpreted_kernels"]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="Triton is there for Linux alone")
def test_kernels_do_what_torchs_operations_do(interpreted: dict[str, float]) -> None:
    assert len(interpreted) == 22
    for name, furthest in interpreted.items():
        assert furthest < (2e-2 if "bfloat16" in name else 1e-5), name


def test_where_kernels_fail_torchs_operations_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    import torch

    class Fault(Exception):
        pass

    def broken(*given: Any) -> Any:
        raise Fault("it can't be compiled here")

    assert fast._ways(torch.device("cpu")) == [numbers]
    monkeypatch.setattr(fast, "_ways", lambda device: [types.SimpleNamespace(rms=broken, FAULTS=(Fault,)), numbers])
    model = made()
    true = learned(model, ids())
    assert fast.use(model, torch.float32)
    assert max(apart(learned(model, ids()), true)) < 1e-5
