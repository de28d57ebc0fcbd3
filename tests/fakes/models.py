"""Tiny models with random weights, saved as a real model is: config, safetensors, tokenizer, chat template.

They are made anew from a fixed seed: equal calls write equal weights and tokenizers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

SEED = 20
CONTEXT = 512
VOCABULARY = 320
FOREIGN_VOCABULARY = 304

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_TEXT = [
    "My new card has not arrived. When will the card come?",
    "The cash machine kept my card and I want the card back.",
    "Why was I charged a fee for the transfer to my account?",
    "Please tell me how to change the address of my account.",
    "system user assistant You are a helpful assistant. The answer is the name of the intent.",
    "card_arrival card_swallowed transfer_fee_charged edit_personal_details exchange_rate top_up",
    "What is the capital of France? The capital of France is Paris.",
]
_FOREIGN = [
    "user assistant system exchange rate, transfer fee, card arrival: these are names of what people ask for.",
    "Which rate do you use for euros and pounds? The fee was wrong, and the arrival of the card is late.",
]


def tiny_decoder(folder: Path, width: int = 32, inner: int | None = None, layers: int = 2) -> Path:
    """A Llama with two layers or more and no biases, tied embeddings. Its padding token is one of its own."""
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=inner or 2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        **_ids(pad="<|pad|>"),
    )
    _save_model("LlamaForCausalLM", config, folder)
    return _save_chat_tokenizer(folder, pad="<|pad|>", template_file=False)


def tiny_biased_decoder(folder: Path) -> Path:
    """A Qwen2 with biases on query, key and value, an output layer of its own, and padding = end of turn."""
    from transformers import Qwen2Config

    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        **_ids(pad="<|im_end|>"),
    )
    _save_model("Qwen2ForCausalLM", config, folder)
    return _save_chat_tokenizer(folder, pad="<|im_end|>", template_file=True)


def tiny_foreign_decoder(folder: Path) -> Path:
    """A Llama whose tokenizer is another one than that of all others here: fewer tokens, of other texts, other ids."""
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=FOREIGN_VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        **_ids(pad="<|pad|>"),
    )
    _save_model("LlamaForCausalLM", config, folder)
    return _save_chat_tokenizer(folder, pad="<|pad|>", template_file=False, texts=_FOREIGN, size=FOREIGN_VOCABULARY)


def tiny_gpt2(folder: Path, layers: int = 2) -> Path:
    """A GPT-2, whose layers hold their weights the other way round: (inputs, outputs)."""
    from transformers import GPT2Config

    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_inner=64,
        n_layer=layers,
        n_head=4,
        n_positions=CONTEXT,
        **_ids(pad="<|im_end|>"),
    )
    _save_model("GPT2LMHeadModel", config, folder)
    return _save_chat_tokenizer(folder, pad="<|im_end|>", template_file=True)


def tiny_encoder(folder: Path, layers: int = 2) -> Path:
    """A BERT without a masked-language head, with sentence-transformers' note that it pools by the mean."""
    from transformers import BertConfig

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        pad_token_id=_specials().index("<pad>"),
    )
    _save_model("BertModel", config, folder)
    pooling = folder / "1_Pooling" / "config.json"
    pooling.parent.mkdir(exist_ok=True)
    pooling.write_text(
        json.dumps({"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True})
    )
    tokenizer = _tokenizer(frame=("<s>", "</s>"))
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_tokenizer_config(
        folder, {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    )
    return folder


def tiny_classifier(folder: Path, labels: Sequence[str], like: Path | None = None, width: int = 32) -> Path:
    """A BERT that classifies, with another tokenizer than all others here. Its head is large enough to be sure.

    like: a model whose tokenizer it has in place of that.
    """
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import BertConfig

    config = BertConfig(
        vocab_size=FOREIGN_VOCABULARY if like is None else VOCABULARY,
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        pad_token_id=_specials().index("<pad>"),
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    _save_model("BertForSequenceClassification", config, folder)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"] = 40 * weights["classifier.weight"]
    weights["bert.pooler.dense.weight"] = torch.eye(width)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    if like is not None:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((like / name).read_bytes())
        return folder
    _tokenizer(("<s>", "</s>"), _FOREIGN, FOREIGN_VOCABULARY).save(str(folder / "tokenizer.json"))
    _write_tokenizer_config(
        folder, {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    )
    return folder


def tiny_masked_encoder(folder: Path) -> Path:
    """A BERT with a masked-language head that shares the word embeddings. Its mask is a token no other thing needs."""
    from transformers import BertConfig

    tiny_headless_encoder(folder)
    config = BertConfig.from_pretrained(folder)
    _save_model("BertForMaskedLM", config, folder)
    return folder


MASKED_FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta", "modernbert", "electra", "albert")


def tiny_of_family(folder: Path, family: str) -> Path:
    """A masked language model of another architecture, with the tokenizer of `tiny_masked_encoder`."""
    import transformers

    small: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    if family == "distilbert":
        small = {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4}
    elif family == "modernbert":  # its own ids lie beyond this vocabulary
        small |= dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 1)
    elif family in ("electra", "albert"):
        small["embedding_size"] = 16
    if family != "distilbert":
        small["num_attention_heads"] = 4
    config = transformers.AutoConfig.for_model(
        family,
        vocab_size=VOCABULARY,
        max_position_embeddings=CONTEXT,
        pad_token_id=_specials().index("<pad>"),
        **small,
    )
    tiny_headless_encoder(folder)
    architecture = transformers.MODEL_FOR_MASKED_LM_MAPPING[type(config)].__name__
    _save_model(architecture, config, folder)
    return folder


def tiny_headless_encoder(folder: Path) -> Path:
    """A BERT without a masked-language head, whose tokenizer has a mask all the same, as all-MiniLM has."""
    tiny_encoder(folder)
    _write_tokenizer_config(
        folder,
        {
            "bos_token": "<s>",
            "eos_token": "</s>",
            "cls_token": "<s>",
            "sep_token": "</s>",
            "pad_token": "<pad>",
            "mask_token": "<|pad|>",
        },
    )
    return folder


def _specials() -> list[str]:
    # transformers loads a Qwen2's tokenizer by its own class, which adds "<|endoftext|>" where it is missing.
    return ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|pad|>", "<|endoftext|>"]


def _ids(pad: str) -> dict[str, int]:
    names = {"bos_token_id": "<|im_start|>", "eos_token_id": "<|im_end|>", "pad_token_id": pad}
    return {key: _specials().index(token) for key, token in names.items()}


def _save_model(architecture: str, config: PreTrainedConfig, folder: Path) -> None:
    import torch
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = getattr(transformers, architecture)(config)
    model.save_pretrained(folder)


def _tokenizer(frame: tuple[str, str] | None = None, texts: list[str] | None = None, size: int = VOCABULARY) -> Any:
    """Byte-level BPE, so that every text can be encoded. `frame` is put around each text, as encoders want it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=_specials(),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts or _TEXT, trainer)
    if frame:
        first, last = frame
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A {last}",
            pair=f"{first} $A {last} $B {last}",
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in frame],
        )
    return tokenizer


def _save_chat_tokenizer(
    folder: Path, pad: str, template_file: bool, texts: list[str] | None = None, size: int = VOCABULARY
) -> Path:
    _tokenizer(texts=texts, size=size).save(str(folder / "tokenizer.json"))
    values = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": pad}
    if template_file:
        (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    else:
        values["chat_template"] = CHATML
    _write_tokenizer_config(folder, values)
    return folder


def _write_tokenizer_config(folder: Path, values: dict[str, str]) -> None:
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        **values,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1), encoding="utf-8")
