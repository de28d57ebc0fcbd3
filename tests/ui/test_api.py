"""Programs train through the page: `gradio_client` against a server of its own process."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from gradio_client import Client
from gradio_client.exceptions import AppError

from engine.data.prepare import Prepared
from engine.runs import chains, store
from engine.runs.stages import Stages
from tests.browser.server import PageServer
from tests.fakes import models, runs

SECONDS_TO_TRAIN = 180
ENDED = ("finished", "failed", "stopped")
CALLS = {"/add", "/train", "/status", "/events", "/stop", "/resume", "/check", "/runs"} | {
    *("/start_chain", "/chain_status", "/stop_chain", "/resume_chain", "/list_chains")
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    place = tmp_path_factory.mktemp("api")
    (place / "home").mkdir()
    started = PageServer(place / "home")
    started.start()
    yield started
    started.kill()


@pytest.fixture(scope="module")
def client(server: PageServer) -> Iterator[Client]:
    opened = Client(server.url, verbose=False)
    yield opened
    opened.close()


@pytest.fixture
def home(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The server's home, as this test's own."""
    monkeypatch.setenv("TUNESMITH_HOME", str(server.home))
    return server.home


def spec(home: Path, model: Path) -> dict[str, Any]:
    """Three steps on twelve rows in the owner's folder."""
    rows = home / "files" / "local" / "rows.csv"
    rows.parent.mkdir(parents=True, exist_ok=True)
    found = [(text, label) for label, texts in runs.INTENTS.items() for text in texts]
    with open(rows, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *found])
    return {
        "name": "by a program",
        "model": {"id": str(model)},
        "data": [{"source": str(rows)}],
        "tuner": {"name": "lora", "rank": 2},
        "training": {"max_steps": 3, "batch_size": 2, "max_tokens": 64, "precision": "float32"},
        "launch": {"threads": 1},
    }


def ended(client: Client, run: str) -> dict[str, Any]:
    end = time.monotonic() + SECONDS_TO_TRAIN
    while time.monotonic() < end:
        record: dict[str, Any] = client.predict(run, api_name="/status")
        if record["state"] in ENDED:
            return record
        time.sleep(0.3)
    raise AssertionError(f"The run has not ended: {record}")


def test_the_calls_for_programs_are_the_only_published_ones(client: Client) -> None:
    published = client.view_api(return_format="dict", print_info=False)
    assert set(published["named_endpoints"]) == CALLS


@pytest.mark.slow
def test_a_program_trains_and_reads_what_happened(client: Client, home: Path, tmp_path: Path) -> None:
    run = client.predict(spec(home, models.tiny_decoder(tmp_path / "tiny")), api_name="/train")["run"]
    record = ended(client, run)
    assert record["state"] == "finished", record
    told = client.predict(run, 0, api_name="/events")
    assert told["events"][-1]["type"] == "finished"
    assert client.predict(run, told["offset"], api_name="/events")["events"] == []
    assert [found["id"] for found in client.predict(api_name="/runs")] == [run]


def test_yaml_text_is_taken_as_a_spec_and_every_refused_value_is_named(client: Client) -> None:
    text = "model: {id: x}\ndata: [{source: sample:banking-intents}]\ntraining: {epochs: 0, batch_size: many}\n"
    with pytest.raises(AppError) as caught:
        client.predict(text, api_name="/train")
    assert "Passes" in str(caught.value) and "Batch size" in str(caught.value)


@pytest.mark.parametrize(
    "given", ["", "just words", "a: [", "[]", "!!python/object/apply:os.getcwd []", "model: {id: x}"]
)
def test_what_is_no_spec_is_refused_in_words(client: Client, given: str) -> None:
    with pytest.raises(AppError) as caught:
        client.predict(given, api_name="/train")
    assert "Something broke" not in str(caught.value)


def test_data_outside_the_owners_folder_is_refused(client: Client, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("text,label\nmy password,x\n", encoding="utf-8")
    for source in (str(secret), "/etc/passwd", "../../secret.csv"):
        with pytest.raises(AppError) as caught:
            client.predict(source, "chat", api_name="/check")
        assert "password" not in str(caught.value)


@pytest.mark.parametrize(("source", "objective"), [(7, "chat"), (["x"], "chat"), ("sample:banking-intents", ["x"])])
def test_values_of_the_wrong_kind_are_refused_in_words(client: Client, source: Any, objective: Any) -> None:
    with pytest.raises(AppError) as caught:
        client.predict(source, objective, api_name="/check")
    assert "Something broke" not in str(caught.value)


def test_a_sample_is_checked(client: Client) -> None:
    found = client.predict("sample:banking-intents", "chat", api_name="/check")
    assert found["format"] == "labelled" and found["error"] is None
    json.dumps(found)


@pytest.mark.parametrize("call", ["/status", "/stop", "/resume"])
def test_a_run_of_somebody_else_is_no_run(client: Client, home: Path, call: str) -> None:
    theirs = store.create(runs.spec(home, "chat", "lora"), Prepared(runs.examples("messages"), [], [], []), "somebody")
    for run in (theirs.id, "../" + theirs.id, "20260101-000000-abcdefgh"):
        with pytest.raises(AppError, match="There is no run"):
            client.predict(run, api_name=call)
    assert store.get(theirs.id).state == "created"


@pytest.mark.slow
def test_a_plan_of_stages_is_started_stopped_and_resumed_by_a_program(
    client: Client, home: Path, tmp_path: Path
) -> None:
    first = spec(home, models.tiny_decoder(tmp_path / "tiny")) | {"name": "one"}
    first["training"] = {**first["training"], "max_steps": 200}
    later = {name: value for name, value in first.items() if name != "model"} | {"name": "two"}
    plan = client.predict(yaml.safe_dump({"name": "both", "stages": [first, later]}), api_name="/start_chain")
    assert plan["name"] == "both" and [stage["title"] for stage in plan["stages"]] == ["Stage 1", "Stage 2"]
    assert [found["id"] for found in client.predict(api_name="/list_chains")] == [plan["id"]]
    client.predict(plan["id"], api_name="/stop_chain")
    assert ended(client, plan["stages"][0]["run"])["state"] == "stopped"
    told = client.predict(plan["id"], api_name="/chain_status")
    assert told["state"] == "waiting" and told["stages"][1]["state"] == "created"
    assert client.predict(plan["id"], api_name="/resume_chain")["state"] in ("queued", "running")
    client.predict(plan["id"], api_name="/stop_chain")
    ended(client, plan["stages"][0]["run"])


@pytest.mark.parametrize("call", ["/chain_status", "/stop_chain", "/resume_chain"])
def test_a_plan_of_somebody_else_is_no_plan(client: Client, home: Path, call: str) -> None:
    stage = runs.spec(home, "chat", "lora").as_dict()
    later = {name: value for name, value in stage.items() if name != "model"}
    rows = Prepared(runs.examples("messages"), [], [], [])
    theirs = chains.create(Stages.parse({"stages": [stage, later]}), [rows, rows], "somebody")
    chains.stop(theirs)
    states = [store.get(link.run).state for link in theirs.links]
    assert theirs.id not in [found["id"] for found in client.predict(api_name="/list_chains")]
    for plan in (theirs.id, "../" + theirs.id, "chain-20260101-000000-abcdefgh"):
        with pytest.raises(AppError, match="There is no chain"):
            client.predict(plan, api_name=call)
    assert [store.get(link.run).state for link in theirs.links] == states


@pytest.mark.parametrize("given", ["", "stages: [", "[]", "stages: []", "stages: [{model: {id: x}}, {}]", "plan"])
def test_what_is_no_plan_is_refused_in_words(client: Client, given: str) -> None:
    with pytest.raises(AppError) as caught:
        client.predict(given, api_name="/start_chain")
    assert "Something broke" not in str(caught.value)
