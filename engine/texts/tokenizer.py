"""The files of a tokenizer, read as transformers reads them: special tokens, added tokens and chat templates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers

from engine.errors import ModelError

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
TEMPLATE_FILE = "chat_template.jinja"
MORE_TEMPLATES = "additional_chat_templates"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; {} where there is no such file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} can't be read: {error}.", "Download the model again.") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} is not a JSON object.", "Download the model again.")
    return value


def names(config: Mapping[str, Any], fallback: Mapping[str, Any]) -> dict[str, str]:
    """The named special tokens, each written as text or as a mapping with `content`."""
    found = {}
    for name in NAMES:
        token = config.get(name) or fallback.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and token:
            found[name] = token
    return found


def add_tokens(backend: tokenizers.Tokenizer, config: Mapping[str, Any], named: Mapping[str, str]) -> None:
    """Tokens that stand in the configuration only, in the order of their ids."""
    listed = config.get("added_tokens_decoder")
    entries = [entry for _, entry in sorted(listed.items(), key=lambda item: int(item[0]))] if listed else []
    entries += [{"content": token, "special": True} for token in named.values()]
    for name in ("additional_special_tokens", "extra_special_tokens"):
        extra = config.get(name) or []
        extra = list(extra.values()) if isinstance(extra, dict) else extra
        entries += [item if isinstance(item, dict) else {"content": item, "special": True} for item in extra]
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    for entry in entries:
        if entry["content"] in known:
            continue
        known.add(entry["content"])
        flags = {flag: bool(entry[flag]) for flag in ("lstrip", "rstrip", "single_word", "normalized") if flag in entry}
        special = bool(entry.get("special", False))
        added = tokenizers.AddedToken(entry["content"], special=special, **flags)
        (backend.add_special_tokens if special else backend.add_tokens)([added])


def template_sources(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Chat templates by name ("default", "tool_use" …): files of their own before tokenizer_config.json."""
    files = {path.stem: path for path in sorted((folder / MORE_TEMPLATES).glob("*.jinja"))}
    if (folder / TEMPLATE_FILE).is_file():
        files["default"] = folder / TEMPLATE_FILE
    if files:
        return {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    listed = config.get("chat_template") or []
    if isinstance(listed, str):
        return {"default": listed}
    # Names become file names when a tokenizer is saved.
    return {entry["name"]: entry["template"] for entry in listed if re.fullmatch(r"[\w-]+", entry["name"])}
