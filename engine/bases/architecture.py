"""Reads a model's kind and its layers from its config and its tensors' names and shapes. Needs no torch.

Files name tensors in several ways for one and the same model (with or without the body's prefix, old names of
layer norms). Here they get the names that the loaded model has: a decoder with its language head, an encoder bare.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["decoder", "encoder", "encoder-decoder", "unknown"]

_ENCODERS = frozenset(
    "albert bert big_bird camembert convbert data2vec-text deberta deberta-v2 distilbert electra ernie esm eurobert "
    "flaubert funnel jina_embeddings_v3 layoutlm longformer luke megatron-bert mobilebert modernbert mpnet mra "
    "nomic_bert nystromformer rembert roberta roberta-prelayernorm roformer squeezebert xlm xlm-roberta "
    "xlm-roberta-xl xmod yoso".split()
)
_DECODER_SUFFIXES = ("ForCausalLM", "LMHeadModel")

# The body's name in the loaded model, where it is neither "model" (decoders) nor the model type (encoders).
_DECODER_BODIES = {
    "biogpt": "biogpt",
    "gpt_neox": "gpt_neox",
    "gpt_neox_japanese": "gpt_neox",
    "mamba": "backbone",
    "mamba2": "backbone",
    "rwkv": "rwkv",
    **dict.fromkeys(
        ("bloom", "codegen", "ctrl", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gptj", "mpt", "openai-gpt"),
        "transformer",
    ),
}
_ENCODER_BODIES = {
    **dict.fromkeys(("big_bird", "megatron-bert", "mra"), "bert"),
    **dict.fromkeys(("camembert", "jina_embeddings_v3", "xlm-roberta", "xlm-roberta-xl", "xmod"), "roberta"),
    **dict.fromkeys(("eurobert", "modernbert"), "model"),
    **dict.fromkeys(("flaubert", "squeezebert", "xlm"), "transformer"),
    "deberta-v2": "deberta",
}
_TRANSPOSED = frozenset({"gpt2", "openai-gpt"})
"""Model types whose layers hold their weights as (inputs, outputs)."""

_HEADS = ("lm_head.", "embed_out.")
_POOLERS = ("pooler.",)
_MLM_TRANSFORMS = (
    "cls.predictions.transform.dense.weight",
    "lm_head.dense.weight",
    "vocab_transform.weight",
    "predictions.dense.weight",
    "generator_predictions.dense.weight",
    "head.dense.weight",
)
_MLM_HEADS = (
    "cls.predictions.",
    "lm_head.",
    "vocab_transform.",
    "vocab_layer_norm.",
    "vocab_projector.",
    "predictions.",
    "generator_predictions.",
    "generator_lm_head.",
    "head.",
    "decoder.",
)
_BUFFER = re.compile(r"(\.|^)(position_ids|token_type_ids|inv_freq|masked_bias)$")
_EMBEDDING = re.compile(
    r"(embed_tokens|embed_positions|embed_in|tok_embeddings|wte|wpe|\w*_embeddings?|relative_attention_bias|positions_embed|tokens_embed)"
)
_EXPERT = re.compile(r"\.experts\.|\.(router|gate|shared_expert_gate)$")


@dataclass(frozen=True)
class Layers:
    """`names` maps a tensor's name in the file to that in the loaded model; tensors that it drops are not in it."""

    names: dict[str, str]
    linears: dict[str, tuple[int, int]]
    """Module name → (outputs, inputs) of layers inside the body: no embeddings, heads, pooler or experts."""
    biases: dict[str, int]
    """Parameter name → size, of every bias, those of layer norms included."""
    has_lm_head: bool
    mlm_head_parameters: int
    """Of a masked-language head, but for the word embeddings that it shares; 0 where there is none."""
    tied: bool


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config that describes the language model."""
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config


def kind(config: Mapping[str, Any]) -> Kind:
    """What kind of model a config describes; "unknown" where it is none that can be trained here."""
    architectures = config.get("architectures") or [""]
    architecture, model_type = str(architectures[0]), str(config.get("model_type", ""))
    if config.get("is_encoder_decoder"):
        return "encoder-decoder"
    if "vision_config" in config or "audio_config" in config:
        return "unknown"
    if architecture.endswith(_DECODER_SUFFIXES):
        return "decoder"
    if model_type in _ENCODERS:
        return "encoder"
    if architecture.endswith("ForMaskedLM"):
        return "encoder"
    if "num_key_value_heads" in config or model_type in _DECODER_BODIES:
        return "decoder"
    return "unknown"


def layers(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Layers:
    """Names, linear layers and heads of a model, from its tensors' shapes by their names in the file."""
    model_type = str(config.get("model_type", ""))
    of_kind = kind(config)
    if of_kind == "encoder":
        names = _encoder_names(_body(config), shapes)
    else:
        names = _decoder_names(_body(config), shapes)
    tied = of_kind == "decoder" and _is_tied(config, set(names.values()))
    if tied:
        names = {old: new for old, new in names.items() if not new.startswith(_HEADS)}
    own = {new: shapes[old] for old, new in names.items()}
    return Layers(
        names=names,
        linears=_linears(own, transposed=model_type in _TRANSPOSED),
        biases={name: _count(shape) for name, shape in own.items() if name.endswith(".bias")},
        has_lm_head=of_kind == "decoder",
        mlm_head_parameters=_mlm_head(shapes, first(config, "vocab_size")) if of_kind == "encoder" else 0,
        tied=tied,
    )


def in_backbone(name: str) -> bool:
    """Whether a tensor belongs to the body that feeds a head: not to a language head or an unused pooler."""
    return not name.startswith((*_HEADS, *_POOLERS))


def first(config: Mapping[str, Any], *names: str) -> int:
    """The first of these config entries that is a number, 0 where there is none."""
    inner = text_config(config)
    return next((int(inner[name]) for name in names if isinstance(inner.get(name), int)), 0)


def scores_as_they_are(config: Mapping[str, Any]) -> bool:
    """Whether scores of words are what the language head makes of hidden states, neither scaled nor capped."""
    own = text_config(config)
    changed = ("final_logit_softcapping", "logit_scale", "logits_scaling")
    return all(own.get(name) in (None, 1) for name in changed)


def attention_dropout(config: Mapping[str, Any]) -> float:
    """Share of attention's weights that is left out at random while a model learns."""
    own = text_config(config)
    names = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")
    # BERT's own default, for configs that leave it out.
    usual = 0.1 if config.get("model_type") == "bert" else 0.0
    return next((float(own[name] or 0.0) for name in names if name in own), usual)


def context(config: Mapping[str, Any]) -> int:
    """Longest input in tokens; 0 where the config doesn't say."""
    longest = first(
        config, "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "seq_length"
    )
    family = _ENCODER_BODIES.get(str(config.get("model_type", "")), str(config.get("model_type", "")))
    if family in ("roberta", "mpnet", "longformer") and longest:
        # These count positions from the padding token's id on.
        return longest - int(config.get("pad_token_id") or 1) - 1
    return longest


def _body(config: Mapping[str, Any]) -> str:
    model_type = str(config.get("model_type", ""))
    if kind(config) == "encoder":
        return _ENCODER_BODIES.get(model_type, model_type.replace("-", "_"))
    return _DECODER_BODIES.get(model_type, "model")


def _encoder_names(body: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    prefix = f"{body}."
    prefixed = any(name.startswith(prefix) for name in shapes)
    names = {}
    for name in _parameters(shapes):
        if prefixed and not name.startswith(prefix):
            continue
        names[name] = _renamed(name.removeprefix(prefix) if prefixed else name)
    return names


def _decoder_names(body: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    prefix = f"{body}."
    prefixed = any(name.startswith(prefix) for name in shapes)
    names = {}
    for name in _parameters(shapes):
        outside = prefixed or name.startswith(_HEADS)
        names[name] = _renamed(name if outside else prefix + name)
    return names


def _parameters(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    # GPT-2's files hold its causal mask under the name "bias", with four axes.
    masks = {name for name, shape in shapes.items() if name.endswith(".attn.bias") and len(shape) > 1}
    return [name for name in shapes if name not in masks and not _BUFFER.search(name)]


def _renamed(name: str) -> str:
    """Names of layer norms as they are today."""
    return re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", name))


def _is_tied(config: Mapping[str, Any], names: set[str]) -> bool:
    if not any(name.startswith(_HEADS) for name in names):
        return True
    return bool(text_config(config).get("tie_word_embeddings", config.get("tie_word_embeddings", False)))


def _linears(own: Mapping[str, tuple[int, ...]], transposed: bool) -> dict[str, tuple[int, int]]:
    found = {}
    for name, shape in own.items():
        module = name.removesuffix(".weight")
        if module == name or len(shape) != 2 or not in_backbone(name):
            continue
        if _EMBEDDING.fullmatch(module.rsplit(".", 1)[-1]) or _EXPERT.search(module):
            continue
        found[module] = (shape[1], shape[0]) if transposed else (shape[0], shape[1])
    return found


def _mlm_head(shapes: Mapping[str, tuple[int, ...]], words: int) -> int:
    """Parameters of the head that guesses masked words; its product with the word embeddings is not counted again."""
    if not any(name in shapes for name in _MLM_TRANSFORMS):
        return 0
    own = [shape for name, shape in shapes.items() if name.startswith(_MLM_HEADS)]
    if (words,) not in own:  # of a classifier, whose layers may be called the same
        return 0
    # Files may hold the bias of the words under two names.
    return words + sum(_count(shape) for shape in own if shape[:1] != (words,))


def new_mlm_head(config: Mapping[str, Any]) -> int:
    """Parameters that a head which guesses masked words would have if it began anew, as `_mlm_head` counts them."""
    width, words = first(config, "hidden_size", "dim"), first(config, "vocab_size")
    if config.get("model_type") == "modernbert":  # its biases can be left out
        biases = width * (bool(config.get("classifier_bias", False)) + bool(config.get("norm_bias", False)))
        return width * width + width + biases + words * bool(config.get("decoder_bias", True))
    # ALBERT's and ELECTRA's words have vectors of their own width.
    inner = int(config.get("embedding_size") or width)
    return (width + 1) * inner + 2 * inner + words


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
