"""Search on the Hub and the first rows of a data set, from a Hub on this machine, by a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine.data import hub_search
from engine.errors import DataError
from engine.home import CHECKOUT
from tests.engine.data import hub_server

PROGRAM = """
import json, sys
from dataclasses import asdict
from engine.data import hub_search
from engine.errors import DataError

def asked(ask):
    try:
        return ask()
    except DataError as error:
        return str(error)

hub_search.SEARCH_S = 2.0
answers = {
    "ann": asked(lambda: [asdict(found) for found in hub_search.search("ann")]),
    "slow": asked(lambda: hub_search.search("slow")),
}
for name in ("csv", "classes", "long", "empty", "none", "gated"):
    answers[name] = asked(lambda: asdict(hub_search.preview(f"ann/{name}")))
answers["test"] = asked(lambda: asdict(hub_search.preview("ann/csv", "test")))
answers["loaded"] = [name for name in ("torch", "datasets") if name in sys.modules]
print(json.dumps(answers))
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
            [sys.executable, "-c", PROGRAM],
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


def test_data_sets_are_found_by_words_with_what_is_known_of_them(answers: dict[str, Any]) -> None:
    first = answers["ann"][0]
    assert first == {"id": "ann/csv", "downloads": 1200, "rows": "10K to 100K", "gated": False}
    assert answers["ann"][1]["rows"] is None


def test_a_slow_hub_is_not_waited_for(answers: dict[str, Any]) -> None:
    assert "did not answer within 2 seconds" in answers["slow"]


def test_the_first_rows_are_shown_before_all_are_read(answers: dict[str, Any]) -> None:
    assert answers["csv"]["file"] == "train.csv"
    assert answers["csv"]["rows"][1] == [["text", "Bye"], ["label", "NA"]]


def test_the_rows_shown_are_of_the_split_that_was_asked_for(answers: dict[str, Any]) -> None:
    assert answers["test"]["rows"] == [[["text", "Ho"], ["label", "a"]]]


def test_of_a_long_file_only_the_beginning_is_shown(answers: dict[str, Any]) -> None:
    assert [row[0][1] for row in answers["long"]["rows"]] == [f"row {number}" for number in range(hub_search.ROWS)]


def test_class_numbers_of_a_parquet_file_are_shown_as_names(answers: dict[str, Any]) -> None:
    assert [dict(row)["label"] for row in answers["classes"]["rows"]] == ["ham", "spam"]


@pytest.mark.parametrize(("name", "told"), [("empty", "no file"), ("none", "no data set"), ("gated", "gated")])
def test_what_can_not_be_shown_is_told_plainly(answers: dict[str, Any], name: str, told: str) -> None:
    assert told in answers[name]


def test_a_look_at_the_hub_loads_neither_torch_nor_datasets(answers: dict[str, Any]) -> None:
    assert answers["loaded"] == []


@pytest.mark.parametrize("ask", [lambda: hub_search.search("x"), lambda: hub_search.preview("ann/csv")])
def test_without_a_hub_the_answer_comes_at_once(ask: Any) -> None:
    started = time.monotonic()
    with pytest.raises(DataError, match="can't be reached from here"):
        ask()
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("tag", "words"),
    [("10K<n<100K", "10K to 100K"), ("n<1K", "fewer than 1K"), ("n>1T", "more than 1T"), ("unknown", None)],
)
def test_sizes_are_told_in_words(tag: str, words: str | None) -> None:
    assert hub_search._rows([f"size_categories:{tag}"]) == words


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not the id"):
        hub_search.preview("../etc/passwd")
