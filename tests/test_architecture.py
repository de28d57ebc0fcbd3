"""The house rules, held by reading the source: who may import whom, what stays small, what never appears."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from engine import objectives, tuners
from engine.methods import ideas
from engine.settings import Section, describe
from engine.specs.sections import Common

CHECKOUT = Path(__file__).resolve().parent.parent
TORCH_FAMILY = {"torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "liger_kernel", "sklearn"}
MOST_LINES = 500
MOST_FUNCTION_LINES = 100
MOST_PARAMETERS = 10
DISTRIBUTIONS = {
    "triton": "torch",  # brought along where there are NVIDIA GPUs; nothing imports it elsewhere
    "bs4": "beautifulsoup4",
    "charset_normalizer": "charset-normalizer",
    "huggingface_hub": "huggingface-hub",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    # These are part of what gradio is made of.
    "anyio": "gradio",
    "fastapi": "gradio",
    "gradio_client": "gradio",
    "starlette": "gradio",
    "uvicorn": "gradio",
}


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    at_top: bool
    """Runs when the module is loaded: neither inside a function nor under TYPE_CHECKING."""
    for_types: bool


@cache
def sources() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    found = {"app": CHECKOUT / "app.py"}
    for package in ("engine", "ui"):
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            parts = path.relative_to(CHECKOUT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def imports(module: str) -> tuple[Import, ...]:
    path = sources()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return tuple(_imports(tree(path).body, package, at_top=True, for_types=False))


def _imports(body: list[ast.stmt], package: str, at_top: bool, for_types: bool) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, at_top, for_types)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            yield Import(base, node.lineno, at_top, for_types)
            for alias in node.names:
                if f"{base}.{alias.name}" in sources():
                    yield Import(f"{base}.{alias.name}", node.lineno, at_top, for_types)
        else:
            typed = for_types or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for field in ("body", "orelse", "finalbody", "handlers"):
                for child in getattr(node, field, []):
                    if isinstance(child, ast.ExceptHandler):
                        yield from _imports(child.body, package, at_top and not typed, typed)
                    elif isinstance(child, ast.stmt):
                        yield from _imports([child], package, at_top and not typed and not inside, typed)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def where(module: str, item: Import) -> str:
    return f"{sources()[module].relative_to(CHECKOUT)}:{item.line} imports {item.module}"


def light_modules() -> list[str]:
    """All that a page, a command or a child process may load without torch."""
    return [module for module in sources() if not within(module, "engine.compute")]


# --- who may import whom


def test_the_engine_never_imports_the_page() -> None:
    wrong = [
        where(module, item)
        for module in sources()
        if within(module, "engine")
        for item in imports(module)
        if within(item.module, "ui") or item.module in ("app", "gradio") or within(item.module, "gradio")
    ]
    assert not wrong


def test_the_page_never_imports_compute_or_torch() -> None:
    wrong = [
        where(module, item)
        for module in sources()
        if within(module, "ui") or module == "app"
        for item in imports(module)
        if within(item.module, "engine.compute") or item.module.split(".")[0] in TORCH_FAMILY
        if not item.for_types
    ]
    assert not wrong


def test_only_compute_loads_torch_or_compute_at_the_top_of_a_file() -> None:
    wrong = [
        where(module, item)
        for module in light_modules()
        for item in imports(module)
        if item.at_top and (item.module.split(".")[0] in TORCH_FAMILY or within(item.module, "engine.compute"))
    ]
    assert not wrong


@pytest.mark.parametrize("package", ["engine.objectives", "engine.tuners"])
def test_no_method_imports_another(package: str) -> None:
    wrong = [
        where(module, item)
        for module in sources()
        if module.startswith(package + ".")
        for item in imports(module)
        if item.module.startswith(("engine.objectives", "engine.tuners")) and item.module != module
    ]
    assert not wrong


def test_compute_knows_no_command_line_and_no_launcher() -> None:
    wrong = [
        where(module, item)
        for module in sources()
        if within(module, "engine.compute")
        for item in imports(module)
        if within(item.module, "engine.cli") or item.module in ("engine.runs.queue", "engine.runs.store")
    ]
    assert not wrong


def test_no_module_imports_itself_through_others() -> None:
    needs = {
        module: {item.module for item in imports(module) if item.at_top and item.module in sources()} - {module}
        for module in sources()
    }
    # A package's __init__ that lists its modules is found again by each of them; that is Python's own order.
    for module in needs:
        needs[module] -= {module.rpartition(".")[0]}
    assert _cycle(needs) is None


def _cycle(needs: dict[str, set[str]]) -> list[str] | None:
    done: set[str] = set()
    path: list[str] = []

    def visit(module: str) -> list[str] | None:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return None
        path.append(module)
        for other in sorted(needs[module]):
            found = visit(other)
            if found:
                return found
        path.pop()
        done.add(module)
        return None

    return next(filter(None, map(visit, sorted(needs))), None)


def test_a_process_that_loads_every_light_module_never_loads_torch() -> None:
    script = f"""
import importlib, json, sys
for name in {[name for name in light_modules() if not name.endswith("__main__")]!r}:
    importlib.import_module(name)
from engine import objectives, tuners
objectives.all(), tuners.all()
print(json.dumps([name for name in {sorted(TORCH_FAMILY)!r} if name in sys.modules]))
"""
    answer = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout.splitlines()[-1]) == []


def test_every_imported_package_is_in_the_requirements() -> None:
    text = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8")
    declared = {re.split(r"[<>=!~;\[ ]", line)[0] for line in text.splitlines() if line and not line.startswith("#")}
    own = {"app", "engine", "ui"}
    wrong = [
        where(module, item)
        for module in sources()
        for item in imports(module)
        if (name := item.module.split(".")[0]) not in sys.stdlib_module_names | own
        and DISTRIBUTIONS.get(name, name) not in declared
    ]
    assert not wrong


# --- what stays small


def test_files_stay_readable_in_one_sitting() -> None:
    lengths = {str(path.relative_to(CHECKOUT)): len(path.read_text().splitlines()) for path in sources().values()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_functions_stay_short_and_their_signatures_narrow() -> None:
    wrong = []
    for path in sources().values():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                given = node.args
                parameters = len([*given.posonlyargs, *given.args, *given.kwonlyargs]) + bool(given.vararg)
                if lines > MOST_FUNCTION_LINES or parameters > MOST_PARAMETERS:
                    wrong.append(
                        f"{path.relative_to(CHECKOUT)}:{node.lineno} {node.name}: {lines} lines, {parameters} parameters"
                    )
    assert not wrong


def test_no_file_is_named_after_nothing() -> None:
    empty_words = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
    assert [name for name in sources() if name.rpartition(".")[2] in empty_words] == []


# --- what never appears


def test_no_except_catches_everything_and_no_assert_guards_the_product() -> None:
    wrong = [
        f"{path.relative_to(CHECKOUT)}:{node.lineno}"
        for path in sources().values()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assert) or (isinstance(node, ast.ExceptHandler) and node.type is None)
    ]
    assert not wrong


def test_no_program_is_given_a_secret_as_an_argument() -> None:
    """Arguments of a process can be read by everybody on the machine."""
    secret = re.compile(r"--([a-z-]*-)?(token|password|secret|api-?key)$")
    wrong = [
        f"{path.relative_to(CHECKOUT)}:{node.lineno} {node.value}"
        for path in sources().values()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and secret.match(node.value)
    ]
    assert not wrong


def texts() -> Iterator[tuple[Path, str]]:
    """Everything that a person reads or runs, but for data."""
    names = ["README.md", "CHANGELOG.md", "Dockerfile", "pyproject.toml", ".ci/run"]
    names += [f"{name}.txt" for name in ("requirements", "requirements-dev", "requirements-kernels", "constraints")]
    paths = [CHECKOUT / name for name in names] + list(sources().values())
    for folder, ending in (("tests", "*.py"), ("benchmarks", "*"), ("docs", "*.md")):
        paths += [path for path in sorted((CHECKOUT / folder).rglob(ending)) if path.is_file()]
    for path in paths:
        if path.suffix not in (".png", ".pyc", ".svg"):
            yield path, path.read_text(encoding="utf-8")


def test_no_file_names_a_place_on_a_developers_machine() -> None:
    # Put together here, so that this file does not name them either. People's own home folders follow /home/.
    places = re.compile(
        r"(?<![\w.~])/(" + "|".join(["wor" + "k", "roo" + "t", "Use" + "rs", "home/(?!user\\b)", "tmp/v"]) + r")/"
    )
    wrong = [
        f"{path.relative_to(CHECKOUT)}:{number}: {line.strip()[:100]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if places.search(line)
    ]
    assert not wrong


def test_no_file_puts_work_off() -> None:
    later = re.compile(
        r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "for no" + "w", "place" + "holder text"]) + r")\b"
    )
    wrong = [
        f"{path.relative_to(CHECKOUT)}: {found.group()}" for path, text in texts() for found in later.finditer(text)
    ]
    assert not wrong


# --- settings


def sections() -> list[type[Section]]:
    """Every section of a spec: the common ones, those inside them, and each method's own."""
    found: list[type[Section]] = []
    waiting: list[type] = [Common, *(method.Settings for method in [*objectives.all(), *tuners.all()])]
    while waiting:
        section = waiting.pop()
        found.append(section)
        for field in section.model_fields.values():
            for part in (field.annotation, *get_args(field.annotation)):
                if isinstance(part, type) and issubclass(part, Section) and part not in found:
                    waiting.append(part)
    return found


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__qualname__)
def test_every_setting_has_a_label_and_a_help_text(section: type[Section]) -> None:
    for setting in describe(section):
        assert setting.title and setting.title != setting.name, setting.name
        assert len(setting.help) >= 12, setting.name
        assert setting.help.endswith("."), setting.name


@pytest.mark.parametrize("method", [*objectives.all(), *tuners.all()], ids=lambda method: method.name)
def test_every_method_explains_itself(method: objectives.Objective | tuners.Tuner) -> None:
    assert method.title
    assert len(method.help) >= 40
    assert method.paper.startswith("https://")


@pytest.mark.parametrize("tuner", tuners.all(), ids=lambda tuner: tuner.name)
def test_every_tuner_says_when_to_choose_it_and_where_it_is_offered(tuner: tuners.Tuner) -> None:
    assert tuner.choose.startswith("Choose it ") and tuner.choose.endswith(".")
    assert tuner.idea in ideas.IDEAS
    assert tuner.usual or tuner.family
