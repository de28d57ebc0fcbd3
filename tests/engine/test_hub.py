"""Models of a Hub: a loopback one, asked from a process of its own, since the library reads its address once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.bases import models
from engine.specs.sections import Model
from tests.fakes import models as fakes
from tests.fakes.hub import COMMIT, FakeHub

CHECKOUT = Path(__file__).resolve().parents[2]

ASK = """
import json, sys
from engine.bases import models
from engine.errors import UserError
from engine.specs.sections import Model
answers = []
for what, id, revision in json.loads(sys.argv[1]):
    said = []
    try:
        section = Model(id=id, revision=revision)
        if what == "facts":
            found = models.facts(section)
            answer = {
                "kind": found.kind, "parameters": found.parameters, "license": found.license, "revision": found.revision,
                "template": found.chat_template, "download": found.download_bytes, "linears": sorted(found.linears),
                "notices": list(found.notices),
            }
        else:
            folder = models.ensure(section, said.append) if what == "ensure" else models.tokenizer_folder(section)
            answer = {"files": sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())}
    except UserError as error:
        answer = {"error": type(error).__name__, "problem": error.problem, "fix": error.fix}
    answers.append({**answer, "said": said})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    chat = fakes.tiny_biased_decoder(tmp_path_factory.mktemp("chat"))
    (chat / "pytorch_model.bin").write_bytes(b"pickle")
    (chat / "onnx").mkdir()
    (chat / "onnx" / "model.safetensors").write_bytes(b"other")
    (chat / "modeling_chat.py").write_text("1 / 0")
    pickled = tmp_path_factory.mktemp("pickled")
    (pickled / "config.json").write_text("{}")
    (pickled / "pytorch_model.bin").write_bytes(b"pickle")
    return {
        "owner/chat": chat,
        "owner/pickled": pickled,
        "owner/encoder": fakes.tiny_encoder(tmp_path_factory.mktemp("enc")),
    }


@pytest.fixture(scope="module")
def hub(folders: dict[str, Path]) -> Iterator[FakeHub]:
    with FakeHub(folders, gated=frozenset({"owner/gated"})) as served:
        yield served


@pytest.fixture(scope="module")
def ask(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[dict[str, Any]]]:
    """Asks for (what, id, revision), one after the other, in a fresh process."""

    def asked(
        *questions: tuple[str, str, str | None],
        url: str = hub.url,
        cache: Path | None = None,
        code: str = ASK,
        **more: str,
    ) -> list[dict[str, Any]]:
        environment = {
            **os.environ,
            "HF_ENDPOINT": url,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(cache or tmp_path_factory.mktemp("hub-cache")),
            **more,
        }
        command = [sys.executable, "-c", code, json.dumps(questions)]
        done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True)
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        return answers

    return asked


@pytest.fixture(scope="module")
def answers(ask: Callable[..., list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Everything that is asked of a Hub that works, in one process."""
    questions = {
        "facts": ("facts", "owner/chat", None),
        "files": ("ensure", "owner/chat", None),
        "again": ("ensure", "owner/chat", None),
        "encoder": ("ensure", "owner/encoder", "main"),
        "gated": ("facts", "owner/gated", None),
        "missing": ("facts", "owner/nothing", None),
        "revision": ("facts", "owner/chat", "v9"),
        "pickled": ("facts", "owner/pickled", None),
    }
    return dict(zip(questions, ask(*questions.values()), strict=True))


def test_facts_are_those_of_the_folder(answers: dict[str, dict[str, Any]], folders: dict[str, Path]) -> None:
    local = models.facts(Model(id=str(folders["owner/chat"])))
    found = answers["facts"]
    assert (found["kind"], found["parameters"], found["template"]) == (
        local.kind,
        local.parameters,
        local.chat_template,
    )
    assert found["linears"] == sorted(local.linears)


def test_licence_and_commit_are_known(answers: dict[str, dict[str, Any]]) -> None:
    assert (answers["facts"]["license"], answers["facts"]["revision"]) == ("mit", COMMIT)


def test_weights_are_not_downloaded_for_facts(ask: Callable[..., Any], hub: FakeHub, folders: dict[str, Path]) -> None:
    before = len(hub.asked)
    ask(("facts", "owner/chat", None))
    weights = [line for line in hub.asked[before:] if line.startswith("GET") and "model.safetensors" in line]
    assert weights and all("bytes=" in line for line in weights)


def test_a_tokenizer_is_downloaded_without_the_weights_and_the_model_is_fetched_all_the_same_later(
    ask: Callable[..., Any], tmp_path: Path
) -> None:
    asked = [("tokenizer", "owner/chat", None), ("ensure", "owner/chat", None), ("tokenizer", "owner/none", None)]
    tokenizer, whole, missing = ask(*asked, cache=tmp_path)
    assert "tokenizer.json" in tokenizer["files"] and "model.safetensors" not in tokenizer["files"]
    assert "model.safetensors" in whole["files"] and missing["error"] == "ModelError"


def test_only_what_training_needs_is_downloaded(answers: dict[str, dict[str, Any]]) -> None:
    assert answers["files"]["files"] == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_pooling_comes_with_an_encoder(answers: dict[str, dict[str, Any]]) -> None:
    assert "1_Pooling/config.json" in answers["encoder"]["files"]


def test_a_download_is_announced_once_with_its_size(
    answers: dict[str, dict[str, Any]], folders: dict[str, Path]
) -> None:
    size = sum((folders["owner/chat"] / name).stat().st_size for name in answers["files"]["files"])
    assert answers["facts"]["download"] == size
    assert answers["files"]["said"] == [f"Downloading owner/chat ({size / 1e6:.0f} MB) from the Hub."]
    assert answers["again"]["said"] == []


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("gated", "is gated"),
        ("missing", "no model owner/nothing"),
        ("revision", "no revision 'v9'"),
        ("pickled", "pickle"),
    ],
)
def test_what_the_hub_refuses_is_told_plainly(answers: dict[str, dict[str, Any]], question: str, told: str) -> None:
    assert answers[question]["error"] == "ModelError"
    assert told in answers[question]["problem"]
    assert answers[question]["fix"]


def test_without_a_hub_what_was_downloaded_is_used_and_this_is_said(
    ask: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    ask(("ensure", "owner/chat", None), cache=tmp_path)
    facts, files = ask(
        ("facts", "owner/chat", None), ("ensure", "owner/chat", None), url="http://127.0.0.1:9", cache=tmp_path
    )
    assert "can't be reached" in facts["notices"][0]
    assert "model.safetensors" in files["files"]


def test_without_a_hub_an_unknown_model_is_refused_with_what_works(ask: Callable[..., list[dict[str, Any]]]) -> None:
    (answer,) = ask(("facts", "owner/chat", None), url="http://127.0.0.1:9")
    assert "can't be reached" in answer["problem"]
    assert "embedded:smollm2-135m" in answer["fix"]


def test_without_a_hub_a_visitor_gets_only_what_is_known_to_be_open(
    ask: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    visitor = f"from engine.bases import access; access.close(){ASK}"
    question = ("ensure", "owner/chat", None)
    ask(question, cache=tmp_path / "hub", TUNESMITH_CACHE=str(tmp_path / "asked"))
    gone: dict[str, Any] = {"url": "http://127.0.0.1:9", "cache": tmp_path / "hub"}
    (known,) = ask(question, code=visitor, TUNESMITH_CACHE=str(tmp_path / "asked"), **gone)
    (unknown,) = ask(question, code=visitor, TUNESMITH_CACHE=str(tmp_path / "never asked"), **gone)
    (hosts,) = ask(question, TUNESMITH_CACHE=str(tmp_path / "never asked"), **gone)
    assert "files" in known and "files" in hosts
    assert "open to everybody" in unknown["problem"]


def test_a_gated_model_is_not_remembered_as_open(
    folders: dict[str, Path], ask: Callable[..., Any], tmp_path: Path
) -> None:
    with FakeHub(folders, agreed=frozenset({"owner/chat"})) as served:
        ask(
            ("facts", "owner/chat", None),
            ("facts", "owner/encoder", None),
            url=served.url,
            TUNESMITH_CACHE=str(tmp_path),
        )
    assert (tmp_path / "open-models.txt").read_text(encoding="utf-8") == "owner/encoder\n"


def test_a_visitor_is_not_sent_to_sign_in_for_a_gated_model(ask: Callable[..., list[dict[str, Any]]]) -> None:
    (answer,) = ask(("facts", "owner/gated", None), code=f"from engine.bases import access; access.close(){ASK}")
    assert "is gated" in answer["problem"]
    assert "hf auth login" not in answer["fix"] and "open model" in answer["fix"]
