"""The command line: what it prints, and how it ends."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine import objectives, tuners, word_choice
from engine.__main__ import main
from engine.methods.objective import pair_refusal
from engine.runs import queue, store
from engine.specs.spec import RunSpec
from engine.word_choice import Proposal
from tests.fakes import models, runs


@pytest.fixture
def fake_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_WORKER", json.dumps([sys.executable, "-m", "tests.fakes.worker"]))


def written(tmp_path: Path, **changes: Any) -> Path:
    spec = {"model": {"id": str(tmp_path / "nowhere")}, "data": [{"source": "sample:banking-intents"}], **changes}
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_methods_lists_every_pair_and_whether_it_works(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = printed(capsys, "methods", "--json")
    found = json.loads(out)
    assert code == 0
    for objective in objectives.all():
        for tuner in tuners.all():
            (pair,) = (p for p in found["pairs"] if (p["objective"], p["tuner"]) == (objective.name, tuner.name))
            reason = pair_refusal(objective, tuner)
            assert (pair["works"], pair["reason"]) == (reason is None, reason)
            assert pair["models"] == sorted(objective.architectures)
    assert any(not pair["works"] for pair in found["pairs"])
    assert {tuner["name"]: set(tuner["loads"]) for tuner in found["tuners"]} == {t.name: t.loads for t in tuners.all()}


def test_methods_judges_every_pair_with_a_model_and_says_why_one_does_not_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    base = models.tiny_decoder(tmp_path / "tiny")
    code, out, _ = printed(capsys, "methods", "--model", str(base), "--json")
    found = {(pair["objective"], pair["tuner"]): pair for pair in json.loads(out)["pairs"]}
    assert code == 0 and found["chat", "lora"]["works"]
    assert "no bias terms" in found["chat", "biases"]["reason"]
    assert "needs a score for each label" in found["chat", "head"]["reason"]
    code, out, _ = printed(capsys, "methods", "--model", str(base))
    works = sum(pair["works"] for pair in found.values())
    assert out.splitlines()[-1] == f"{works} of {len(found)} pairs work with {base}."
    assert printed(capsys, "methods", "--model", str(tmp_path / "nowhere"))[0] == 2


def test_check_tells_what_a_file_holds(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = printed(capsys, "check", "sample:banking-intents", "--json")
    found = json.loads(out)
    assert code == 0 and found["rows"] == 600 and found["format"] == "labelled"


def test_a_file_with_problems_ends_with_2_and_names_the_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("text,label\nhello,a\nbye\nhi,b\n", encoding="utf-8")
    code, out, _ = printed(capsys, "check", str(tmp_path / "rows.csv"))
    assert code == 2 and "line 3" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "20260101-000000-abcdefgh"], "There is no run"),
        (["train", "nowhere.yaml"], "There is no file"),
        (["check", "nowhere.csv"], "nowhere.csv"),
        (["train", "SPEC", "--set", "tuner.rank=0"], "Rank (tuner.rank)"),
        (["train", "SPEC", "--set", "tuner.name=lorra"], "Did you mean lora?"),
        (["train", "SPEC", "--set", "rank"], "has no value"),
        (["train", "SPEC", "--set", "trainings.epochs=1"], "no such setting"),
    ],
)
def test_what_a_person_can_mend_ends_with_2_and_no_traceback(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    spec = str(written(tmp_path))
    code, out, err = printed(capsys, *[spec if argument == "SPEC" else argument for argument in arguments])
    assert code == 2 and words in err and "Traceback" not in err and not out


def test_all_wrong_settings_are_told_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = written(tmp_path, training={"epochs": -1, "batch_size": 0}, tuner={"name": "lora", "rank": 0})
    _, _, err = printed(capsys, "train", str(path))
    assert all(word in err for word in ("Passes", "Batch size", "Rank"))


def test_with_json_an_error_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = printed(capsys, "show", "nothing", "--json")
    assert code == 2 and json.loads(out)["problem"].startswith("There is no run")


def test_a_training_that_fails_ends_with_2_and_says_why(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = printed(capsys, "train", str(written(tmp_path)))
    assert code == 2 and "nowhere" in out


def test_a_spec_is_trained_to_its_end_and_the_last_line_names_the_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    base = models.tiny_decoder(tmp_path / "tiny")
    (tmp_path / "rows.csv").write_text(
        "question,answer\n" + "\n".join(f"What is {n}?,number {n}" for n in range(40)) + "\n", encoding="utf-8"
    )
    path = written(
        tmp_path,
        model={"id": str(base)},
        data=[{"source": "rows.csv"}],
        training={"max_steps": 4, "max_tokens": 64},
        launch={"threads": 1},
    )
    code, out, _ = printed(capsys, "train", str(path), "--set", "tuner.rank=4")
    lines = out.strip().splitlines()
    folder = Path(lines[-1])
    assert code == 0 and (folder / "model" / "adapter_model.safetensors").exists()
    assert any(line.startswith("exact match after: ") for line in lines)
    assert store.get(folder.name).spec().tuner_settings.rank == 4  # type: ignore[attr-defined]

    code, out, _ = printed(capsys, "chat", folder.name, "--prompt", "What is 3?", "--json")
    assert code == 0 and "answer" in json.loads(out)
    code, out, _ = printed(capsys, "evaluate", folder.name, "--json")
    assert code == 0 and json.loads(out)["rows"] == 4
    code, out, _ = printed(capsys, "evaluate", folder.name, "--data", str(tmp_path / "rows.csv"), "--json")
    assert code == 0 and json.loads(out)["rows"] == 40
    code, out, _ = printed(
        capsys, "export", folder.name, "--format", "merged", "--to", str(tmp_path / "merged"), "--json"
    )
    assert code == 0 and (tmp_path / "merged" / "model.safetensors").exists()
    code, _, err = printed(capsys, "export", folder.name, "--format", "merged", "--to", str(tmp_path / "merged"))
    assert code == 2 and "holds something" in err


def test_explain_tells_steps_memory_and_reasons_and_starts_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = written(tmp_path, model={"id": str(models.tiny_decoder(tmp_path / "tiny"))})
    code, out, _ = printed(capsys, "train", str(path), "--explain", "--json")
    found = json.loads(out)
    assert code == 0 and found["plan"]["total_steps"] == 180 and found["memory_bytes"] > 0
    assert store.listed() == []


def test_stop_resume_and_delete_are_commands(fake_worker: None, capsys: pytest.CaptureFixture[str]) -> None:
    from engine.data.prepare import Prepared

    run = store.create(runs.spec(Path("/nowhere"), "chat", "lora"), Prepared(runs.examples("messages"), [], [], []))
    (run.folder / "orders.json").write_text('["wait", "finish"]', encoding="utf-8")
    queue.start(run)
    assert printed(capsys, "delete", run.id)[0] == 2
    assert printed(capsys, "stop", run.id)[0] == 0
    deadline = time.monotonic() + 60
    while store.get(run.id).state != "stopped" and time.monotonic() < deadline:
        threading.Event().wait(0.1)
        queue.reconcile()
    code, out, _ = printed(capsys, "resume", run.id, "--json")
    assert code == 0 and json.loads(out)["after"] == 0.9
    assert [found["id"] for found in json.loads(printed(capsys, "runs", "--json")[1])["runs"]] == [run.id]
    assert "finished after" in printed(capsys, "log", run.id)[1]
    assert printed(capsys, "delete", run.id)[0] == 0
    assert store.listed() == []


PROPOSED = [Proposal("ham", "home", 1.0, ["later"]), Proposal("spam", "prize: free", 2.0, [])]


@pytest.fixture
def asked_for_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of texts with three labels, and a model that has words for two of them."""
    rows = tmp_path / "sms.csv"
    lines = [f"Text {number},{('ham', 'spam', 'none')[number % 3]}" for number in range(30)]
    rows.write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setattr(word_choice, "proposed", lambda spec, prepared: PROPOSED)
    return rows


def test_proposed_words_are_printed_as_the_objective_of_a_spec(
    capsys: pytest.CaptureFixture[str], asked_for_words: Path
) -> None:
    template = r"{text}\nIt is {label}."
    code, out, _ = printed(capsys, "words", str(asked_for_words), "--template", template)
    spec = {"model": {"id": "x"}, "data": [{"source": "d"}], **yaml.safe_load(out)}
    settings = RunSpec.parse(spec).objective_settings.model_dump()
    assert code == 0 and settings["template"] == "{text}\nIt is {label}."
    assert settings["label_words"] == "ham = home\nspam = prize: free"
    assert "# ham: home, 2.7 times as likely as with the others; then later" in out
    assert "# none: no word was left; its own name stands in" in out


def test_proposed_words_as_json(capsys: pytest.CaptureFixture[str], asked_for_words: Path) -> None:
    code, out, _ = printed(capsys, "words", str(asked_for_words), "--model", "embedded:smollm2-135m", "--json")
    found = json.loads(out)
    assert code == 0 and found["without_a_word"] == ["none"] and found["model"] == "embedded:smollm2-135m"
    assert [one["word"] for one in found["labels"]] == ["home", "prize: free"]


def test_words_for_a_broken_template_or_for_rows_without_labels_are_refused(
    capsys: pytest.CaptureFixture[str], asked_for_words: Path, tmp_path: Path
) -> None:
    code, _, err = printed(capsys, "words", str(asked_for_words), "--template", "{text}")
    assert code == 2 and "one {label}" in err
    (tmp_path / "texts.txt").write_text("Only text.\n\nAnd more.", encoding="utf-8")
    code, _, err = printed(capsys, "words", str(tmp_path / "texts.txt"))
    assert code == 2 and "without labels" in err


def test_a_folder_is_looked_at_as_a_source(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "books" / "old").mkdir(parents=True)
    for place in ("a.md", "old/b.md", "old/c.md"):
        (tmp_path / "books" / place).write_text(f"# {place}\n\nA page.", encoding="utf-8")
    code, out, _ = printed(capsys, "check", str(tmp_path / "books"), "--objective", "text", "--json")
    found = json.loads(out)
    assert code == 0 and found["rows"] == 3 and found["error"] is None
