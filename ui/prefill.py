"""A new run that opens with settings: those of an earlier run, of a preset, and changes to them, all by the address.

`?from=RUN`, `?preset=NAME` or `?merge=RUN,RUN`, and any number of `set=training.epochs=5` besides. Nothing is started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import parse_qs

from engine import objectives, tuners
from engine.bases import catalog
from engine.errors import SettingError, UserError
from engine.planning import stacking
from engine.settings import describe
from engine.specs import presets
from engine.specs.spec import RunSpec, changed
from ui import owner, sources, words
from ui.data_sets import Entry, Sets
from ui.screens import data
from ui.screens.method import COMMON

MOST_CHANGES = 50
MOST_LETTERS = 4000
MOST_MERGED = 8
WRITTEN = {"true": "on", "false": "off"}
DATA, METHOD, PLAN = 1, 2, 3
"""Steps to stand on."""


@dataclass(frozen=True)
class Prefill:
    spec: dict[str, Any]
    """Complete, as `RunSpec.as_dict` gives it."""
    entry: Entry
    """Of its data, what is open in step 1; with an empty source where the data is still to be given."""
    sets: Sets
    """The others, which stand ready."""
    note: str
    """What this is, as markup."""
    step: int
    has_data: bool
    name: str = ""


def asked(address: str) -> Prefill | str | None:
    """What an address ("?from=…") asks for; None for nothing; markup for what can't be opened."""
    query = parse_qs(str(address or "")[:MOST_LETTERS].removeprefix("?"), keep_blank_values=True)
    way = next((name for name in WAYS if query.get(name)), None)
    if way is None:
        return None
    try:
        spec, title = WAYS[way](query[way][0])
    except UserError as error:
        return words.failure(error)
    return _opened(spec, title, query.get("set", [])[:MOST_CHANGES], with_data=way != "preset")


def _of_run(run_id: str) -> tuple[dict[str, Any], str]:
    run = owner.own(run_id)
    return run.spec().as_dict(), f"run {run.name}"


def _of_merge(ids: str) -> tuple[dict[str, Any], str]:
    """ids: of two or more runs, with commas between them."""
    found = [owner.own(run_id) for run_id in dict.fromkeys(ids.split(",")[:MOST_MERGED])]
    spec = stacking.merge_of(found[0].spec(), [run.id for run in found])
    return spec.as_dict(), f"a merge of {' and '.join(run.name for run in found)}"


def _of_preset(name: str) -> tuple[dict[str, Any], str]:
    """A preset says nothing of the data, and may leave out more."""
    plain = {"model": {"id": catalog.SMOLLM2.id}, "data": [{"source": "-"}]}
    given = {part: value for part, value in _preset(name).items() if part != "data"}
    return RunSpec.parse({**plain, **given}).as_dict(), f"preset {name}"


def _opened(spec: dict[str, Any], title: str, given: list[str], with_data: bool) -> Prefill:
    notes = [f"<p><strong>Settings of {escape(title)}.</strong> Nothing has been started.</p>"]
    changes = {name.strip(): value for name, _, value in (item.partition("=") for item in given)}
    if changes:
        try:
            spec = RunSpec.parse(changed(_for(spec, changes), changes)).as_dict()
            told = ", ".join(
                f"{escape(_title(spec, name))} {escape(WRITTEN.get(value, value))}" for name, value in changes.items()
            )
            notes.append(f"<p>Changed: {told}.</p>")
        except SettingError as error:
            refused = " ".join(map(escape, error.problems))
            notes.append(f"<p role='alert'><strong>The changes were not made.</strong> {refused}</p>")
    there = [entry for entry in spec["data"] if _is_there(entry)] if with_data else []
    gone = len(spec["data"]) - len(there) if with_data else 0
    if gone:
        which = "Its data is" if not there else f"{gone} of its {len(spec['data'])} data sets are"
        notes.append(f"<p>{which} not there any more. Give it again; all other settings are kept.</p>")
    has_data = with_data and not gone
    entry = there.pop(0) if has_data else {**spec["data"][0], "source": ""}
    sets = Sets([data.ready(one) for one in there], 0 if has_data else len(there))
    note = f"<div class='ts-note'>{''.join(notes)}</div>"
    return Prefill(spec, entry, sets, note, PLAN if has_data else DATA, has_data, spec.get("name") or "")


def _is_there(entry: Entry) -> bool:
    try:
        sources.require(entry["source"])
    except UserError:
        return False
    return True


def _title(spec: dict[str, Any], name: str) -> str:
    """What the page calls a setting that is named by its place in the spec."""
    part, _, rest = name.partition(".")
    registry = {"objective": objectives, "tuner": tuners}.get(part)
    section = registry.get(spec[part]["name"]).Settings if registry else COMMON.get(part)
    known = {setting.name: setting.title for setting in describe(section)} if section else {}
    return known.get(rest, name)


def _for(spec: dict[str, Any], changes: Mapping[str, str]) -> dict[str, Any]:
    """The spec before changes: a method that is exchanged takes none of the other's settings along."""
    for part in ("objective", "tuner"):
        name = changes.get(f"{part}.name", changes.get(part, "")).strip()
        if name and name != spec[part]["name"]:
            spec = {**spec, part: {"name": name}}
    return spec


def _preset(name: str) -> dict[str, Any]:
    return presets.load(owner.current(), name)


WAYS: dict[str, Callable[[str], tuple[dict[str, Any], str]]] = {
    "from": _of_run,
    "preset": _of_preset,
    "merge": _of_merge,
}
"""Parts of the address that open a new run: what each gives is a spec, and what it is called."""
