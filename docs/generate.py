"""Writes the pages that follow from the code: `python docs/generate.py`. A test holds them current.

methods.md       every objective and tuner with its settings, and which pairs work
settings.md      every setting of a spec
command-line.md  every command and option
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from engine import objectives, tuners  # noqa: E402 - found through the line above
from engine.__main__ import parser  # noqa: E402
from engine.job import Method, pair_refusal  # noqa: E402
from engine.sections import Common  # noqa: E402
from engine.settings import Section, Setting, describe  # noqa: E402

MEASURED = FOLDER.parent / "benchmarks" / "results" / "methods.jsonl"
TASKS = {
    "minilm": "MiniLM, `classify`: 77 intents of a bank's customers, 8 rows of each to learn from, 385 held out",
    "smollm2-135m": "SmolLM2-135M, `chat`: the sample run, 480 rows to learn from, 120 held out",
}
NOTE = "<!-- Written by docs/generate.py; change the code, not this page. -->"


def pages() -> dict[str, str]:
    """The text of each page by its file name."""
    return {
        "methods.md": "\n".join(methods()) + "\n",
        "settings.md": "\n".join(settings()) + "\n",
        "command-line.md": "\n".join(command_line()) + "\n",
    }


def methods() -> Iterator[str]:
    yield from ("# Methods", "", NOTE, "")
    yield "An objective says what a model learns from, a tuner what part of it changes. The two are chosen separately."
    for heading, word, found in (("Objectives", "objective", objectives.all()), ("Tuners", "tuner", tuners.all())):
        yield from ("", f"## {heading}", "", f"| {word} | what it does | paper |", "| --- | --- | --- |")
        for method in found:
            yield f"| `{method.name}` {method.title} | {method.help} | {_paper(method)} |"
        for method in found:
            declared = describe(method.Settings)
            if declared:
                yield from ("", f"### Settings of `{method.name}`", "")
                yield from _table(method.Settings, declared)
    yield from ("", "## Pairs", "", "| | " + " | ".join(f"`{tuner.name}`" for tuner in tuners.all()) + " |")
    yield "| --- " * (len(tuners.all()) + 1) + "|"
    for objective in objectives.all():
        cells = [pair_refusal(objective, tuner) or "works" for tuner in tuners.all()]
        yield f"| `{objective.name}` | " + " | ".join(cells) + " |"
    yield from measured()


def measured() -> Iterator[str]:
    """What `python -m benchmarks.methods` found, best first; a mean over the seeds that there are."""
    lines = MEASURED.read_text(encoding="utf-8").splitlines() if MEASURED.exists() else []
    rows = [json.loads(line) for line in lines]
    if not rows:
        return
    yield from ("", "## Measured", "")
    yield "With the recommended settings, by `python -m benchmarks.methods`, on 2 processor cores without a GPU."
    yield "The interval (95 %) is of one seed's held-out rows, the widest where there are several. Seconds are"
    yield "of training alone, and depend on what else the machine does."
    for task, title in TASKS.items():
        found = [row for row in rows if row["task"] == task]
        if not found:
            continue
        yield from ("", f"### {title}", "")
        yield "| tuner | score | interval | weights that learn | seconds | memory | result | seeds |"
        yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
        by_tuner = {tuner.name: [row for row in found if row["tuner"] == tuner.name] for tuner in tuners.all()}
        yield from sorted(
            (_measured(name, runs) for name, runs in by_tuner.items() if runs),
            key=lambda line: -float(line.split(" | ")[1].split(" ")[0].replace("–", "-1")),
        )


def _measured(name: str, runs: list[dict[str, Any]]) -> str:
    done = [run for run in runs if "score" in run]
    if not done:
        told = runs[0].get("refused") or runs[0].get("failed")
        return f"| `{name}` | – | {told} | | | | | {len(runs)} |"
    mean = {key: statistics.mean(run[key] for run in done) for key in ("score", "seconds", "peak_memory_bytes")}
    widest = max(done, key=lambda run: run["high"] - run["low"])
    share = 100 * done[0]["trainable"] / done[0]["total"]
    return (
        f"| `{name}` | {100 * mean['score']:.1f} % | {100 * widest['low']:.1f} to {100 * widest['high']:.1f} "
        f"| {done[0]['trainable']:,} ({share:.2g} %) | {mean['seconds']:.0f} "
        f"| {mean['peak_memory_bytes'] / 1e9:.2f} GB | {done[0]['artifact_bytes'] / 1e6:.1f} MB | {len(done)} |"
    )


def settings() -> Iterator[str]:
    yield from ("# Settings of a spec", "", NOTE, "")
    yield "Every field but `model` and `data` may be left out."
    yield "The settings of objectives and tuners are in [methods.md](methods.md)."
    yield from _section(Common, "")


def _section(section: type[Section], path: str) -> Iterator[str]:
    declared = describe(section)
    plain = [setting for setting in declared if _inner(section, setting.name) is None]
    if plain:
        yield from ("", f"## `{path.removesuffix('.')}`" if path else "## On top", "")
        yield from _table(section, plain)
    for setting in declared:
        inner = _inner(section, setting.name)
        if inner is not None:
            yield from _section(inner, f"{path}{setting.name}.")


def _inner(section: type[Section], name: str) -> type[Section] | None:
    """The section that a setting holds, or holds a list of."""
    annotation: Any = section.model_fields[name].annotation
    for part in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(part, type) and issubclass(part, Section):
            return part
    return None


def _table(section: type[Section], declared: list[Setting]) -> Iterator[str]:
    yield from ("| setting | default | what it means |", "| --- | --- | --- |")
    for setting in declared:
        default = "required" if setting.required else _value(setting.default)
        choices = f" One of {', '.join(f'`{choice}`' for choice in setting.choices)}." if setting.choices else ""
        told = f"**{setting.title}.** {setting.help}{choices}{_limits(section, setting)}"
        yield f"| `{setting.name}` | {default} | {told} |"


def _limits(section: type[Section], setting: Setting) -> str:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [
        f"{word} {getattr(limit, kind):g}"
        for limit in section.model_fields[setting.name].metadata
        for kind, word in words.items()
        if getattr(limit, kind, None) is not None
    ]
    return f" {', '.join(found).capitalize()}." if found else ""


def _value(value: Any) -> str:
    if value is None or value in ("", {}, []):
        return "empty"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else f"`{value}`"


def _paper(method: Method) -> str:
    return f"[{method.paper.removeprefix('https://')}]({method.paper})" if method.paper else ""


def command_line() -> Iterator[str]:
    top = parser()
    yield from ("# Command line", "", NOTE, "", f"`{top.prog} COMMAND`: {top.description}", "")
    yield "Exit codes: 0 done, 1 the run did not finish or a bug, 2 a problem that you can solve, told in two lines."
    # Read from the parser and not from its help text, which looks different in every version of Python.
    commands = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    helps = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    for name, command in commands.choices.items():
        actions = [action for action in command._actions if not isinstance(action, argparse._HelpAction)]
        shown = " ".join([top.prog, name, *(_usage(action) for action in actions)])
        yield from ("", f"## {name}", "", _sentence(helps[name]), "")
        yield from ("```", shown, "```")
        told = [f"- `{_name(action)}`: {_sentence(_help(action))}" for action in actions if action.help]
        if told:
            yield from ("", *told)


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)


def _usage(action: argparse.Action) -> str:
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
    value = str(action.metavar or choices or action.dest.upper())
    if action.nargs == "+":
        value += " …"
    if not action.option_strings:
        return value
    text = action.option_strings[-1] if action.nargs == 0 else f"{action.option_strings[-1]} {value}"
    return text if action.required else f"[{text}]"


def _help(action: argparse.Action) -> str:
    return (action.help or "") % {"default": action.default, "prog": ""}


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", ")", "…")) else text + "."


if __name__ == "__main__":
    for file_name, text in pages().items():
        (FOLDER / file_name).write_text(text, encoding="utf-8")
