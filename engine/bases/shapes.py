"""Shapes of all tensors of the Hub models that the catalog lists, so that they can be planned for unseen."""

from __future__ import annotations

from typing import Any

from engine.bases.catalog import Known


def of(entry: Known) -> dict[str, tuple[int, ...]]:
    """All tensors of a model of the Hub that is listed here, by its config: enough to say what it costs unseen."""
    config, family = entry.config, entry.config["model_type"]
    if family in ("llama", "qwen2"):
        return _decoder_shapes(config, biased=family == "qwen2")
    return _modernbert_shapes(config) if family == "modernbert" else _bert_shapes(config, family)


def _decoder_shapes(config: dict[str, Any], biased: bool) -> dict[str, tuple[int, ...]]:
    hidden, inner, words = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    head = hidden // config["num_attention_heads"]
    narrow = head * config["num_key_value_heads"]
    layer: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj.weight": (hidden, hidden),
        "self_attn.k_proj.weight": (narrow, hidden),
        "self_attn.v_proj.weight": (narrow, hidden),
        "self_attn.o_proj.weight": (hidden, hidden),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
    }
    if biased:
        layer |= {
            f"self_attn.{name}_proj.bias": (size,) for name, size in zip("qkv", (hidden, narrow, narrow), strict=True)
        }
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (words, hidden), "model.norm.weight": (hidden,)}
    found |= _layered("model.layers", config, layer)
    return found if config["tie_word_embeddings"] else found | {"lm_head.weight": (words, hidden)}


def _bert_shapes(config: dict[str, Any], family: str) -> dict[str, tuple[int, ...]]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    linears = {
        "attention.self.query": (hidden, hidden),
        "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden),
        "attention.output.dense": (hidden, hidden),
        "intermediate.dense": (inner, hidden),
        "output.dense": (hidden, inner),
    }
    layer: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in linears.items()}
    layer |= {f"{name}.bias": shape[:1] for name, shape in linears.items()}
    norms = ("attention.output.LayerNorm", "output.LayerNorm")
    layer |= {f"{norm}.{part}": (hidden,) for norm in norms for part in ("weight", "bias")}
    return {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (2 if family == "bert" else 1, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
        **_layered("encoder.layer", config, layer),
        "pooler.dense.weight": (hidden, hidden),
        "pooler.dense.bias": (hidden,),
    }


def _modernbert_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    layer: dict[str, tuple[int, ...]] = {
        "attn.Wqkv.weight": (3 * hidden, hidden),
        "attn.Wo.weight": (hidden, hidden),
        "mlp.Wi.weight": (2 * inner, hidden),
        "mlp.Wo.weight": (hidden, inner),
        "attn_norm.weight": (hidden,),
        "mlp_norm.weight": (hidden,),
    }
    found = _layered("layers", config, layer)
    del found["layers.0.attn_norm.weight"]  # the embeddings' norm stands in its place
    return {
        "embeddings.tok_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.norm.weight": (hidden,),
        **found,
        "final_norm.weight": (hidden,),
    }


def _layered(place: str, config: dict[str, Any], layer: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {
        f"{place}.{number}.{name}": shape
        for number in range(config["num_hidden_layers"])
        for name, shape in layer.items()
    }
