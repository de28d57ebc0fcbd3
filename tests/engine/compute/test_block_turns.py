"""BOFT without dense matrices, held against PEFT's own."""

from __future__ import annotations

import copy
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import models


def tuned(folder: Path, blockwise: bool, factors: int = 1) -> Any:
    """A tiny model with biases under BOFT whose turns are not the identity."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    from engine.compute.block_turns import in_place_of_dense

    config = peft.BOFTConfig(
        boft_block_size=4,
        boft_n_butterfly_factor=factors,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        init_weights=False,
    )
    base = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(1)
    with warnings.catch_warnings(), in_place_of_dense() if blockwise else nullcontext():
        warnings.simplefilter("ignore")  # PEFT's looks for a compiler
        return peft.get_peft_model(base, config).train()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder = models.tiny_biased_decoder(tmp_path_factory.mktemp("turns") / "decoder")
    return tuned(folder, blockwise=False), tuned(folder, blockwise=True)


def test_losses_and_gradients_are_those_of_peft(both: tuple[Any, Any]) -> None:
    import torch

    from engine.compute.block_turns import BlockTurn

    ids = torch.arange(60).reshape(3, 20)
    dense, blockwise = both
    assert any(isinstance(module, BlockTurn) for module in blockwise.modules())
    losses = []
    for model in both:
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        losses.append(loss.detach())
    torch.testing.assert_close(*losses)
    gradients = {name: one.grad for name, one in dense.named_parameters() if one.requires_grad}
    assert gradients
    for name, parameter in blockwise.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-7)


def test_merged_weights_are_those_of_peft(both: tuple[Any, Any]) -> None:
    import torch

    ids = torch.arange(60).reshape(3, 20)
    dense, blockwise = (copy.deepcopy(model).eval() for model in both)
    answers = dense(input_ids=ids).logits
    torch.testing.assert_close(blockwise.merge_and_unload()(input_ids=ids).logits, answers, rtol=1e-4, atol=1e-5)


def test_no_permutation_stays_in_memory(both: tuple[Any, Any]) -> None:
    held = [sum(one.numel() for name, one in model.named_buffers() if name.endswith("boft_P")) for model in both]
    assert held[0] > 10_000
    assert held[1] == 0
