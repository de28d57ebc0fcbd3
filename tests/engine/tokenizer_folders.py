"""Folders with small tokenizers of the three common kinds, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.engine.chat_templates import SPECIALS

_CORPUS = [
    "Where is my card? It has not arrived.",
    "Your card is on its way. It will come in two days.",
    "Was kostet das? Ein Überblick über Gebühren: 3 €.",
    "user assistant system model\n\nYou are a helpful assistant. And three more? That makes seven.",
]
_BYTE_PIECES = [f"<0x{byte:02X}>" for byte in range(256)]


def byte_level(folder: Path, template: str | None = None, **config: Any) -> Path:
    """As GPT-2, Llama 3 and Qwen have it: bytes, with spaces trimmed off the offsets."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return _saved(tokenizer, folder, template, config)


def sentencepiece(folder: Path, template: str | None = None, **config: Any) -> Path:
    """As Llama 2 and Gemma have it: spaces written as ▁, unknown characters as bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[*SPECIALS, *_BYTE_PIECES], show_progress=False)
    tokenizer.train_from_iterator(_CORPUS, trainer)
    ends = [("<s>", tokenizer.token_to_id("<s>"))]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=ends)
    record = json.loads(tokenizer.to_str())
    # Byte pieces belong to the vocabulary; only the trainer needs them as added tokens.
    record["added_tokens"] = [entry for entry in record["added_tokens"] if entry["content"] not in _BYTE_PIECES]
    return _saved(Tokenizer.from_str(json.dumps(record)), folder, template, config)


def wordpiece(folder: Path, **config: Any) -> Path:
    """As BERT has it, with the padding and truncation that many files on the Hub carry."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        _CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=specials, show_progress=False)
    )
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.enable_padding(length=128, pad_id=0, pad_token="[PAD]")
    tokenizer.enable_truncation(max_length=128)
    named = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    return _saved(tokenizer, folder, None, {"bos_token": None, "eos_token": None, **named, **config})


def _saved(tokenizer: Tokenizer, folder: Path, template: str | None, config: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    values = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", **config}
    if template is not None:
        values["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder
