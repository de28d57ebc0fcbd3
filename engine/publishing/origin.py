"""Where a run's model and data come from, named as strangers may know it: no folder of this machine, no owner."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from engine import home
from engine.bases import catalog, lineage
from engine.data import hub as hub_data
from engine.data import table
from engine.errors import UserError
from engine.specs.sections import Data, Model
from engine.specs.spec import RunSpec

HUB_PAGE = "https://huggingface.co/"
SAMPLE = "sample:"
_FILES = frozenset(table.KINDS)
"""Endings by which a source that looks like a Hub id is a file."""
MOST_ANCESTORS = 8
"""Runs that began with another run's result; more than that is a circle of folders."""

AskHub = Callable[[str, str | None], tuple[str | None, bool]]
"""Licence (None: not stated) and whether it is gated, of a Hub model and revision."""


@dataclass(frozen=True)
class Base:
    """The model that a run started from."""

    id: str | None
    """Its id on the Hub, where it is there."""
    title: str
    """What it is called: the Hub id, or a folder's name without its place."""
    license: str | None = None
    """As its page or folder states it; None where that is not known."""
    gated: bool = False
    revision: str | None = None
    note: str = ""
    """How the weights that were trained differ from what `id` names."""
    exact: bool = True
    """Whether an adapter stands on just the weights that `id` names."""


def base(model: Model, ask: AskHub | None = None) -> Base:
    """The base model of a spec. Without `ask` nothing is asked of the Hub, and a licence may stay unknown."""
    return _base(model, ask, MOST_ANCESTORS)


def data_name(entry: Data) -> str:
    """A data entry by its Hub id, its sample's name, or its file's name alone."""
    if entry.source.startswith(SAMPLE):
        return entry.source.removeprefix(SAMPLE)
    return data_id(entry) or Path(entry.source).name or "data"


def data_id(entry: Data) -> str | None:
    """The Hub id of a data entry, where it was read from there."""
    path = Path(entry.source).expanduser()
    if path.exists() or path.suffix.lower() in _FILES:
        return None
    return hub_data.bare_id(entry.source) if hub_data.is_id(entry.source) else None


def public_spec(spec: RunSpec) -> RunSpec:
    """The spec with names in place of this machine's folders and files, and without whom it tells of its end."""
    data = [entry.model_copy(update={"source": _public_source(entry)}) for entry in spec.data]
    started = spec.model.model_copy(update={"id": _public_model(spec.model.id)})
    learned = spec.objective.renamed(spec.objective_settings, _public_model)
    told = spec.output.model_copy(update={"webhook": None})
    return replace(spec, model=started, data=data, objective_settings=learned, output=told)


def public_config(record: dict[str, Any], spec: RunSpec, base: Base) -> dict[str, Any]:
    """A config file's values, with the base model's public name wherever a place on this machine stands."""
    own = {spec.model.id, str(Path(spec.model.id).expanduser())}

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: cleaned(item) for name, item in value.items()}
        if isinstance(value, list):
            return [cleaned(item) for item in value]
        if isinstance(value, str) and (value in own or _is_place(value)):
            return base.id or base.title
        return value

    found: dict[str, Any] = cleaned(record)
    return found


def _public_model(id: str) -> str:
    if id.startswith((catalog.PREFIX, lineage.PREFIX)) or not Path(id).expanduser().exists():
        return id
    return Path(id).name


def _public_source(entry: Data) -> str:
    return entry.source if entry.source.startswith(SAMPLE) else data_name(entry)


def _is_place(value: str) -> bool:
    """Whether a text is a file or folder of this machine. Short texts such as "/" are settings."""
    return len(value) > 3 and "\n" not in value and Path(value).is_absolute() and Path(value).parent != Path("/")


def _base(model: Model, ask: AskHub | None, left: int) -> Base:
    found = _named(model, ask, left)
    if not model.keep_layers or model.continued:
        return found
    note = f"Training stood on a smaller model, made of {model.keep_layers} layers of {found.title}, evenly spaced."
    return replace(found, note=f"{note} {found.note}".strip(), exact=False)


def _named(model: Model, ask: AskHub | None, left: int) -> Base:
    name = model.id.strip()
    if name.startswith(catalog.PREFIX):
        return _embedded(catalog.embedded(name))
    if lineage.is_run(name):
        return _ancestor(name.removeprefix(lineage.PREFIX), ask, left, model.continued)
    folder = Path(name).expanduser()
    if folder.is_dir() or folder.is_absolute():
        return _of_folder(folder)
    known = next((entry for entry in catalog.HUB if entry.id == name), None)
    if ask is not None:
        stated, gated = ask(name, model.revision)
        return Base(name, name, stated or (known.license if known else None), gated, model.revision)
    if known is not None:
        return Base(name, name, known.license, known.gated, model.revision)
    return Base(name, name, revision=model.revision)


def _embedded(entry: catalog.Embedded) -> Base:
    id = entry.source.removeprefix(HUB_PAGE)
    if not entry.weights.endswith(".gguf"):
        return Base(id, id, entry.license)
    note = (
        f"Training stood on the copy of {id} in the package {entry.package} {entry.version}, whose weights are rounded "
        "to 4 bits (GGUF Q4_1). Put on the original weights, the adapter may answer slightly differently from the "
        "scores above."
    )
    return Base(id, id, entry.license, note=note, exact=False)


def _ancestor(run_id: str, ask: AskHub | None, left: int, continued: bool) -> Base:
    """The base of the run whose result this one started from. continued: this result holds what that run added."""
    unknown = Base(None, "the result of an earlier run", exact=False)
    folder = home.runs() / Path(run_id).name
    if not left or not (folder / "spec.yaml").is_file():
        return unknown
    try:
        first = _base(RunSpec.load(folder / "spec.yaml").model, ask, left - 1)
    except UserError:
        return unknown
    if continued:
        return first
    note = f"Training started from the result of an earlier run, which itself started from {first.title}."
    return replace(first, note=f"{note} {first.note}".strip(), exact=False)


def _of_folder(folder: Path) -> Base:
    """A folder's name, and what its own card or config states."""
    stated = _front_matter(folder / "README.md").get("license")
    named = isinstance(stated, str) and stated.strip()
    return Base(None, folder.name, str(stated).strip() if named else None, exact=False)


def _front_matter(card: Path) -> dict[str, Any]:
    try:
        text = card.read_text(encoding="utf-8")
        values = yaml.safe_load(text.split("---", 2)[1]) if text.startswith("---") else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, IndexError):
        return {}
    return values if isinstance(values, dict) else {}


def without_places(text: str) -> str:
    """The text with nothing of this machine's folders in it, should a name have carried one."""
    places = {str(place) for place in (home.home(), home.cache(), home.CHECKOUT, Path.home(), tempfile.gettempdir())}
    for place in sorted(places, key=len, reverse=True):
        if len(place) > len("/x"):
            text = re.sub(rf"{re.escape(place)}[^\s`'\")]*", "(a file)", text)
    return text
