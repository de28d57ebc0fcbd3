"""Rows in one sequence, kept apart without a mask: the same as with one, and as each row by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.compute import rows_apart
from engine.planning.jobs import open_job
from engine.runs.worker import main as work
from tests.fakes import models, runs

MODELS = {"decoder": models.tiny_decoder, "biased-decoder": models.tiny_biased_decoder}
LENGTHS = (7, 1, 12)


def packed(model: Any) -> tuple[Any, Any]:
    """Token ids and positions of three rows in one sequence."""
    import torch

    ids = torch.randint(1, model.config.vocab_size, (1, sum(LENGTHS)), generator=torch.Generator().manual_seed(1))
    return ids, torch.cat([torch.arange(length) for length in LENGTHS])[None]


def loaded(place: Path, kind: str = "decoder") -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(MODELS[kind](place / kind), attn_implementation="sdpa").eval()


def logits(model: Any) -> Any:
    ids, positions = packed(model)
    return model(input_ids=ids, use_cache=False, **rows_apart.given(model, positions)).logits


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", MODELS)
def test_logits_and_gradients_are_those_of_each_row_by_itself(kind: str, checkpointing: bool, tmp_path: Path) -> None:
    import torch

    model = loaded(tmp_path, kind)
    ids, positions = packed(model)
    assert rows_apart.given(model, positions).keys() == {"position_ids"}  # nothing is changed unasked
    assert rows_apart.use(model) and model.config._attn_implementation == rows_apart.NAME
    if checkpointing:
        model.train()
        newer = getattr(model, "activation_checkpointing_enable", None)
        (newer or model.gradient_checkpointing_enable)({"use_reentrant": False})
    above = torch.randn(1, sum(LENGTHS), model.config.vocab_size, generator=torch.Generator().manual_seed(2))
    seen = []
    for together in (True, False):
        model.zero_grad()
        if together:
            found = logits(model)
        else:
            rows = ids[0].split(LENGTHS)
            found = torch.cat([model(input_ids=row[None], use_cache=False).logits for row in rows], dim=1)
        found.backward(above)
        seen.append([found.detach(), *(p.grad.clone() for p in model.parameters())])
    for ours, alone in zip(*seen, strict=True):
        torch.testing.assert_close(ours, alone, rtol=1e-3, atol=1e-4)


def test_no_mask_of_all_pairs_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(tmp_path)
    assert rows_apart.use(model)
    masks: list[Any] = []
    usual = rows_apart.attend

    def watched(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **further: Any) -> Any:
        masks.append(attention_mask.numel())
        return usual(module, query, key, value, attention_mask, **further)

    rows_apart.AttentionInterface.register(rows_apart.NAME, watched)
    try:
        logits(model)
    finally:
        rows_apart.AttentionInterface.register(rows_apart.NAME, usual)
    assert masks == [1] * model.config.num_hidden_layers


def test_padded_rows_and_written_words_are_as_ever(tmp_path: Path) -> None:
    import torch

    model = loaded(tmp_path)
    ids, _ = packed(model)
    mask = torch.ones_like(ids)
    mask[:, :4] = 0
    asked = {"input_ids": ids, "attention_mask": mask, "max_new_tokens": 6, "do_sample": False}
    before = model(input_ids=ids, attention_mask=mask).logits, model.generate(**asked)
    assert rows_apart.use(model)
    torch.testing.assert_close(model(input_ids=ids, attention_mask=mask).logits, before[0])
    assert model.generate(**asked).equal(before[1])


@pytest.mark.parametrize("window", [3, 5, 50])
def test_a_window_is_heeded_within_each_row(window: int) -> None:
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(1)
    config = MistralConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=80, sliding_window=window, attn_implementation="sdpa",
    )  # fmt: skip
    model: Any = MistralForCausalLM(config).eval()
    ids, _ = packed(model)
    alone = torch.cat([model(input_ids=row[None]).logits for row in ids[0].split(LENGTHS)], dim=1)
    assert rows_apart.use(model)
    torch.testing.assert_close(logits(model), alone, rtol=1e-4, atol=1e-5)


def test_a_model_that_does_not_hand_on_where_rows_end_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(tmp_path)
    forward = model.model.forward
    monkeypatch.setattr(
        model.model, "forward", lambda **given: forward(**{k: v for k, v in given.items() if not k.startswith("cu_")})
    )
    assert rows_apart.use(model) is False
    assert model.config._attn_implementation == rows_apart.USUAL
    monkeypatch.setattr(model.config, "_attn_implementation", "eager")
    assert rows_apart.use(model) is False


def test_a_packed_run_learns_what_a_padded_one_does_and_leaves_no_trace(tmp_path: Path) -> None:
    base = models.tiny_decoder(tmp_path / "base")
    losses = []
    for packing in ("on", "off"):
        spec = runs.spec(base, "chat", "full", max_steps=6, packing=packing, precision="float32")
        folder = runs.folder(tmp_path / packing, spec)
        assert work(folder) == 0, runs.events(folder)[-1]
        assert open_job(folder, lambda text: None).plan.packing is (packing == "on")
        events = runs.events(folder)
        losses.append({e["step"]: e["loss"] for e in events if e["type"] == "progress" and e.get("loss") is not None})
        assert not any("mask" in e["text"] for e in events if e["type"] == "notice")
        assert rows_apart.NAME not in json.dumps(json.loads((folder / "model" / "config.json").read_text("utf-8")))
    # Not every step is told, but the last one is.
    both = losses[0].keys() & losses[1].keys()
    assert 6 in both and all(losses[0][step] == pytest.approx(losses[1][step], rel=1e-4) for step in both)
