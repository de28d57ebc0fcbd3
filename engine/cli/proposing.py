"""words: words that stand for labels, proposed by the model itself, as YAML to put into a spec."""

from __future__ import annotations

import json
from argparse import Namespace, _SubParsersAction
from collections.abc import Iterator
from typing import Any

import yaml

from engine import word_choice
from engine.bases import catalog
from engine.cli import data
from engine.specs.spec import RunSpec, of_spec
from engine.texts import label_words
from engine.word_choice import Proposal

OBJECTIVE = "cloze"


class _Lines(str):
    """A text that YAML writes as it stands, line by line."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Lines, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|"))


def add(commands: _SubParsersAction[Any]) -> None:
    words = commands.add_parser(
        "words",
        help="propose a word of the model for every label, for the objective cloze",
        description=(
            "The untouched model reads some rows of each label in the template. Words of one token that it finds "
            "likelier there than with the other labels are printed as the objective of a spec; lines that begin with "
            "# say how sure it is, and which words came next."
        ),
    )
    data.add_entry(words)
    words.add_argument("--model", default=catalog.SMOLLM2.id, help="which model is asked (default: %(default)s)")
    words.add_argument("--template", help="the prompt with {text} and {label} (default: that of the objective)")
    words.add_argument("--seed", type=int, default=42, help="draws the rows that are read (default: %(default)s)")
    words.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    words.set_defaults(call=_words)


def _words(options: Namespace) -> int:
    # Between quotes, a terminal gives \\n where a person means the end of a line.
    template = {"template": options.template.replace("\\n", "\n")} if options.template else {}
    spec = RunSpec.parse(
        {
            "model": {"id": options.model},
            "data": [data.entry(options).model_dump()],
            "objective": {"name": OBJECTIVE, **template},
            "training": {"seed": options.seed},
        }
    )
    prepared = of_spec(spec).require()
    found = word_choice.proposed(spec, prepared)
    missing = sorted({example.label for example in prepared.examples} - {one.label for one in found})
    if options.json:
        print(json.dumps(_record(spec, found, missing), ensure_ascii=False))
    else:
        print("\n".join(_lines(spec, found, missing)))
    return 0


def _written(found: list[Proposal]) -> str:
    return label_words.written({one.label: one.word for one in found})


def _record(spec: RunSpec, found: list[Proposal], missing: list[str]) -> dict[str, Any]:
    return {
        "model": spec.model.id,
        "template": spec.objective_settings.model_dump()["template"],
        "label_words": _written(found),
        "labels": [{"label": one.label, "word": one.word, "times": one.times, "others": one.others} for one in found],
        "without_a_word": missing,
    }


def _lines(spec: RunSpec, found: list[Proposal], missing: list[str]) -> Iterator[str]:
    yield f"# Words for {len(found)} labels, as {spec.model.id} reads their rows."
    for one in found:
        others = f"; then {', '.join(one.others)}" if one.others else ""
        sure = f"{one.times:,.1f} times as likely as with the others"
        yield f"# {label_words.named(one.label)}: {one.word}, {sure}{others}"
    for label in missing:
        yield f"# {label_words.named(label)}: no word was left; its own name stands in"
    settings = spec.objective_settings.model_dump()
    objective = {
        "name": OBJECTIVE,
        "template": _Lines(settings["template"]),
        "label_words": _Lines(_written(found)),
    }
    yield yaml.dump({"objective": objective}, Dumper=_Dumper, sort_keys=False, allow_unicode=True).rstrip("\n")
