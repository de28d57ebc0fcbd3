"""A decoder layer, forward and backward by hand, which keeps of each token as little as is wanted.

Levels of recomputing, each with what the backward pass then makes again:

    0   nothing
    1   gate and up
    2   also query, key and value
    3   also attention's output
    4   all, from what the layer read
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

from engine.compute.fast import attention, numbers
from engine.compute.fast.attention import Rows
from engine.compute.fast.parts import part
from engine.compute.fast.products import Joined, Rooms
from engine.planning.paths import ALL


@dataclass(frozen=True)
class Places:
    """Where tokens stand. cos, sin: of their positions, (tokens, 1, size / 2)."""

    cos: torch.Tensor
    sin: torch.Tensor
    rows: Rows


@dataclass(frozen=True)
class Kept:
    """What a layer keeps for its backward pass; None is made again. Norms' scales are (tokens, 1), float32."""

    read: torch.Tensor
    """The residual stream as it comes in, (tokens, width)."""
    first: torch.Tensor
    """Scale of the norm before attention."""
    narrow: torch.Tensor
    """x A' of query, key and value, (tokens, t), as of the other products below."""
    joined: torch.Tensor | None
    """Query, key and value as they were before norms of heads and positions, (tokens, outputs)."""
    found: tuple[torch.Tensor, Any] | None
    """Attention's output, (tokens, heads, size), and what its backward pass needs besides."""
    narrow_out: torch.Tensor
    middle: torch.Tensor
    """The residual stream after attention."""
    second: torch.Tensor
    """Scale of the norm after it."""
    narrow_gates: torch.Tensor
    gates: torch.Tensor | None
    """Gate and up, (tokens, 2 * inner)."""
    narrow_down: torch.Tensor


Saved: TypeAlias = Kept | torch.Tensor
"""A tensor is what a layer read, from which all is made again."""
Gradients = dict[nn.Parameter, torch.Tensor]


class Layer:
    """layer: of a model, whose linear layers are all as `parts.part` takes them; its weights become views of others."""

    def __init__(self, layer: Any, dtype: torch.dtype, wide: bool, shared: Rooms) -> None:
        own, inner = layer.self_attn, layer.mlp
        self.norms = [layer.input_layernorm, layer.post_attention_layernorm]
        self.of_heads = [getattr(own, name, None) for name in ("q_norm", "k_norm")]
        self.size, self.scale = own.head_dim, own.scaling

        def joined(wide: bool, *layers: Any) -> Joined:
            return Joined([one for one in map(part, layers) if one is not None], dtype, wide, shared)

        self.qkv = joined(wide, own.q_proj, own.k_proj, own.v_proj)
        self.out = joined(False, own.o_proj)
        self.gate_up = joined(wide, inner.gate_proj, inner.up_proj)
        self.down = joined(wide, inner.down_proj)
        self.ways: Any = numbers
        """What computes all but products and attention: `numbers`, or `kernels`, which has the same functions."""
        self.window = getattr(own, "sliding_window", getattr(own.config, "sliding_window", None))

    @property
    def products(self) -> list[Joined]:
        return [self.qkv, self.out, self.gate_up, self.down]

    def forward(self, read: torch.Tensor, places: Places, level: int) -> tuple[torch.Tensor, Saved]:
        """The residual stream after this layer, (tokens, width), and what is kept of it: what was read, if no more."""
        first = self.ways.rms(read, self.norms[0].variance_epsilon)
        joined, narrow = self.qkv.forward(self._normed(0, read, first, self.qkv))
        found, beside = attention.forward(self._turned(joined, places), places.rows, self.scale)
        added, narrow_out = self.out.forward(found.flatten(1))
        middle = added.add_(read)
        second = self.ways.rms(middle, self.norms[1].variance_epsilon)
        gates, narrow_gates = self.gate_up.forward(self._normed(1, middle, second, self.gate_up))
        room = self.down.room(len(read))
        self.ways.gated(gates, room[:, : self.down.inputs])
        added, narrow_down = self.down.forward(room)
        after = added.add_(middle)
        if level >= ALL:
            return after, read
        kept = Kept(
            read=read,
            first=first,
            narrow=narrow,
            joined=joined if level < 2 else None,
            found=(found, beside) if level < 3 else None,
            narrow_out=narrow_out,
            middle=middle,
            second=second,
            narrow_gates=narrow_gates,
            gates=gates if level < 1 else None,
            narrow_down=narrow_down,
        )
        return after, kept

    def backward(self, above: torch.Tensor, kept: Saved, places: Places, into: Gradients) -> torch.Tensor:
        """The gradient of the residual stream before this layer. above: of that after it; it is overwritten.

        Gradients of what learns are written to `into`.
        """
        if isinstance(kept, torch.Tensor):
            _, again = self.forward(kept, places, 0)
            return self.backward(above, again, places, into)
        above = self._behind_gates(above, kept, into)
        return self._behind_attention(above, kept, places, into)

    def _behind_gates(self, above: torch.Tensor, kept: Kept, into: Gradients) -> torch.Tensor:
        middle, second, gates = kept.middle, kept.second, kept.gates
        if gates is None:
            gates, _ = self.gate_up.forward(self._normed(1, middle, second, self.gate_up), kept.narrow_gates)
        below, narrow = self.down.backward(above)
        inner = self.ways.gated_gradient(below, gates)  # `gates` holds their gradients from here on
        into.update(self.down.learned(above, kept.narrow_down, narrow.t() @ inner))
        found, narrow = self.gate_up.backward(gates)
        into.update(self.gate_up.learned(gates, kept.narrow_gates, self._of_left(narrow, 1, middle, second)))
        return self._through_norm(above, found, 1, middle, second)

    def _behind_attention(self, above: torch.Tensor, kept: Kept, places: Places, into: Gradients) -> torch.Tensor:
        read, first, joined = kept.read, kept.first, kept.joined
        if joined is None:
            joined, _ = self.qkv.forward(self._normed(0, read, first, self.qkv), kept.narrow)
        given = self._turned(joined, places)
        found, beside = kept.found or attention.forward(given, places.rows, self.scale)
        below, narrow = self.out.backward(above)
        into.update(self.out.learned(above, kept.narrow_out, narrow.t() @ found.flatten(1)))
        three = attention.backward(below.view_as(found), given, found, beside, places.rows, self.scale)
        of_joined = self._turned_back(three, joined, places)
        below, narrow = self.qkv.backward(of_joined)
        into.update(self.qkv.learned(of_joined, kept.narrow, self._of_left(narrow, 0, read, first)))
        return self._through_norm(above, below, 0, read, first)

    def _normed(self, which: int, x: torch.Tensor, scale: torch.Tensor, reader: Joined) -> torch.Tensor:
        """What `reader` reads, with the room that it wants behind it."""
        room = reader.room(len(x))
        self.ways.normed(x, self.norms[which].weight, scale, room[:, : x.shape[1]])
        return room

    def _of_left(self, narrow: torch.Tensor, which: int, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """The gradient of A, (t, width), of layers that read a norm of x. narrow: that of x A'.

        The norm's output is not made again for it: its scale and weight are multiplied to what is smaller.
        """
        scaled = torch.mul(narrow, scale).to(x.dtype)
        return (scaled.t() @ x).mul_(self.norms[which].weight)

    def _through_norm(
        self, above: torch.Tensor, found: torch.Tensor, which: int, x: torch.Tensor, scale: torch.Tensor
    ) -> torch.Tensor:
        """The gradient of the stream before a norm, `found` being that behind it, and `above` what passes by it."""
        added: torch.Tensor = self.ways.add_norm_gradient(above, found, x, self.norms[which].weight, scale)
        return added

    def _turned(self, joined: torch.Tensor, places: Places) -> attention.Three:
        query, key, value = (one.view(len(joined), -1, self.size) for one in _split(joined, self.qkv))
        if self.of_heads[0] is not None:
            query, key = (self._of_head(one, norm) for one, norm in zip((query, key), self.of_heads, strict=True))
        turned = (self.ways.turned(one, places.cos, places.sin) for one in (query, key))
        return (*turned, value.contiguous())

    def _turned_back(self, three: attention.Three, joined: torch.Tensor, places: Places) -> torch.Tensor:
        """The gradient of query, key and value as they were joined, of that of `_turned`'s results."""
        found = torch.empty_like(joined)
        for own, above, given, norm in zip(
            _split(found, self.qkv), three, _split(joined, self.qkv), [*self.of_heads, None], strict=True
        ):
            back = above if above is three[2] else self.ways.turned(above, places.cos, -places.sin)
            if norm is not None:
                heads = given.view(len(joined), -1, self.size)
                back = self.ways.norm_gradient(back, heads, norm.weight, self.ways.rms(heads, norm.variance_epsilon))
            own.copy_(back.flatten(1))
        return found

    def _of_head(self, heads: torch.Tensor, norm: Any) -> torch.Tensor:
        into = torch.empty(heads.shape, dtype=heads.dtype, device=heads.device)
        found: torch.Tensor = self.ways.normed(heads, norm.weight, self.ways.rms(heads, norm.variance_epsilon), into)
        return found


def _split(joined: torch.Tensor, of: Joined) -> list[torch.Tensor]:
    return [joined[:, begin:end] for begin, end in zip(of.edges, of.edges[1:], strict=False)]
