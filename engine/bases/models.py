"""What is known of a model before it is loaded, from its config and its safetensors header. Needs no torch.

A model is named by a Hub id (owner/name), a folder on this machine, "embedded:NAME" (see `catalog`), or "run:ID"
(what a finished run left, see `lineage`). Weights are taken as safetensors only, and a model's own code never runs.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import util
from math import prod
from pathlib import Path
from typing import Any, Literal

from engine.bases import architecture, catalog, embedded, hub, lineage, parts, shapes, thinning
from engine.errors import ModelError
from engine.specs.sections import Model

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
MOST_HEADER_BYTES = 100_000_000


@dataclass(frozen=True)
class TensorInfo:
    dtype: str
    """As safetensors names it: "F32", "BF16" …"""
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class ModelFacts:
    id: str
    kind: Literal["decoder", "encoder", "encoder-decoder", "unknown"]
    architecture: str
    config: dict[str, Any]
    tensors: dict[str, TensorInfo] = field(repr=False)
    """By their names in the loaded model (a decoder with its language head, an encoder bare), each once."""
    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    context: int
    """Longest input in tokens; 0 where the config doesn't say."""
    chat_template: str | None = field(default=None, repr=False)
    license: str | None = None
    linears: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)
    """Module name → (outputs, inputs) of the linear layers inside the body: no embeddings, heads, pooler or experts."""
    biases: dict[str, int] = field(default_factory=dict, repr=False)
    """Parameter name → size, of every bias, those of layer norms included."""
    has_lm_head: bool = False
    has_mlm_head: bool = False
    mlm_head_parameters: int = 0
    """Of an encoder's masked-language head, but for the word embeddings that it shares."""
    tied: bool = False
    """Whether the language head shares the weights of the input embedding."""
    made_of: int = 0
    """How many layers the model has of which these were kept; 0 where it is whole."""
    revision: str | None = None
    """The commit of a Hub model that these facts describe."""
    download_bytes: int | None = None
    """What `ensure` will fetch where the model isn't there yet; None where it is not known."""
    notices: tuple[str, ...] = ()
    """Sentences that a person should read before using this model."""

    @property
    def has_biases(self) -> bool:
        """Whether a linear layer has a bias."""
        return any(f"{name}.bias" in self.biases for name in self.linears)

    @property
    def backbone_parameters(self) -> int:
        """Parameters of the body alone: no language head of its own, no unused pooler."""
        return sum(info.count for name, info in self.tensors.items() if architecture.in_backbone(name))


def facts(section: Model) -> ModelFacts:
    """Facts of the model that a spec names. Downloads at most its config and headers.

    Raises ModelError where it doesn't exist, has no safetensors weights, or can't be trained here.
    """
    return kept(_whole_facts(section), section)


def kept(found: ModelFacts, section: Model) -> ModelFacts:
    """Facts of the model that is left of this one where only some of its layers are kept. Raises ModelError."""
    keep = section.keep_layers
    if not keep or section.continued or keep == found.layers:
        return found
    places = thinning.chosen(found.id, found.config, list(found.tensors), keep)

    def left(values: Mapping[str, Any]) -> dict[str, Any]:
        named = ((thinning.thinned_name(name, places), value) for name, value in values.items())
        return {name: value for name, value in named if name is not None}

    tensors = left(found.tensors)
    return replace(
        found,
        config=thinning.thinned_config(found.config, places),
        tensors=tensors,
        parameters=sum(info.count for info in tensors.values()),
        layers=keep,
        linears=left(found.linears),
        biases=left(found.biases),
        made_of=found.layers,
    )


def _whole_facts(section: Model) -> ModelFacts:
    name = section.id.strip()
    if name.startswith(catalog.PREFIX):
        return embedded_facts(catalog.embedded(name))
    if lineage.is_run(name):
        return _run_facts(name, section.continued)
    folder = _local_folder(name)
    if folder is not None:
        return folder_facts(folder, name)
    return _hub_facts(name, section.revision)


def ensure(section: Model, report: Callable[[str], None]) -> Path:
    """A local folder with config, safetensors weights and tokenizer; downloaded or converted where it isn't there.

    `report` is told in a sentence what takes time. Raises ModelError or MachineError.
    """
    folder, keep = _whole(section, report), section.keep_layers
    if not keep or section.continued or keep == folder_facts(folder, section.id).layers:
        return folder
    return thinning.thinned(folder, section.id, keep, report)


def _whole(section: Model, report: Callable[[str], None]) -> Path:
    name = section.id.strip()
    if name.startswith(catalog.PREFIX):
        return embedded.prepare(catalog.embedded(name), report)
    if lineage.is_run(name):
        parent = lineage.parent(name)
        if parent.is_whole:
            return parent.result
        return ensure(parent.model, report) if section.continued else lineage.merged(parent, report)
    folder = _local_folder(name)
    if folder is not None:
        return folder
    return hub.model_folder(name, section.revision, report)


def tokenizer_folder(section: Model) -> Path | None:
    """A folder with the model's tokenizer, by a small download at most; None where there is none on this machine yet.

    Raises as `ensure`.
    """
    name = section.id.strip()
    if name.startswith(catalog.PREFIX):
        ready = embedded.folder(catalog.embedded(name))
        return ready if ready.is_dir() else None
    if lineage.is_run(name):
        return lineage.parent(name).result
    return _local_folder(name) or hub.tokenizer_folder(name, section.revision)


def folder_facts(folder: Path, id: str) -> ModelFacts:
    """Facts of a model in a folder, from its config and the headers of its safetensors files."""
    files = {name: _text(folder / name) for name in hub.INFO_FILES}
    if files["config.json"] is None:
        raise ModelError(
            f"{id} is not a model: it has no config.json.",
            "Name a folder that was written by save_pretrained, or a Hub model.",
        )
    return _facts(
        id, _json(files["config.json"], f"config.json of {id}"), _folder_tensors(folder, id), template=_template(files)
    )


def embedded_facts(entry: catalog.Embedded) -> ModelFacts:
    """Facts of an embedded model, which are pinned with it and need no download."""
    tensors = {name: TensorInfo("F32", shape) for name, shape in entry.shapes().items()}
    return _facts(
        entry.id,
        dict(entry.config),
        tensors,
        template=entry.chat_template,
        license=entry.license,
        download_bytes=entry.download_bytes,
    )


def catalog_facts(entry: catalog.Known) -> ModelFacts:
    """Facts of a model of the catalog without asking the Hub: its shapes follow from its config."""
    tensors = {name: TensorInfo("BF16", shape) for name, shape in shapes.of(entry).items()}
    found = _facts(
        entry.id,
        dict(entry.config),
        tensors,
        template=None,
        license=entry.license,
        download_bytes=entry.download_bytes,
    )
    # All encoders of the catalog bring one: a layer of their width, its norm, and a bias of the words.
    head = found.hidden * (found.hidden + 3) + found.vocabulary if entry.kind == "encoder" else 0
    return replace(found, has_mlm_head=head > 0, mlm_head_parameters=head)


def read_header(file: Path) -> dict[str, TensorInfo]:
    """Names, types and shapes in a safetensors file, without its weights. Raises ModelError where it is damaged."""
    try:
        size = file.stat().st_size
        with open(file, "rb") as stream:
            length = struct.unpack("<Q", stream.read(8))[0]
            if length > min(size, MOST_HEADER_BYTES):
                raise ValueError("its header is longer than the file")
            header = json.loads(stream.read(length))
        tensors = _tensor_infos(header)
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        if 8 + length + end > size:
            raise ValueError("it ends too early")
    except FileNotFoundError:
        raise ModelError(f"The weights file {file.name} is missing.", "Copy or download the model again.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(
            f"The weights file {file.name} is damaged: {error}.", "Copy or download the model again."
        ) from None
    return tensors


def _hub_facts(id: str, revision: str | None) -> ModelFacts:
    found = hub.model(id, revision)
    if found.folder is not None:
        kept = folder_facts(found.folder, id)
        notice = f"The Hub can't be reached; {id} is taken from this machine's cache."
        return replace(kept, revision=found.revision, notices=(*kept.notices, notice))
    config = _json(found.files["config.json"], f"config.json of {id}")
    return _facts(
        id,
        config,
        {name: TensorInfo(dtype, shape) for name, (dtype, shape) in found.tensors.items()},
        template=_template(found.files),
        license=found.license,
        revision=found.revision,
        download_bytes=found.download_bytes,
    )


def _facts(
    id: str, config: dict[str, Any], stored: Mapping[str, TensorInfo], template: str | None, **known: Any
) -> ModelFacts:
    """`stored`: tensors by their names in the file."""
    if "quantization_config" in config:
        method = str(dict(config["quantization_config"] or {}).get("quant_method", "quantised"))
        raise ModelError(
            f"The weights of {id} are already quantised ({method}), and can't be trained as they are.",
            "Choose the original model, and load it in 8bit or 4bit to save memory.",
        )
    layout = architecture.layers(config, {name: info.shape for name, info in stored.items()})
    tensors = {new: stored[old] for old, new in layout.names.items()}
    return ModelFacts(
        id=id,
        kind=architecture.kind(config),
        architecture=str((config.get("architectures") or [config.get("model_type", "")])[0]),
        config=config,
        tensors=tensors,
        parameters=sum(info.count for info in tensors.values()),
        layers=architecture.first(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        hidden=architecture.first(config, "hidden_size", "n_embd", "d_model", "dim", "n_embed"),
        vocabulary=architecture.first(config, "vocab_size"),
        context=architecture.context(config),
        chat_template=template,
        linears=layout.linears,
        biases=layout.biases,
        has_lm_head=layout.has_lm_head,
        has_mlm_head=layout.mlm_head_parameters > 0,
        mlm_head_parameters=layout.mlm_head_parameters,
        tied=layout.tied,
        notices=_own_code(id, config),
        **known,
    )


def _own_code(id: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """What to say of a model that brings code. Raises ModelError where it can't be used without it."""
    if "auto_map" not in config:
        return ()
    if not _built_in(str(config.get("model_type", ""))):
        raise ModelError(
            f"{id} only works with Python code of its own, which is never run here.",
            "Choose a model whose architecture the transformers library has built in.",
        )
    return (f"{id} brings Python code of its own. It is not run; the built-in version of its architecture is used.",)


def _built_in(model_type: str) -> bool:
    """Whether the installed transformers knows a model type, by reading its source: importing it takes seconds."""
    spec = util.find_spec("transformers")
    if spec is None or spec.origin is None or not model_type:
        return False
    folder = Path(spec.origin).parent / "models" / "auto"
    return any(
        f'("{model_type}", ' in (_text(folder / name) or "") for name in ("auto_mappings.py", "configuration_auto.py")
    )


def _folder_tensors(folder: Path, id: str) -> dict[str, TensorInfo]:
    if (folder / SINGLE_FILE).exists():
        return read_header(folder / SINGLE_FILE)
    index = _text(folder / INDEX_FILE)
    if index is not None:
        weight_map = _json(index, f"{INDEX_FILE} of {id}").get("weight_map")
        if not isinstance(weight_map, dict):
            raise ModelError(f"{INDEX_FILE} of {id} names no files.", "Copy or download the model again.")
        tensors: dict[str, TensorInfo] = {}
        for name in sorted({Path(str(value)).name for value in weight_map.values()}):
            tensors |= read_header(folder / name)
        return tensors
    if any(folder.glob("adapter_*.safetensors")):
        raise ModelError(f"{id} is an adapter, not a whole model.", "Name the base model that it stands on.")
    raise hub.no_safetensors(id, [path.name for path in folder.iterdir()])


def _run_facts(name: str, continued: bool) -> ModelFacts:
    """Of a whole model that a run left; else of the base that its additions stand on, with or without them."""
    parent, *_ = lineage.line(Model(id=name))
    if parent.is_whole:
        return folder_facts(parent.result, name)
    known = facts(parent.model)
    head = parent.result / parts.LANGUAGE_HEAD
    if head.exists():
        count = sum(info.count for info in read_header(head).values())
        known = replace(known, has_mlm_head=True, mlm_head_parameters=count)
    return known if continued else replace(known, id=name, revision=None, download_bytes=None)


def _local_folder(name: str) -> Path | None:
    """The folder that a model's name means, or None for a Hub id."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_file():
        raise ModelError(f"{name} is a file; a model is a folder with config.json and safetensors.", "Name the folder.")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith("."):
        raise ModelError(
            f"There is no model folder {name!r}.",
            "Give a folder that exists, a Hub id (owner/name), or embedded:smollm2-135m.",
        )
    return None


def _template(files: Mapping[str, str | None]) -> str | None:
    """The chat template, which lies in a file of its own or in the tokenizer's config."""
    if files.get("chat_template.jinja"):
        return files["chat_template.jinja"]
    for name in ("chat_template.json", "tokenizer_config.json"):
        text = files.get(name)
        template = _json(text, name).get("chat_template") if text else None
        if isinstance(template, list):
            named = {str(entry.get("name")): entry.get("template") for entry in template if isinstance(entry, dict)}
            template = named.get("default") or next(iter(named.values()), None)
        if isinstance(template, str) and template:
            return template
    return None


def _tensor_infos(header: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(str(entry["dtype"]), tuple(int(size) for size in entry["shape"]))
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _json(text: str | None, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ModelError(f"{what} is not valid JSON.", "Copy or download the model again.")
    return value
