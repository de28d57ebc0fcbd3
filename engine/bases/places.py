"""Where in a model's layers something can be attached, from the names of its modules. Needs no torch.

Scripts hold this source. The names are those of the usual families: BERT, RoBERTa, ELECTRA, DistilBERT, ModernBERT;
Llama, Mistral, Qwen, Gemma, OPT, GPT-2, GPT-NeoX, Phi.
"""

import re
from collections.abc import Iterable

LAYER = re.compile(r"(?:^|\.)(?:layers|layer|h)\.(\d+)\.(.+)$")
ATTENTION_END = (
    "self_attn.o_proj self_attn.out_proj self_attn.dense attention.output.dense attention.dense attention.out_lin "
    "attn.c_proj attn.Wo"
).split()
FORWARD_BEGIN = (
    "mlp.up_proj mlp.gate_up_proj mlp.fc1 fc1 mlp.c_fc mlp.dense_h_to_4h intermediate.dense ffn.lin1 mlp.Wi"
).split()
FORWARD_END = "mlp.down_proj mlp.fc2 fc2 mlp.c_proj mlp.dense_4h_to_h output.dense ffn.lin2 mlp.Wo".split()
KEYS = (
    "self_attn.k_proj self_attn.qkv_proj attention.self.key attention.query_key_value attention.k_lin attn.c_attn "
    "attn.Wqkv"
).split()


def in_layers(names: Iterable[str], ends: list[str], layers: int) -> list[str]:
    """The module of each layer that is called by one of these ends, from the lowest; none where a layer lacks it."""
    found: dict[int, str] = {}
    for name in names:
        match = LAYER.search(name)
        if match and match[2] in ends:
            if int(match[1]) in found:
                return []
            found[int(match[1])] = name
    return [found[layer] for layer in sorted(found)] if sorted(found) == list(range(layers)) else []


def adapter_places(names: Iterable[str], placement: str, layers: int, top: int | None) -> list[dict[str, str | None]]:
    """After which modules adapters stand, and what they read where it is not that module's output.

    top: only in so many layers, counted from the uppermost.
    """
    names = list(names)
    first = max(0, layers - (top or layers))
    forward = in_layers(names, FORWARD_END, layers)[first:]
    if placement == "parallel":
        begins = in_layers(names, FORWARD_BEGIN, layers)[first:]
        return [{"after": end, "reads": begin} for begin, end in zip(begins, forward, strict=False)]
    attention = in_layers(names, ATTENTION_END, layers)[first:] if placement == "houlsby" else []
    if (placement == "houlsby" and not attention) or not forward:
        return []
    return [{"after": name, "reads": None} for name in attention + forward]


def attention_places(names: Iterable[str], layers: int) -> list[str]:
    """Each layer's attention module: what holds the layer that makes keys."""
    return [name.rsplit(".", 1)[0] for name in in_layers(names, KEYS, layers)]
