"""A smaller model made of some of another's layers: evenly spaced, the first and the last among them. Needs no torch.

Embeddings, norms outside the layers and heads stay as they are. Such a model is a folder like any other, made once and
kept in the cache under a name that follows from what it was made of.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from engine import home
from engine.bases import depth
from engine.errors import MachineError, ModelError

LAYOUT = 1
"""Goes up when what is written changes, so that an older folder is not taken."""
CHUNK = 1 << 22
SPARE = 50_000_000
_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_COPIED = (".json", ".txt", ".jinja", ".model", ".md")
_FOLDERS = ("1_Pooling", "additional_chat_templates")
_INDEX = "model.safetensors.index.json"
_BY_NUMBER = (
    "attention_types mlp_only_layers first_k_dense_replace decoder_sparse_step moe_layer_freq num_kv_shared_layers "
    "attn_layer_period expert_layer_period attn_layer_indices scale_attn_by_inverse_layer_idx"
).split()
_KINDS_BY_NUMBER = ("sliding_window_pattern", "global_attn_every_n_layers", "use_sliding_window")
"""Config entries by which what a layer does follows from its number; of the latter, unless the kinds are listed."""


def places(layers: int, keep: int) -> list[int]:
    """The numbers of the layers that are kept, from 0."""
    return [round(place * (layers - 1) / (keep - 1)) for place in range(keep)]


def chosen(id: str, config: Mapping[str, Any], names: Sequence[str], keep: int) -> list[int]:
    """The layers that are kept of a model with this config and tensors of these names.

    Raises ModelError where it has fewer, or can't be taken apart.
    """
    found = {number for name in names if (number := depth.layer(name)) is not None}
    layers = _layers(config)
    if keep > layers:
        raise ModelError(
            f"{id} has {layers} layers, of which {keep} can't be kept.", "Lower 'Layers to keep' (model.keep_layers)."
        )
    whole = "Leave 'Layers to keep' (model.keep_layers) at 0, or choose another model."
    if found != set(range(layers)):
        raise ModelError(f"The layers of {id} can't be told apart by the names of its weights.", whole)
    own = _own(config)
    keys = [*_BY_NUMBER, *(_KINDS_BY_NUMBER if not isinstance(own.get("layer_types"), list) else ())]
    bound = next((key for key in keys if own.get(key) not in (None, False, 0, 1, [])), None)
    if bound:
        raise ModelError(f"What a layer of {id} does follows from its number ({bound} of its config).", whole)
    return places(layers, keep)


def thinned_config(config: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """A config for the layers `kept`, with lists that say something of each layer as long as these."""
    layers = _layers(config)

    def changed(values: Mapping[str, Any]) -> dict[str, Any]:
        found = dict(values)
        for key, value in values.items():
            if key in _COUNTS and value == layers:
                found[key] = len(kept)
            elif key == "text_config" and isinstance(value, Mapping):
                found[key] = changed(value)
            elif isinstance(value, list) and len(value) == layers and _is_of_layers(key):
                found[key] = [value[place] for place in kept]
        return found

    return changed(config)


def thinned_name(name: str, kept: Sequence[int]) -> str | None:
    """What a tensor or module is called where only these layers are left; None for one that isn't."""
    found = re.search(depth.LAYER, f"{name}.")
    if found is None:
        return name
    number = int(found[1])
    if number not in kept:
        return None
    return f"{name[: found.start(1)]}{list(kept).index(number)}{name[found.end(1) :]}"


def thinned(folder: Path, id: str, keep: int, report: Callable[[str], None]) -> Path:
    """The folder of a model that is made of `keep` layers of the one in `folder`, made at the first call.

    Raises ModelError where it can't be made, MachineError where the disk has no room.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    files = sorted(folder.glob("*.safetensors"))
    headers = {file: _header(file) for file in files}
    names = [name for header, _ in headers.values() for name in header]
    kept = chosen(id, config, names, keep)
    made = home.cache() / "models" / f"kept-{keep}of{_layers(config)}-{_digest(folder, files, kept)}-{LAYOUT}"
    made.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(made.with_suffix(".lock")):
        if made.is_dir():
            return made
        report(f"Making a model of {keep} of the {_layers(config)} layers of {id}.")
        _require_disk(made.parent, sum(file.stat().st_size for file in files), id)
        with tempfile.TemporaryDirectory(dir=made.parent, prefix=".kept-") as work:
            place = Path(work) / "made"
            place.mkdir()
            try:
                _copy_rest(folder, place)
                text = json.dumps(thinned_config(config, kept), ensure_ascii=False, indent=2)
                (place / "config.json").write_text(text + "\n", encoding="utf-8")
                _write_weights(headers, kept, place / "model.safetensors")
            except OSError as error:
                raise MachineError(
                    f"The smaller model of {id} can't be written to {made.parent}: {error.strerror or error}.",
                    "Free some space, or move the cache with TUNESMITH_CACHE.",
                ) from error
            os.replace(place, made)
    return made


def _write_weights(headers: Mapping[Path, tuple[dict[str, Any], int]], kept: Sequence[int], to: Path) -> None:
    """One safetensors file with the tensors that are left, byte by byte as they were."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    sources: list[tuple[Path, int, int]] = []
    end = 0
    for file, (header, data) in headers.items():
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"][0]):
            new = thinned_name(name, kept)
            if new is not None:
                first, last = entry["data_offsets"]
                entries[new] = {**entry, "data_offsets": [end, end + last - first]}
                sources.append((file, data + first, last - first))
                end += last - first
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)  # what follows stays aligned
    with open(to, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for file, start, size in sources:
            with open(file, "rb") as source:
                source.seek(start)
                _pass_on(source, out, size)
        out.flush()
        os.fsync(out.fileno())


def _pass_on(source: BinaryIO, out: BinaryIO, size: int) -> None:
    while size:
        part = source.read(min(CHUNK, size))
        if not part:
            raise ModelError("A weights file ends too early.", "Copy or download the model again.")
        out.write(part)
        size -= len(part)


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """Tensors of a safetensors file by name, and where its data begin."""
    with open(file, "rb") as stream:
        length = struct.unpack("<Q", stream.read(8))[0]
        header = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


def _copy_rest(folder: Path, to: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_file() and entry.suffix in _COPIED and entry.name not in (_INDEX, "config.json"):
            shutil.copyfile(entry, to / entry.name)
        elif entry.is_dir() and entry.name in _FOLDERS:
            shutil.copytree(entry, to / entry.name)


def _digest(folder: Path, files: Sequence[Path], kept: Sequence[int]) -> str:
    """What the made model follows from. Of weights, their size and date stand for what is in them."""
    found = hashlib.sha256(json.dumps(list(kept)).encode())
    for entry in sorted(folder.iterdir()):
        if entry.is_file() and entry.suffix in _COPIED and entry.name != _INDEX:
            found.update(entry.name.encode() + entry.read_bytes())
    for file in files:
        facts = file.resolve().stat()
        found.update(f"{file.resolve()} {facts.st_size} {facts.st_mtime_ns}".encode())
    return found.hexdigest()[:12]


def _require_disk(place: Path, needed: int, id: str) -> None:
    free = shutil.disk_usage(place).free
    if free < needed + SPARE:
        raise MachineError(
            f"A smaller model of {id} needs up to {needed / 1e6:,.0f} MB of disk in {place}; {free / 1e6:,.0f} MB are "
            "free.",
            "Free some space, or move the cache with TUNESMITH_CACHE.",
        )


def _own(config: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config


def _layers(config: Mapping[str, Any]) -> int:
    own = _own(config)
    return next((int(own[name]) for name in _COUNTS if isinstance(own.get(name), int)), 0)


def _is_of_layers(key: str) -> bool:
    return not key.endswith(("token_id", "token_ids")) and key not in ("architectures", "keys_to_ignore_at_inference")
