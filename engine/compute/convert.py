"""Turns a GGUF file into a folder that transformers loads: config, safetensors, tokenizer, chat template.

`python -m engine.compute.convert MODEL.gguf FOLDER`
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def convert(source: Path, target: Path) -> None:
    """Weights are written in float32: GGUF's values (scale times small integer plus offset) fit no 16-bit format."""
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # A model that came from GGUF refuses to be saved; a fresh one with its weights does not.
    config = model.config
    del config.quantization_config
    fresh = type(model)(config)
    fresh.load_state_dict(model.state_dict())
    fresh.generation_config = model.generation_config
    fresh.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    _split_digits(tokenizer, source)
    tokenizer.save_pretrained(target)


def _split_digits(tokenizer: Any, source: Path) -> None:
    """GGUF names the rule by which text is cut before merging; transformers reads every one as GPT-2's.

    "smollm" takes each digit by itself first, which matters for spaces before digits.
    """
    from gguf import GGUFReader
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    rule = GGUFReader(source).get_field("tokenizer.ggml.pre")
    if rule is not None and rule.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
            [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
        )


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
