"""Several runs as one plan: each is a stage, and may begin with what an earlier stage leaves ("stage:N"). No torch.

A plan is a mapping, in YAML or from the page:

    stages:
      - {data: [{source: documents.zip}], model: {id: owner/name}, objective: text}
      - {data: [{source: chats.jsonl}]}        # without a model: it begins with what stage 1 leaves
    compare: true                               # learn the task without the first stage, too

All of it is checked before anything starts, by what can be known of results that are yet to be made: they have the
shapes and the tokenizer of the model at the beginning of their line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine import reporters
from engine.bases import lineage, models
from engine.bases.lineage import PREFIX as RUN
from engine.bases.lineage import Parent
from engine.bases.models import ModelFacts
from engine.data.prepare import Prepared
from engine.errors import SettingError, UserError
from engine.planning import jobs
from engine.specs.sections import Model
from engine.specs.spec import RunSpec, of_spec, read_yaml

PREFIX = "stage:"
FEWEST, MOST = 2, 6
READS = "text"
"""The objective of a stage that reads a domain's texts; a task comes after it."""
FIX = "Mend this and start again; nothing has been started."


@dataclass(frozen=True)
class Planned(Parent):
    """What a stage will leave, as far as it is known beforehand."""

    is_changed: bool = False

    @property
    def called(self) -> str:
        return f"stage {self.id}"

    @property
    def is_whole(self) -> bool:
        return self.is_changed


@dataclass(frozen=True)
class Stages:
    """The plan. Stages are numbered from 1."""

    specs: list[RunSpec]
    name: str = ""
    compared: int | None = None
    """Number of the stage that is learned a second time, without those before it."""

    @classmethod
    def parse(cls, values: Any, fewest: int = FEWEST) -> Stages:
        """Build it from plain values. Raises SettingError that lists what is refused in all stages, with their numbers.

        fewest: stages that it has to have.
        """
        if not isinstance(values, Mapping) or not isinstance(values.get("stages"), list):
            raise SettingError(["The plan has no list of stages."], "Start it with 'stages:' and a spec for each.")
        unknown = sorted(map(str, values.keys() - {"stages", "name", "compare"}))
        problems = [f"{name}: a plan has no such entry. Known: stages, name, compare." for name in unknown]
        if not fewest <= len(values["stages"]) <= MOST:
            problems.append(f"The plan has {len(values['stages'])} stages; it should have {fewest} to {MOST}.")
        specs = []
        for number, given in enumerate(values["stages"], 1):
            try:
                specs.append(RunSpec.parse(_with_model(given, number)))
                problems += _refused(specs[-1], number)
            except SettingError as error:
                problems += [f"{title(number)}: {problem}" for problem in error.problems]
        if problems:
            raise SettingError(problems, FIX)
        return cls(specs, str(values.get("name") or "").strip()).comparing(values.get("compare", False))

    @classmethod
    def load(cls, path: Path) -> Stages:
        """Read a YAML file. Raises UserError."""
        return cls.parse(read_yaml(path))

    def comparing(self, asked: Any) -> Stages:
        """The plan that also learns a stage without those before it. Raises SettingError where there is none such.

        asked: the stage's number; True for the first one after reading, False for none.
        """
        if asked is False or asked is None:
            return replace(self, compared=None)
        led = [number for number, spec in enumerate(self.specs, 1) if is_stage(spec.model.id)]
        if asked is True and led:
            tasks = [number for number in led if self.specs[number - 1].objective.name != READS]
            return replace(self, compared=(tasks or led)[0])
        if isinstance(asked, bool) or not isinstance(asked, int) or asked not in led:
            known = ", ".join(map(str, led)) or "none, since no stage begins with what an earlier one leaves"
            raise SettingError([f"compare is {str(asked).lower()}; the stages that it can name: {known}."], FIX)
        return replace(self, compared=asked)

    def as_dict(self) -> dict[str, Any]:
        """Plain values from which `parse` makes it again."""
        plan = {"name": self.name, "stages": [spec.as_dict() for spec in self.specs]}
        return plan | {"compare": self.compared or False}

    def base(self, model: Model) -> Model:
        """The model at the beginning of the line that a stage's model stands in."""
        if not is_stage(model.id):
            return model
        before = self.base(self.specs[number_of(model.id) - 1].model)
        kept = model.keep_layers or before.keep_layers
        return before.model_copy(update={"load": model.load, "keep_layers": kept})

    def line(self, number: int) -> tuple[int, ...]:
        """Numbers of the stages that a stage's model comes from, in their order."""
        model = self.specs[number - 1].model
        if not is_stage(model.id):
            return ()
        before = number_of(model.id)
        return (*self.line(before), before)

    def alone(self) -> RunSpec:
        """The compared stage without those before it: same rows, seed and settings, from the base model."""
        if self.compared is None:
            raise ValueError("nothing is compared")
        spec = self.specs[self.compared - 1]
        return replace(spec, model=self.base(spec.model))

    def stand_in(self, number: int) -> RunSpec:
        """A stage with models that are there in place of those that are yet to be made: to plan it with."""
        spec = self.specs[number - 1]
        model = lineage.base(self.base(spec.model))
        own = {"load": spec.model.load, "continued": spec.model.continued and not is_stage(spec.model.id)}
        return replace(
            spec,
            model=self.base(spec.model) if own["continued"] else model.model_copy(update=own),
            objective_settings=spec.objective.planned(spec.objective_settings, spec.model.id, self._base_name),
        )

    def left(self, number: int) -> Planned:
        """What a stage will leave."""
        spec = self.specs[number - 1]
        changed = spec.tuner.kind == "gradient" and not spec.tuner.added_file
        settings = spec.tuner_settings.model_dump()
        return Planned(str(number), Path(), spec.model, spec.objective.name, spec.tuner.name, settings, changed)

    def before(self, spec: RunSpec) -> Planned | None:
        """What a stage begins with, where an earlier one leaves that."""
        return self.left(number_of(spec.model.id)) if is_stage(spec.model.id) else None

    def facts(self, model: Model) -> ModelFacts:
        """As `engine.bases.models.facts`, also of what a stage will leave. Raises ModelError."""
        return models.kept(self._whole_facts(model), model)

    def check(self, report: Callable[[str], None]) -> list[Prepared]:
        """The rows of each stage. Fetches the models; nothing starts.

        report: told in a sentence what takes time. Raises SettingError with all problems of all stages.
        """
        problems: list[str] = []
        found = []
        for number in range(1, len(self.specs) + 1):
            report(f"Looking at stage {number} of {len(self.specs)}.")
            prepared, refused = self._looked_at(number, report)
            problems += refused
            if prepared is not None:
                found.append(prepared)
        if self.compared is not None and not problems:
            try:
                alone = self.alone()
                jobs.require_pair(alone, self.facts(alone.model))
            except UserError as error:
                problems += _told(error, f"{title(self.compared)} without those before it")
        if problems:
            raise SettingError(problems, FIX)
        return found

    def require(self, number: int) -> None:
        """As `check`, of one stage."""
        _, problems = self._looked_at(number, lambda text: None)
        if problems:
            raise SettingError(problems, FIX)

    def require_pair(self, number: int) -> None:
        """Raises UserError where a stage's objective, tuner and model don't go together."""
        spec = self.specs[number - 1]
        jobs.require_pair(spec, self.facts(spec.model), self.before(spec))

    def _looked_at(self, number: int, report: Callable[[str], None]) -> tuple[Prepared | None, list[str]]:
        """The rows of a stage, and its problems."""
        spec = self.specs[number - 1]
        problems: list[str] = []
        prepared: Prepared | None = None
        try:
            prepared = of_spec(spec).require()
        except UserError as error:
            problems += _told(error, title(number))
        try:
            self._require(number, prepared, report)
        except UserError as error:
            problems += _told(error, title(number))
        return prepared, problems

    def _require(self, number: int, prepared: Prepared | None, report: Callable[[str], None]) -> None:
        """Raises UserError where a stage's model, objective, tuner and rows don't go together."""
        spec, stand_in = self.specs[number - 1], self.stand_in(number)
        reporters.require(spec.output.reporters)
        self.require_pair(number)
        facts = self.facts(spec.model)
        spec = spec.on(facts)
        folder = models.ensure(stand_in.model, report)
        spec.tuner.settled(spec.tuner_settings, folder)
        if prepared is not None:
            rows = spec.objective.chosen(prepared.examples, spec.objective_settings, spec.training.seed)
            settings = stand_in.objective.settled(stand_in.objective_settings, folder, rows)
            stand_in.objective.gathered(settings, stand_in.model, facts, folder, report)

    def _whole_facts(self, model: Model) -> ModelFacts:
        if not is_stage(model.id):
            return models.facts(model.model_copy(update={"keep_layers": 0}))
        number = number_of(model.id)
        before = self.specs[number - 1]
        known = self.facts(before.model)
        if model.continued:
            return known
        head = before.objective.leaves_words(known)
        if head is not None:
            known = replace(known, has_mlm_head=head > 0, mlm_head_parameters=head)
        elif self.left(number).is_whole and not before.objective.whole(known):
            known = replace(known, has_mlm_head=False, mlm_head_parameters=0)
        return replace(known, id=f"what stage {number} leaves", revision=None, download_bytes=None)

    def _base_name(self, name: str) -> str:
        return self.base(Model(id=name)).id if is_stage(name) else name


def is_stage(name: str) -> bool:
    return name.strip().startswith(PREFIX)


def number_of(name: str) -> int:
    """The stage that "stage:N" names. Raises SettingError."""
    number = name.strip().removeprefix(PREFIX)
    if not number.isdecimal() or len(number) > 2:
        raise SettingError([f"{name!r} names no stage."], f"Write it as {PREFIX}1.")
    return int(number)


def title(number: int) -> str:
    return f"Stage {number}"


def needs(spec: RunSpec) -> list[int]:
    """Numbers of the stages whose results a stage uses."""
    used = [spec.model.id, *spec.objective.models(spec.objective_settings)]
    return sorted({number_of(name) for name in used if is_stage(name)})


def named(spec: RunSpec, runs: Mapping[int, str]) -> RunSpec:
    """The spec with runs in place of stages. runs: their ids by the stages' numbers."""

    def renamed(name: str) -> str:
        return f"{RUN}{runs[number_of(name)]}" if is_stage(name) else name

    return replace(
        spec,
        model=spec.model.model_copy(update={"id": renamed(spec.model.id)}),
        objective_settings=spec.objective.renamed(spec.objective_settings, renamed),
    )


def _with_model(given: Any, number: int) -> Any:
    """A stage that names no model begins with what the one before it leaves."""
    if number == 1 or not isinstance(given, Mapping):
        return given
    model = given.get("model") or {}
    if not isinstance(model, Mapping) or "id" in model:
        return given
    return {**given, "model": {"id": f"{PREFIX}{number - 1}", **model}}


def _refused(spec: RunSpec, number: int) -> list[str]:
    """What of its references leads nowhere."""
    try:
        wrong = [one for one in needs(spec) if not 1 <= one < number]
    except SettingError as error:
        return [f"{title(number)}: {problem} {error.fix}" for problem in error.problems]
    known = "none" if number == 1 else ", ".join(f"{PREFIX}{one}" for one in range(1, number))
    return [f"{title(number)}: {PREFIX}{one} is no stage before it. There is: {known}." for one in wrong]


def _told(error: UserError, where: str) -> list[str]:
    problems = error.problems if isinstance(error, SettingError) else [error.problem]
    *rest, last = problems
    return [*(f"{where}: {problem}" for problem in rest), f"{where}: {last} {error.fix}".strip()]
