"""A run as a person describes it: `RunSpec`. Parse, load, save and change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from engine import objectives, tuners
from engine.bases.models import ModelFacts
from engine.data import mixture
from engine.data.prepare import Prepared, prepare
from engine.data.rows import Table
from engine.errors import SettingError, UserError
from engine.methods.objective import Objective
from engine.methods.tuner import Tuner
from engine.settings import Section, parse
from engine.specs.sections import Common, Data, Evaluate, Launch, Mixture, Model, Output, Training

VERSION = 1


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides what a run does. Equal specs on equal data give equal runs."""

    name: str
    model: Model
    data: list[Data]
    objective: Objective
    objective_settings: Section
    tuner: Tuner
    tuner_settings: Section
    mixture: Mixture
    training: Training
    evaluation: Evaluate
    output: Output
    launch: Launch

    @classmethod
    def parse(cls, values: Any) -> RunSpec:
        """Build a spec from a mapping (YAML, a form, an API call).

        Raises SettingError that lists all refused values, of every section, at once.
        """
        if not isinstance(values, Mapping):
            raise SettingError(["The spec is not a mapping of sections."], "Start it with 'model:' and 'data:'.")
        values = _migrated(dict(values))
        problems: list[str] = []
        chosen = {}
        for part, registry in (("objective", objectives), ("tuner", tuners)):
            given = values.pop(part, None) or {}
            try:
                chosen[part] = _choice(part, registry, given)
            except SettingError as error:
                problems += error.problems
        try:
            common = parse(Common, values, "")
        except SettingError as error:
            problems = error.problems + problems
        if problems:
            raise SettingError(problems)
        objective, objective_settings = chosen["objective"]
        tuner, tuner_settings = chosen["tuner"]
        rest = {
            name: getattr(common, name)
            for name in ("name", "model", "data", "mixture", "training", "evaluation", "output", "launch")
        }
        return cls(
            objective=objective,
            objective_settings=objective_settings,
            tuner=tuner,
            tuner_settings=tuner.with_data(tuner_settings, common.data),
            **rest,
        )

    @classmethod
    def load(
        cls, path: Path, changes: Mapping[str, str] | None = None, preset: Mapping[str, Any] | None = None
    ) -> RunSpec:
        """Read a YAML file. `changes` maps dotted names to YAML values ("tuner.rank": "8").

        preset: plain sections that hold where the file says nothing.
        """
        values = read_yaml(path)
        if preset and isinstance(values, Mapping):
            values = {**preset, **values}
        return cls.parse(changed(values, changes or {}))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, complete: defaults are written out, so that a spec means the same later."""
        record: dict[str, Any] = {"version": VERSION, "name": self.name, "model": self.model.model_dump()}
        record["data"] = [entry.model_dump() for entry in self.data]
        record["objective"] = {"name": self.objective.name, **self.objective_settings.model_dump()}
        record["tuner"] = {"name": self.tuner.name, **self.tuner_settings.model_dump()}
        for part in ("mixture", "training", "evaluation", "output", "launch"):
            record[part] = getattr(self, part).model_dump()
        return record

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.as_dict(), sort_keys=False, allow_unicode=True)

    def save(self, path: Path) -> None:
        path.write_text(self.to_yaml(), encoding="utf-8")

    def settled(self, prepared: Prepared) -> RunSpec:
        """With what was found in its data written down, so that it means the same later. Raises SettingError."""
        settings = self.objective.of_rows(self.objective_settings, prepared.examples)
        return replace(self, data=prepared.settled(self.data), objective_settings=settings)

    def tasks(self) -> list[str]:
        """Names of its data sets, where it matters as which of them it is asked; else none."""
        if len(self.data) < 2:
            return []
        goal, settings = self.objective, self.objective_settings
        apart = self.tuner.tasks(self.tuner_settings) or goal.separates(settings) or goal.prefixed(settings)
        systems = {entry.system for entry in self.data} if goal.wants == "messages" else set()
        return mixture.names(self.data) if apart or len(systems) > 1 else []

    def before(self) -> list[str]:
        """Of each data set, what stands before its texts."""
        prefixed = len(self.data) > 1 and self.objective.prefixed(self.objective_settings)
        return [mixture.prefix(name) if prefixed else "" for name in mixture.names(self.data)]

    def on(self, facts: ModelFacts) -> RunSpec:
        """The spec with its objective as it is for this kind of model."""
        return replace(self, objective=self.objective.of(facts))

    def longest_row(self, facts: ModelFacts) -> int:
        """Tokens that a row may have: as the setting says, and as the model reads beside virtual ones."""
        most = self.training.max_tokens
        if not facts.context:
            return most
        return min(most, max(1, facts.context - self.tuner.virtual_tokens(self.tuner_settings)))

    def with_data(self, data: list[Data]) -> RunSpec:
        return replace(self, data=data, tuner_settings=self.tuner.with_data(self.tuner_settings, data))


def of_spec(spec: RunSpec, tables: Sequence[Table] | None = None) -> Prepared:
    """The rows of a run. tables: of its data entries, where they were read already. Raises DataError."""
    kind = spec.objective.kind(spec.objective_settings)
    beside = spec.objective.reads_beside
    prepared = prepare(
        spec.data, spec.objective.wants, spec.training.seed, tables=tables, kind=kind, reads_beside=beside
    )
    if len(spec.data) < 2:
        return prepared
    if spec.objective.separates(spec.objective_settings):
        prepared.require_apart(spec.data)
    before = spec.before()
    return replace(prepared, examples=[replace(row, before=before[row.source]) for row in prepared.examples])


def read_yaml(path: Path) -> Any:
    """What a YAML file holds. Raises UserError that names the place where it is none."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.", "Check the path of the spec.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read: {error}.", "Give a YAML file in UTF-8.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UserError(f"{path} is not valid YAML{place}.", "Check indentation and quotes there.") from None


def changed(values: Any, changes: Mapping[str, str]) -> Any:
    """A copy of the plain spec `values` with dotted names set; list items are addressed by number ("data.0.source")."""
    for name, text in changes.items():
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        # YAML reads 2e-4 as text; a person means a number.
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                pass
        values = _set(values, name.split("."), value, name)
    return values


def _set(values: Any, path: list[str], value: Any, name: str) -> Any:
    key, rest = path[0], path[1:]
    if isinstance(values, list):
        if not key.isdigit() or int(key) >= len(values):
            raise SettingError([f"{name}: there is no item {key!r}; the list has {len(values)}."])
        return [
            item if index != int(key) else _set(item, rest, value, name) if rest else value
            for index, item in enumerate(values)
        ]
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise SettingError([f"{name}: {key!r} can't be set inside the value {values!r}."])
    return {**values, key: _set(values.get(key), rest, value, name) if rest else value}


def _choice(part: str, registry: Any, given: Any) -> tuple[Any, Section]:
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping):
        raise SettingError([f"{part} is {given!r}; it should be a name with settings, such as {{name: lora}}."])
    settings = dict(given)
    name = settings.pop("name", registry.DEFAULT)
    method = registry.get(str(name))
    return method, parse(method.Settings, settings, part)


def _migrated(values: dict[str, Any]) -> dict[str, Any]:
    version = values.get("version", VERSION)
    if version != VERSION:
        raise SettingError(
            [f"This spec is of version {version!r}; this Tunesmith reads version {VERSION}."],
            "Install the newer Tunesmith.",
        )
    return values
