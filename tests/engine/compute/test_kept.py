"""What tuners declare that their work keeps (`engine.planning.memory.Kept`), against what autograd does keep."""

from __future__ import annotations

import warnings
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from engine import tuners
from engine.bases import models
from engine.bases.models import ModelFacts
from engine.methods.tuner import Tuner
from engine.planning import memory
from engine.planning.memory import WIDTH, Kept, Work
from tests.fakes.runs import SMALL

LAYERS, WORDS = 3, 50
SHORT, LONG = 64, 192
"""Tokens."""
DECLARED = [tuner.name for tuner in tuners.all() if tuner.kind == "gradient" and tuner.name != "biases"]
"""Llama, which is measured here, has no biases."""
FEW = {"top-layers": {"layers": 2}, "adapter": {"placement": "houlsby"}}
NEAR = 0.15
SMALL_CHANGE = 100_000
"""Bytes that are no matter beside the model's five million."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama in the proportions of a real one."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=LAYERS,
        num_attention_heads=6,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    place = tmp_path_factory.mktemp("kept")
    LlamaForCausalLM(config).save_pretrained(place)
    return place


class Saved:
    """A tensor that waits for the backward pass; gone where what it was computed for is."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor


def settings(tuner: Tuner) -> Any:
    if tuner.name == "trainable-tokens":
        return tuner.Settled(tokens="a", ids=(3,))  # type: ignore[attr-defined]
    return tuner.Settings(**FEW.get(tuner.name, SMALL.get(tuner.name, {})))


def kept(folder: Path, tuner: Tuner, own: Kept, compute: str) -> tuple[float, float]:
    """Bytes that autograd keeps for each token, and besides."""
    import torch
    from peft.helpers import disable_input_dtype_casting
    from transformers import LlamaForCausalLM

    number = getattr(torch, compute)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = LlamaForCausalLM.from_pretrained(
            folder, dtype=torch.float32 if own.linears == "learning" else number
        )
        model.requires_grad_(False)
        model = tuner.apply(model, settings(tuner), 0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    model.train()
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    layers = [module for module in model.modules() if hasattr(module, "get_base_layer")]
    casts = all(hasattr(layer, "cast_input_dtype_enabled") for layer in layers)

    def held(tokens: int) -> int:
        weights = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()] if not t.is_sparse}
        live: weakref.WeakSet[Saved] = weakref.WeakSet()

        def note(tensor: Any) -> Saved:
            saved = Saved(tensor)
            live.add(saved)
            return saved

        with ExitStack() as around:
            around.enter_context(disable_input_dtype_casting(model, active=casts and compute != "float32"))
            around.enter_context(torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved.tensor))
            around.enter_context(torch.autocast("cpu", dtype=torch.bfloat16, enabled=compute != "float32"))
            out = inner.model(input_ids=torch.randint(WORDS, (1, tokens)), use_cache=False).last_hidden_state
        storages = [(s.tensor._values() if s.tensor.is_sparse else s.tensor).untyped_storage() for s in live]
        kept = {storage.data_ptr(): storage.nbytes() for storage in storages}
        out.float().sum().backward()
        return sum(size for place, size in kept.items() if place not in weights)

    held(SHORT)
    short, long = held(SHORT), held(LONG)
    each = (long - short) / (LONG - SHORT)
    return each, short - SHORT * each


def declared(facts: ModelFacts, tuner: Tuner, own: Kept, compute: str) -> tuple[float, float, float]:
    """The same by what the tuner says; at last with 16-bit casts of all float32 weights, which belong to the format."""
    chosen, width = settings(tuner), WIDTH[compute]
    trained = tuner.trainable_parameters(facts, chosen)
    work = Work(
        facts=facts,
        device="cpu",
        compute=compute,
        weights="float32" if own.linears == "learning" else compute,
        trained=trained,
        trains_base=tuner.trains_base,
        checkpointing=False,
        rows=1,
        tokens=1,
        longest=1,
        learned=0,
        generates=True,
        kept=own,
    )
    token = (own.layers or LAYERS) * memory.layer_token_bytes(work) + own.token
    casts = 0 if width == 4 else width * (trained + tuner.frozen_parameters(facts, chosen))
    step = own.step + token * tuner.virtual_tokens(chosen)
    return token, step, step + casts


@pytest.mark.parametrize("compute", ["bfloat16", "float32"])
@pytest.mark.parametrize("name", DECLARED)
def test_a_tuner_declares_what_autograd_keeps_for_it(name: str, compute: str, folder: Path) -> None:
    import torch

    torch.manual_seed(0)
    facts, tuner = models.folder_facts(folder, "llama"), tuners.get(name)
    own = tuner.kept(facts, settings(tuner), WIDTH[compute])
    token, step = kept(folder, tuner, own, compute)
    said, least, most = declared(facts, tuner, own, compute)
    assert said == pytest.approx(token, rel=NEAR)
    assert (1 - NEAR) * least - SMALL_CHANGE < step < (1 + NEAR) * most + SMALL_CHANGE


@pytest.mark.parametrize("compute", ["bfloat16", "float32"])
def test_a_prefix_declares_what_its_network_keeps(compute: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FEW, "prefix", {"reparametrised": True, "hidden": 4096})
    test_a_tuner_declares_what_autograd_keeps_for_it("prefix", compute, folder)
