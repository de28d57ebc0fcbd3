"""Attention of short rows on a processor: torch's results, and its gradients, within what bfloat16 rounds."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from engine.compute import short_rows

SIZE = 16
HEADS = [(6, 2), (4, 4)]
"""Of queries, and of keys and values."""


def drawn(heads: tuple[int, int], tokens: int, keys: int, rows: int = 3) -> tuple[list[Any], Any]:
    """Query, key and value in bfloat16, and a gradient from above."""
    import torch

    torch.manual_seed(1)
    shapes = [(rows, heads[0], tokens, SIZE), *[(rows, heads[1], keys, SIZE)] * 2]
    given = [torch.randn(shape).bfloat16().requires_grad_() for shape in shapes]
    return given, torch.randn(shapes[0]).bfloat16()


def masks(tokens: int, keys: int, heads: int, rows: int = 3) -> dict[str, Any]:
    import torch

    seen = torch.rand(rows, 1, tokens, keys, generator=torch.Generator().manual_seed(2)) > 0.4
    seen[..., 0] = True
    return {
        "none": None,
        "pairs": seen,
        "added": torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min),
        "heads": seen.expand(-1, heads, -1, -1).clone(),
    }


def apart(found: Any, true: Any) -> float:
    return float((found.detach().double() - true).norm() / true.norm())


def exact(given: list[Any], above: Any, mask: Any, causal: bool) -> list[Any]:
    """What comes out and the gradients, in float64."""
    import torch

    wide = [one.detach().double().requires_grad_() for one in given]
    mask = mask.double() if mask is not None and mask.dtype != torch.bool else mask
    out = torch.nn.functional.scaled_dot_product_attention(*wide, mask, 0.0, causal, enable_gqa=True)
    out.backward(above.double())
    return [out.detach(), *(one.grad for one in wide)]


@pytest.mark.parametrize("name", ["none", "causal", "pairs", "added", "heads"])
@pytest.mark.parametrize("heads", HEADS)
def test_results_and_gradients_are_those_of_float64_within_rounding(name: str, heads: tuple[int, int]) -> None:
    tokens = keys = 19
    given, above = drawn(heads, tokens, keys)
    mask, causal = masks(tokens, keys, heads[0]).get(name), name == "causal"
    out = short_rows.attention(*given, mask, causal)
    out.backward(above)
    true = exact(given, above, mask, causal)
    assert max(apart(found, one) for found, one in zip([out, *(one.grad for one in given)], true, strict=True)) < 8e-3


def test_many_rows_are_gone_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    given, above = drawn((6, 2), 19, 19)
    seen = []
    for at_once in (short_rows.AT_ONCE, 1):
        monkeypatch.setattr(short_rows, "AT_ONCE", at_once)
        for one in given:
            one.grad = None
        short_rows.attention(*given, causal=True).backward(above)
        seen.append([one.grad for one in given])
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))


def test_a_token_that_sees_nothing_learns_nothing() -> None:
    import torch

    given, above = drawn((4, 4), 5, 5)
    mask = torch.ones(3, 1, 5, 5, dtype=torch.bool)
    mask[0, :, 2] = False
    short_rows.attention(*given, mask).backward(above)
    assert all(torch.isfinite(one.grad).all() for one in given)
    assert not given[0].grad[0, :, 2].any()


def test_more_keys_than_tokens_as_behind_a_prefix() -> None:
    given, above = drawn((6, 2), 7, 11)
    mask = masks(7, 11, 6)["pairs"]
    out = short_rows.attention(*given, mask)
    out.backward(above)
    true = exact(given, above, mask, causal=False)
    assert max(apart(found, one) for found, one in zip([out, *(one.grad for one in given)], true, strict=True)) < 8e-3


@pytest.mark.parametrize(
    "case", ["short", "long", "float32", "nothing learns", "dropout", "bias", "softcap", "a mask that learns"]
)
def test_whatever_else_comes_is_computed_as_ever(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is not made for goes to transformers' own function, with everything that was given."""
    import torch

    own = []
    monkeypatch.setattr(short_rows, "attention", lambda query, *_, **__: own.append(1) or query)
    monkeypatch.setattr(short_rows, "sdpa_attention_forward", lambda *given, **more: ((given, more), None))
    tokens = short_rows.SHORT + 1 if case == "long" else 5
    given, _ = drawn((4, 4), tokens, tokens)
    more: dict[str, Any] = {"sliding_window": None}
    mask = None
    if case == "float32":
        given = [one.float() for one in given]
    elif case == "nothing learns":
        given = [one.detach() for one in given]
    elif case == "dropout":
        more["dropout"] = 0.1
    elif case == "bias":
        more["position_bias"] = torch.zeros(1)
    elif case == "softcap":
        more["softcap"] = 30.0
    elif case == "a mask that learns":
        mask = torch.zeros(3, 1, 5, 5, requires_grad=True)
    found, _ = short_rows.attend(SimpleNamespace(is_causal=True), *given, mask, **more)
    assert bool(own) == (case == "short")
    if case != "short":
        passed_on, further = found
        assert passed_on[1] is given[0] and passed_on[4] is mask and passed_on[5] == more.pop("dropout", 0.0)
        assert further.items() >= more.items()


@pytest.mark.parametrize(("device", "compute"), list(product(("cpu", "cuda"), ("float32", "bfloat16"))))
def test_only_for_bfloat16_on_a_processor(device: str, compute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registered = []
    monkeypatch.setattr(short_rows.AttentionInterface, "register", lambda name, function: registered.append(name))
    short_rows.use(device, compute)
    assert registered == (["sdpa"] if (device, compute) == ("cpu", "bfloat16") else [])
