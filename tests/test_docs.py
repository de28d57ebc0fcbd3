"""What is written is true: pages made from the code are current, links resolve, commands exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from engine import objectives, tuners
from engine.__main__ import parser
from engine.specs.spec import RunSpec
from ui import limits, retention

CHECKOUT = Path(__file__).resolve().parent.parent
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
USERS_PAGES = [
    CHECKOUT / "docs" / f"{name}.md"
    for name in (
        *(
            "first-run",
            "own-data",
            "documents",
            "several-data-sets",
            "kinds-of-answers",
            "choose-a-model",
            "learn-from-a-model",
        ),
        *("read-the-result", "push", "sharing", "space"),
    )
]
MOST_LINES = 120
"""Of a page for users."""


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", CHECKOUT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["methods.md", "settings.md", "command-line.md"])
def test_a_page_made_from_the_code_is_current(name: str) -> None:
    written = (CHECKOUT / "docs" / name).read_text(encoding="utf-8")
    assert written == generator().pages()[name], "run: python docs/generate.py"


@pytest.mark.parametrize("method", [*objectives.all(), *tuners.all()], ids=lambda method: method.name)
def test_every_method_is_in_the_table_of_methods(method: objectives.Objective | tuners.Tuner) -> None:
    assert f"| `{method.name}` {method.title} |" in (CHECKOUT / "docs" / "methods.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_project_resolve(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    inside = [target for target in targets if not target.startswith(("http://", "https://", "mailto:", "#"))]
    assert [target for target in inside if not (page.parent / target.partition("#")[0]).exists()] == []


def test_every_command_of_the_readme_is_accepted_by_the_parser() -> None:
    lines = [line for line in README.splitlines() if line.startswith("python -m engine ")]
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(re.split(r"\s{2,}", line)[0])[3:]
        assert parser().parse_args(words).call


def test_the_first_screen_has_the_two_commands() -> None:
    blocks = re.findall(r"```\n(.*?)```", README, flags=re.DOTALL)
    first, second = blocks[0].strip(), blocks[1].strip()
    assert (
        first == "python -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python app.py --demo"
    )
    assert second == "python tests/run.py"
    assert (CHECKOUT / "app.py").exists() and (CHECKOUT / "tests" / "run.py").exists()


def test_ci_runs_what_a_person_runs() -> None:
    script = (CHECKOUT / ".ci" / "run").read_text(encoding="utf-8")
    assert "tests/run.py" in script
    assert (CHECKOUT / ".ci" / "run").stat().st_mode & 0o111


def test_the_readmes_spec_is_valid() -> None:
    block = re.search(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert block is not None
    spec = RunSpec.parse(yaml.safe_load(block.group(1)))
    assert spec.tuner.name == "lora"


def test_the_readmes_layout_names_what_exists() -> None:
    block = re.search(r"## Layout\n+```\n(.*?)```", README, flags=re.DOTALL)
    assert block is not None
    folder = CHECKOUT
    for line in block.group(1).splitlines():
        names = re.split(r"\s{2,}", line.strip())[0].split()
        if not line.startswith(" "):
            folder = CHECKOUT
        for name in names:
            assert (folder / name).exists(), name
        if not line.startswith(" ") and names[0].endswith("/"):
            folder = CHECKOUT / names[0]


def test_the_card_of_a_space_has_what_a_space_needs() -> None:
    card = yaml.safe_load(README.split("---")[1])
    assert card["sdk"] == "gradio"
    assert card["app_file"] == "app.py"
    assert card["python_version"] == "3.12"
    assert card["hf_oauth"] is True and card["hf_oauth_scopes"] == ["contribute-repos"]
    assert len(card["short_description"]) <= 60
    pinned = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8")
    assert f"gradio=={card['sdk_version']}\n" in pinned


def test_the_changelog_has_a_place_for_what_is_new() -> None:
    assert "\n## Unreleased\n" in (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_constraints_pin_every_requirement() -> None:
    def names(file: str) -> set[str]:
        lines = (CHECKOUT / file).read_text(encoding="utf-8").splitlines()
        return {
            re.split(r"[<>=!~;\[ ]", line)[0].lower().replace("_", "-") for line in lines if line and line[0] != "#"
        }

    assert names("requirements.txt") | names("requirements-dev.txt") <= names("constraints.txt")


@pytest.fixture(scope="module")
def source() -> str:
    """All that the page and the engine are made of, as one text."""
    files = [found for room in ("ui", "engine") for kind in ("*.py", "*.js") for found in (CHECKOUT / room).rglob(kind)]
    return "\n".join(found.read_text(encoding="utf-8") for found in sorted(files))


@pytest.mark.parametrize("page", USERS_PAGES, ids=lambda page: page.name)
def test_a_users_page_is_linked_from_the_readme_and_short(page: Path) -> None:
    assert f"](docs/{page.name})" in README
    assert len(page.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_every_page_of_the_docs_is_reached_by_a_link() -> None:
    linked = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    inside = {page.name for page in PAGES if page.parent.name == "docs"} - {"status.md"}
    assert [name for name in sorted(inside) if f"{name})" not in linked and f"{name}#" not in linked] == []


@pytest.mark.parametrize("page", USERS_PAGES, ids=lambda page: page.name)
def test_what_stands_in_bold_stands_on_the_page(page: Path, source: str) -> None:
    names = re.findall(r"\*\*(.+?)\*\*", " ".join(page.read_text(encoding="utf-8").split()))
    assert names
    # As a text of its own or one's beginning, in quotes or between tags: a word in passing is no name.
    missing = [name for name in names if not re.search(rf"[\"'`>]{re.escape(name.rstrip('.'))}[\"'`<:.]", source)]
    assert missing == []


def test_every_environment_variable_is_told(source: str) -> None:
    rest = [(CHECKOUT / name).read_text(encoding="utf-8") for name in ("app.py", "Dockerfile")]
    used = set(re.findall(r"TUNESMITH_[A-Z_]+", "\n".join([source, *rest])))
    told = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {"TUNESMITH_HOME", limits.DISK.variable, retention.VARIABLE} <= used
    assert sorted(name for name in used if f"`{name}" not in told) == []


def test_the_table_of_limits_is_current() -> None:
    assert limits.table() in (CHECKOUT / "docs" / "sharing.md").read_text(encoding="utf-8")


def test_the_days_that_things_are_kept_are_current() -> None:
    told = (CHECKOUT / "docs" / "sharing.md").read_text(encoding="utf-8")
    assert f"kept for {retention.DEFAULT_DAYS:g} days" in told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_into_a_page_finds_its_heading(page: Path) -> None:
    for target, mark in re.findall(r"\]\(([\w./-]*\.md)?#([\w-]+)\)", page.read_text(encoding="utf-8")):
        whole = (page.parent / target if target else page).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", whole, flags=re.MULTILINE)
        assert mark in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", USERS_PAGES, ids=lambda page: page.name)
def test_commands_in_the_docs_are_accepted_by_the_parser(page: Path) -> None:
    for block in re.findall(r"```\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        for line in block.splitlines():
            if line.startswith("python -m engine "):
                words = shlex.split(re.split(r"\s{2,}", line)[0])[3:]
                assert parser().parse_args(words).call


def test_pictures_have_words_for_those_who_dont_see_them() -> None:
    told = [words for page in PAGES for words in re.findall(r"!\[(.*?)\]\(", page.read_text(encoding="utf-8"))]
    assert len(told) >= 10
    assert [words for words in told if len(words) < 20] == []
