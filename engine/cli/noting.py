"""note, preset: what a person says of a run, and settings kept under a name."""

from __future__ import annotations

import json
from argparse import Namespace, _SubParsersAction
from typing import Any

from engine.bases import access
from engine.runs import store
from engine.specs import presets


def add(commands: _SubParsersAction[Any]) -> None:
    note = commands.add_parser("note", help="give a run another name, a note, tags")
    note.add_argument("run", metavar="RUN")
    note.add_argument("--name", help="what it is called")
    note.add_argument("--text", help="the note, in place of the one it has; empty for none")
    note.add_argument("--tag", action="append", metavar="TAG", help="a tag; give it again for more, empty for none")
    note.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    note.set_defaults(call=_note)

    preset = commands.add_parser("preset", help="list the presets, save a run's settings as one, delete one")
    preset.add_argument("--save", nargs=2, metavar=("RUN", "NAME"), help="keep the settings of a run under a name")
    preset.add_argument("--delete", metavar="NAME")
    preset.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    preset.set_defaults(call=_preset)


def _note(options: Namespace) -> int:
    said = store.annotate(store.get(options.run), options.name, options.text, options.tag)
    record = {"run": said.id, "name": said.name, "note": said.note, "tags": list(said.tags)}
    if options.json:
        print(json.dumps(record, ensure_ascii=False))
        return 0
    for line in (said.name, said.note, ", ".join(said.tags)):
        if line:
            print(line)
    return 0


def _preset(options: Namespace) -> int:
    if options.save:
        run, name = options.save
        presets.save(access.LOCAL, name, store.get(run).spec())
    if options.delete:
        presets.delete(access.LOCAL, options.delete)
    found = [known.as_dict() for known in presets.listed(access.LOCAL)]
    if options.json:
        print(json.dumps({"presets": found}, ensure_ascii=False))
        return 0
    for known in found:
        print(f"{known['name']}: {known['model']}, {known['objective']} × {known['tuner']}")
    if not found:
        print("No presets yet. Save one with: python -m engine preset --save RUN NAME")
    return 0
