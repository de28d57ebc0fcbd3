"""Hub data sets, read from a Hub on this machine by a child process: `datasets` fixes its address when it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.data import hub
from engine.errors import DataError
from engine.home import CHECKOUT
from tests.engine.data import hub_server

ASKED: dict[str, list[Any]] = {
    "csv": ["ann/csv"],
    "address": ["https://huggingface.co/datasets/ann/csv", None, "test"],
    "slice": ["ann/csv", None, "train[:1]"],
    "classes": ["ann/classes"],
    "plain": ["ann/plain"],
    "missing": ["ann/none"],
    "gated": ["ann/gated"],
    "empty": ["ann/empty"],
    "split": ["ann/csv", None, "dev"],
    "config": ["ann/csv", "other"],
    "revision": ["ann/csv", None, "train", "v9"],
}
PROGRAM = """
import json, sys
from engine.data import report, table
from engine.data.prepare import prepare
from engine.errors import DataError
from engine.specs.sections import Data

answers = {}
for name, (source, *rest) in json.loads(sys.argv[1]).items():
    try:
        found = table.read(source, **dict(zip(("config", "split", "revision"), rest)))
        answers[name] = {"rows": found.rows, "notices": found.notices, "places": found.places}
    except DataError as error:
        answers[name] = {"error": str(error)}
entry = Data(source="ann/plain")
told = json.loads(json.dumps(report.check(entry)))
answers["told"] = {name: told[name] for name in ("format", "roles", "error", "splits")}
answers["read"] = len(prepare([entry], "text", 1).require().examples)
answers["torch"] = "torch" in sys.modules
print(json.dumps(answers, default=str))  # some cells are dates
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    server = hub_server.started()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path_factory.mktemp("hub")),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(ASKED)],
            env=environment,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_csv_of_the_hub_keeps_its_texts(answers: dict[str, Any]) -> None:
    assert answers["csv"]["rows"][1] == {"text": "Bye", "label": "NA"}
    assert answers["csv"]["places"][0] == "row 1 of train"
    assert answers["csv"]["notices"] == ["ann/csv has further splits, which are not read: test."]


def test_the_address_of_a_data_set_names_it(answers: dict[str, Any]) -> None:
    assert answers["address"]["rows"] == [{"text": "Ho", "label": "a"}]


def test_a_part_of_a_split_can_be_read(answers: dict[str, Any]) -> None:
    assert len(answers["slice"]["rows"]) == 1


def test_rows_of_plain_text_are_read_for_the_objective_text(answers: dict[str, Any]) -> None:
    assert answers["plain"]["rows"][0]["text"].startswith("This is the page")
    told = answers["told"]
    assert (told["format"], told["roles"], told["error"]) == ("text", {"text": "text"}, None)
    assert answers["read"] == sum(told["splits"].values()) == 40


def test_class_numbers_become_names(answers: dict[str, Any]) -> None:
    assert [row["label"] for row in answers["classes"]["rows"]] == ["ham", "spam"]
    assert "replaced by their names: label" in answers["classes"]["notices"][0]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("missing", "The Hub has no data set ann/none, or it is private."),
        ("gated", "ann/gated is gated"),
        ("empty", "ann/empty holds no data files that can be read."),
        ("split", "ann/csv has no split 'dev'. It has train, test."),
        ("config", "ann/csv has no configuration 'other'. Choose one: default."),
        ("revision", "ann/csv has no revision 'v9'."),
    ],
)
def test_what_the_hub_refuses_is_told_plainly(answers: dict[str, Any], asked: str, told: str) -> None:
    assert told in answers[asked]["error"]


def test_reading_from_the_hub_loads_no_torch(answers: dict[str, Any]) -> None:
    assert answers["torch"] is False


def test_without_a_network_the_way_out_is_told() -> None:
    with pytest.raises(DataError, match=r"can't be reached for ann/csv .* download the file elsewhere"):
        hub.read("ann/csv")


@pytest.mark.parametrize(
    "name", ["csv", "text", "/etc/passwd", "../a/b", "a/../b", "a/b/c", "./a", "a/b.git", "~/a", "a\\b"]
)
def test_what_is_no_owner_and_name_never_reaches_the_hub(name: str) -> None:
    with pytest.raises(DataError, match="is not the id of a Hub data set"):
        hub.read(name)


def test_a_local_folder_is_never_read_in_place_of_a_hub_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ann" / "csv").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="A local folder ann/csv hides"):
        hub.read("ann/csv")
