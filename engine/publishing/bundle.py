"""What of a finished run is published: weights, tokenizer, configs, card, settings and scores; no row, log or event."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from engine.bases import parts
from engine.files import read_json
from engine.publishing import cards, origin
from engine.publishing.stories import Story
from engine.scripts.snippets import CHANGED_FILE

TOKENIZER = frozenset(
    "tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json vocab.json vocab.txt merges.txt "
    "tokenizer.model spiece.model sentencepiece.bpe.model chat_template.jinja".split()
)
CONFIGS = frozenset(
    {
        "config.json",
        "adapter_config.json",
        "generation_config.json",
        "classifier.json",
        "cloze.json",
        parts.MASKED_FILE,
        *map(parts.config_file, parts.PARTS),
    }
)
PARTS = frozenset({"adapter_model.safetensors", "adapter_config.json", CHANGED_FILE})
"""What merged weights take the place of."""
WRITTEN = ("README.md", "spec.yaml", "scores.json")
"""Made from the run's records when it is pushed."""
_ABOUT = {
    "README.md": "the model card",
    "spec.yaml": "all settings, without places on this machine",
    "scores.json": "the scores before and after, without the rows",
    "adapter_model.safetensors": "the trained weights",
    CHANGED_FILE: "the weights that learned",
    **{parts.weights_file(part): "the trained weights" for part in parts.PARTS},
    "head.safetensors": "the classification head",
    "classifier.json": "the labels, and how the head is read",
    "cloze.json": "the labels with their words, and the prompt",
    parts.LANGUAGE_HEAD: "the head that guesses hidden words",
    parts.MASKED_FILE: "how words were hidden",
}
_SMALL_BYTES = 1_000_000
"""Size up to which a JSON file is read and cleaned; a tokenizer.json is larger, and holds no places."""


@dataclass(frozen=True)
class Item:
    name: str
    bytes: int | None
    """None where it is made only when it is pushed."""
    about: str


def items(story: Story, merged: bool) -> list[Item]:
    """The files of a push, as a person should see them before it; sizes of merged weights are about right."""
    found = [file for file in _published(story) if not (merged and file.name in PARTS)]
    listed = [Item(file.name, file.stat().st_size, _about(file.name)) for file in found]
    if merged:
        added = story.done.trainable_parameters if story.form == "adapter" else 0
        size = 4 * (story.done.total_parameters - added)
        listed.append(Item("model.safetensors", size, "all weights, as float32"))
        listed.append(Item("config.json", None, _about("config.json")))
    listed += [Item(name, None, _about(name)) for name in WRITTEN]
    return sorted(listed, key=lambda item: (-(item.bytes or 0), item.name))


def contents(story: Story, repo: str, merged: Path | None) -> dict[str, Path | bytes]:
    """The files of the repository by name: those of the result, or of `merged`, a folder of merged weights."""
    found: dict[str, Path | bytes] = {}
    for file in _published(story) if merged is None else _published_in(merged):
        name = file.name
        small = name in CONFIGS | TOKENIZER and file.suffix == ".json" and file.stat().st_size <= _SMALL_BYTES
        found[name] = _cleaned(file, story) if small else file
    if merged is not None and story.answers:
        found["generation_config.json"] = _ends(merged, story)
    found["README.md"] = cards.card(story, repo, merged is not None).encode()
    found["spec.yaml"] = origin.without_places(origin.public_spec(story.spec).to_yaml()).encode()
    found["scores.json"] = _json(story.done.metrics)
    return found


def is_published(name: str) -> bool:
    """Whether a file of this name in a repository is of the kind that a push writes."""
    weights = name.endswith((".safetensors", ".safetensors.index.json"))
    return "/" not in name and (weights or name in CONFIGS | TOKENIZER | {*WRITTEN})


def _published(story: Story) -> list[Path]:
    """Of the run's own result. A config beside a part of the weights would let it pass for a whole model."""
    found = _published_in(story.folder / "model")
    return [file for file in found if not (story.form == "changed" and file.name == "config.json")]


def _published_in(folder: Path) -> list[Path]:
    kept = [file for file in sorted(folder.iterdir()) if file.is_file() and not file.is_symlink()]
    return [file for file in kept if is_published(file.name) and file.name not in WRITTEN]


def _cleaned(file: Path, story: Story) -> bytes:
    record = read_json(file)
    if record is None:
        return file.read_bytes()
    record = origin.public_config(record, story.spec, story.base)
    if file.name == "adapter_config.json":
        record["base_model_name_or_path"] = story.base.id or story.base.title
        record["revision"] = story.base.revision
    return _json(record)


def _ends(merged: Path, story: Story) -> bytes:
    """The generation config with every token that ends an answer, which the run's own result names."""
    own = read_json(story.folder / "model" / "generation_config.json") or {}
    return _json((read_json(merged / "generation_config.json") or {}) | own)


def _json(record: object) -> bytes:
    return json.dumps(record, ensure_ascii=False, indent=2).encode() + b"\n"


def _about(name: str) -> str:
    if name in _ABOUT:
        return _ABOUT[name]
    if name.endswith((".safetensors", ".safetensors.index.json")):
        return "the weights"
    return "the tokenizer" if name in TOKENIZER else "configuration"
