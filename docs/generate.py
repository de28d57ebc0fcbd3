"""Writes the pages that follow from the code: `python docs/generate.py`. A test holds them current.

methods.md       every objective and tuner with its settings, and which pairs work
settings.md      every setting of a spec
command-line.md  every command and option
memory.md        predicted and measured peak memory of every tuner
speed.md         how a run is computed, how fast that is, and what was tried for it
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from benchmarks import goals, speed_page  # noqa: E402 - found through the line above
from benchmarks import memory as memory_benchmark  # noqa: E402
from engine import objectives, tuners  # noqa: E402
from engine.__main__ import parser  # noqa: E402
from engine.method import Method  # noqa: E402
from engine.methods import ideas  # noqa: E402
from engine.methods import measured as measurements  # noqa: E402
from engine.methods.measured import HEAD, Figures, Missing  # noqa: E402
from engine.methods.objective import pair_refusal  # noqa: E402
from engine.settings import Section, Setting, describe  # noqa: E402
from engine.specs.sections import Common  # noqa: E402

NOTE = "<!-- Written by docs/generate.py; change the code, not this page. -->"


def pages() -> dict[str, str]:
    """The text of each page by its file name."""
    return {
        "methods.md": "\n".join(methods()) + "\n",
        "settings.md": "\n".join(settings()) + "\n",
        "command-line.md": "\n".join(command_line()) + "\n",
        "memory.md": "\n".join(memory()) + "\n",
        "speed.md": "\n".join(["# Speed", "", NOTE, "", *speed_page.told()]) + "\n",
    }


def methods() -> Iterator[str]:
    yield from ("# Methods", "", NOTE, "")
    yield "An objective says what a model learns from, a tuner what part of it changes. The two are chosen separately."
    yield from ("", "## Objectives", "", "| objective | what it does | paper |", "| --- | --- | --- |")
    for objective in objectives.all():
        yield f"| `{objective.name}` {objective.title} | {objective.help} | {_paper(objective)} |"
    yield from _settings_of(objectives.all())
    yield from ("", "## Tuners", "", "Five ideas of how much of a model changes, from most to least.")
    for chapter in ideas.chapters(tuners.all()):
        yield from ("", f"### {chapter.title}", "", chapter.text)
        for family, inside in {"": chapter.usual, **chapter.families}.items():
            if inside:
                yield from ("", f"{family}:", "") if family else ("",)
                yield from ("| tuner | what it is | when | paper |", "| --- | --- | --- | --- |")
                for tuner in inside:
                    yield f"| `{tuner.name}` {tuner.title} | {tuner.help} | {tuner.choose} | {_paper(tuner)} |"
    yield from _settings_of(tuners.all())
    yield from ("", "## Pairs", "", "| | " + " | ".join(f"`{tuner.name}`" for tuner in tuners.all()) + " |")
    yield "| --- " * (len(tuners.all()) + 1) + "|"
    for objective in objectives.all():
        cells = [pair_refusal(objective, tuner) or "works" for tuner in tuners.all()]
        yield f"| `{objective.name}` | " + " | ".join(cells) + " |"
    yield from measured()
    yield from goals.told()


def _settings_of(methods: Sequence[Method]) -> Iterator[str]:
    for method in methods:
        declared = describe(method.Settings)
        if declared:
            yield from ("", f"### Settings of `{method.name}`", "")
            yield from _table(method.Settings, declared)


def measured() -> Iterator[str]:
    """What `python -m benchmarks.methods` found, best first; a mean over the seeds that there are."""
    found = {task: measurements.of(task) for task in measurements.TASKS}
    if not any(found.values()):
        return
    yield from ("", "## Measured", "")
    yield "With the recommended settings, by `python -m benchmarks.methods`, on one core and no GPU."
    yield "The interval (95 %) is of one seed's held-out rows, the widest where there are several. Beside the head: how"
    yield "many points more rows are right than by `head`, with the interval (95 %) over the same rows. Seconds are of"
    yield "training alone, on one core, less what other programs took of it, of the fastest seed. They are upper"
    yield "bounds: programs on the other core slow it down, too. Where a row was measured again on a processor without"
    yield "bfloat16, which takes twice as long, seconds and memory are of the run before. On SmolLM2 `lora`,"
    yield "`lora-plus`, `lora-fa`, `pissa` and `olora` were computed on the fast path ([speed.md](speed.md))."
    yield "A tuner or a seed without a row is still to be run."
    for task, figures in found.items():
        if figures:
            yield from ("", f"### {task.title}", "")
            head = next((one for one in figures if isinstance(one, Figures) and one.tuner == HEAD), None)
            heads = (
                "tuner",
                "score",
                "interval",
                "beside the head",
                "weights that learn",
                "seconds",
                "memory",
                "result",
            )
            yield f"| {' | '.join(heads)} | seeds |"
            yield f"|{' --- |' * (len(heads) + 1)}"
            yield from (_measured(one, head) for one in figures)


def _measured(found: Figures | Missing, head: Figures | None) -> str:
    if isinstance(found, Missing):
        return f"| `{found.tuner}` | – | {found.reason} | | | | | | {found.seeds} |"
    over = found.over(head) if head is not None and found.tuner != HEAD else None
    gain = "" if over is None else f"{100 * over[0]:+.1f} ({100 * over[1]:+.1f} to {100 * over[2]:+.1f})"
    share = 100 * found.trainable / found.total
    return (
        f"| `{found.tuner}` | {100 * found.score:.1f} % | {100 * found.low:.1f} to {100 * found.high:.1f} | {gain} "
        f"| {found.trainable:,} ({'100' if share > 99.5 else f'{share:.2g}'} %) | {found.seconds:.0f} "
        f"| {found.peak_memory_bytes / 1e9:.2f} GB | {found.artifact_bytes / 1e6:.1f} MB | {found.seeds} |"
    )


def memory() -> Iterator[str]:
    yield from ("# Memory", "", NOTE, "")
    yield (
        "Before a run starts, the most memory that it will hold is predicted from the model's shapes, the rows' "
        "lengths and the tuner (`engine/planning/memory.py`). Where that does not fit, the run is laid out "
        "smaller, or refused with what would fit. Here is what real workers held on a processor "
        "(`benchmarks/memory.py`), beside what the present code predicts for them. A worker that has loaded its "
        "libraries and nothing else holds about 550 MB. Two equal runs have differed by as much as 8 %."
    )
    measured = memory_benchmark.rows()
    off = [row for row in measured if "peak" in row and abs(memory_benchmark.error(row)) >= memory_benchmark.MOST_OFF]
    yield from ("", f"Predictions that are off by {memory_benchmark.MOST_OFF:.0%} or more: {len(off)}.")
    for model, task in memory_benchmark.TASKS.items():
        about = f"{task.objective}, {task.batch} rows of about {task.words} words at a time, {task.steps} steps"
        yield from ("", f"## {model.removeprefix('embedded:')}: {about}", "")
        yield from ("| tuner | settings | measured | predicted | off by |", "| --- | --- | --- | --- | --- |")
        places = [tuner.name for tuner in tuners.all()]
        own = [row for row in measured if row["model"] == model]
        yield from map(_remembered, sorted(own, key=lambda row: places.index(row["tuner"]["name"])))


def _remembered(row: dict[str, Any]) -> str:
    further = {key: value for key, value in row["tuner"].items() if key != "name"}
    further |= {"precision": "bfloat16"} | row["training"]
    told = ", ".join(f"{key} {value}" for key, value in further.items())
    start = f"| `{row['tuner']['name']}` | {told} |"
    if "peak" not in row:
        return f"{start} {row['refused']} | | |"
    total = sum(part.bytes for part in memory_benchmark.predicted(row))
    return f"{start} {row['peak'] / 1e6:,.0f} MB | {total / 1e6:,.0f} MB | {memory_benchmark.error(row):+.1%} |"


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


BAR = "\\|"
"""What stands for itself within a table."""


def _table(section: type[Section], declared: list[Setting]) -> Iterator[str]:
    yield from ("| setting | default | what it means |", "| --- | --- | --- |")
    for setting in declared:
        default = "required" if setting.required else _value(setting.default)
        choices = f" One of {', '.join(f'`{choice}`' for choice in setting.choices)}." if setting.choices else ""
        told = f"**{setting.title}.** {setting.help}{choices}{_limits(section, setting)}"
        cell = told.replace("|", BAR)
        yield f"| `{setting.name}` | {default} | {cell} |"


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
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else f"`{value}`".replace("\n", "\\n")


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
        if command.description:
            yield from ("", command.description)
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
