"""On whose behalf a handler acts, what is theirs, and that the host's token is in nobody else's reach."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.helpers import special_args
from gradio.utils import SyncToAsyncIterator, async_iteration, get_function_params
from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.utils import build_hf_headers

from engine import children, home
from engine.bases import access, hub
from engine.data.prepare import Prepared
from engine.errors import ModelError, RunError, UserError
from engine.runs import queue, store
from engine.specs.sections import Model
from engine.specs.spec import RunSpec
from tests.fakes import pages, runs
from ui import api, door, limits, owner
from ui.owner import Visitor

ADA, BOB = Visitor("v-" + "a" * 24), Visitor("v-" + "b" * 24)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HF_TOKEN", "hf_hosts")
    with pages.opened():
        yield


def made(name: str) -> store.Run:
    return store.create(
        runs.spec(Path("/nowhere"), "chat", "lora"), Prepared(runs.examples("messages"), [], [], []), name
    )


# --- the door


def test_a_handler_acts_for_whoever_sent_the_request(shared: None) -> None:
    handler = door.door(lambda text: f"{text} {owner.current()}")
    assert handler(pages.asked_by(ADA), "hello") == f"hello {ADA.name}"
    assert handler(pages.asked_by(BOB), "hello") == f"hello {BOB.name}"


def test_gradio_hands_a_wrapped_handler_its_request_before_the_inputs() -> None:
    def handler(*given: str) -> str:
        return f"{owner.current()} {given}"

    request = pages.asked_by(ADA)
    arguments, *_ = special_args(door.door(handler), ["x", "y"], request)
    assert arguments == [request, "x", "y"]


@pytest.mark.parametrize("call", api.CALLS)
def test_calls_for_programs_keep_their_parameters_and_their_words(call: Any) -> None:
    wrapped = door.door(call, markup=False)
    assert get_function_params(wrapped) == get_function_params(call)
    assert wrapped.__doc__ == call.__doc__ and wrapped.__name__ == call.__name__
    assert inspect.signature(wrapped).return_annotation == inspect.signature(call).return_annotation


def test_every_step_of_a_stream_acts_for_whoever_asked(shared: None) -> None:
    def handler(number: int) -> Iterator[str]:
        for step in range(number):
            yield f"{step} {owner.current()}"

    async def taken() -> list[str]:
        # As Gradio does it: each step in a thread with a context of its own.
        steps = SyncToAsyncIterator(door.door(handler)(pages.asked_by(ADA), 3), limiter=None)
        found = []
        try:
            while True:
                found.append(await async_iteration(steps))
        except StopAsyncIteration:
            return found

    assert asyncio.run(taken()) == [f"{step} {ADA.name}" for step in range(3)]


def test_a_stream_that_nobody_waits_for_tidies_up_as_its_owner(shared: None) -> None:
    seen: list[str] = []

    def handler() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            seen.append(owner.current())

    steps = door.door(handler)(pages.asked_by(ADA))
    next(steps)
    steps.close()
    assert seen == [ADA.name]


def test_two_streams_at_once_do_not_mix_their_owners(shared: None) -> None:
    def handler() -> Iterator[str]:
        while True:
            yield owner.current()

    first, second = door.door(handler)(pages.asked_by(ADA)), door.door(handler)(pages.asked_by(BOB))
    assert [next(first), next(second), next(first), next(second)] == [ADA.name, BOB.name] * 2
    assert copy_context().run(next, first) == ADA.name


def test_a_request_that_came_past_the_gate_acts_for_nobody(shared: None) -> None:
    with pytest.raises(UserError):
        door.door(owner.current)(pages.asked_by(None))
    with pytest.raises(UserError):
        owner.current()


def test_without_a_request_a_page_of_ones_own_acts_for_its_owner() -> None:
    assert door.door(owner.current)() == "local"


def test_a_stream_stays_one_to_gradio() -> None:
    def handler() -> Iterator[int]:
        yield 1

    assert inspect.isgeneratorfunction(door.door(handler))


# --- what is theirs


def test_a_run_of_another_visitor_or_of_the_host_looks_like_none(shared: None) -> None:
    for theirs in (made(BOB.name), made("local")):
        with owner.acting(ADA), pytest.raises(RunError, match="There is no run"):
            owner.own(theirs.id)
    mine = made(ADA.name)
    with owner.acting(ADA):
        assert owner.own(mine.id) == mine


@pytest.mark.parametrize("name", ["/", "~", "..", "engine", "runs/x/model", "tests/fakes"])
def test_a_visitor_can_not_name_a_folder_of_the_machine_as_a_model(shared: None, name: str, tmp_path: Path) -> None:
    (home.home() / "runs" / "x" / "model").mkdir(parents=True)
    path = str(home.home() / name) if name.startswith("runs") else name
    with owner.acting(ADA), pytest.raises(ModelError, match="host's"):
        owner.require_model(path)
    with owner.acting(owner.HOST):
        owner.require_model(path)


def test_a_visitor_can_not_start_from_the_result_of_another(shared: None) -> None:
    theirs, mine = made(BOB.name), made(ADA.name)
    with owner.acting(ADA):
        owner.require_model(f"run:{mine.id}")
        for name in (f"run:{theirs.id}", "run:../../etc", f"  run:{theirs.id}"):
            with pytest.raises(RunError):
                owner.require_model(name)


def test_a_visitor_can_not_merge_the_results_of_another(shared: None) -> None:
    theirs, mine = made(BOB.name), made(ADA.name)
    spec = runs.spec(Path("/nowhere"), "chat", "lora").as_dict() | {"model": {"id": "embedded:smollm2-135m"}}

    def merge(*ids: str) -> RunSpec:
        return RunSpec.parse({**spec, "tuner": {"name": "merge", "runs": " ".join(ids)}})

    with owner.acting(ADA):
        limits.require_models(merge(mine.id, mine.id))
        with pytest.raises(RunError, match="There is no run"):
            limits.require_models(merge(mine.id, theirs.id))
        with pytest.raises(RunError, match="There is no run"):
            limits.require_models(merge(mine.id, "../../etc"))


@pytest.mark.parametrize("name", ["embedded:smollm2-135m", "HuggingFaceTB/SmolLM2-135M", "gpt2"])
def test_embedded_models_and_those_of_the_hub_are_everybodys(shared: None, name: str) -> None:
    with owner.acting(ADA):
        owner.require_model(name)


def test_a_model_in_the_visitors_own_folder_is_theirs(shared: None) -> None:
    folder = home.files(ADA.name) / "model"
    folder.mkdir()
    with owner.acting(ADA):
        owner.require_model(str(folder))
    with owner.acting(BOB), pytest.raises(ModelError):
        owner.require_model(str(folder))


# --- the host's token


def sent(**given: Any) -> str | None:
    """What the Hub's library would send with a call."""
    return build_hf_headers(**given).get("authorization")


def test_on_ones_own_page_the_hub_gets_the_machines_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_hosts")
    with pages.opened("own"), owner.acting("local"):
        assert sent(token=access.token()) == sent() == "Bearer hf_hosts"


def test_a_visitors_calls_send_no_token_whether_they_name_one_or_not(shared: None) -> None:
    assert get_token() == "hf_hosts"
    with owner.acting(ADA):
        assert sent(token=access.token()) is None
        assert sent() is None
        assert sent(token=HfApi().token) is None


def test_on_a_shared_page_even_code_that_forgot_who_asks_sends_no_token(shared: None) -> None:
    assert sent() is None and sent(token=access.token()) is None


def test_the_hosts_calls_on_a_shared_page_send_the_hosts_token(shared: None) -> None:
    with owner.acting(owner.HOST):
        assert sent(token=access.token()) == "Bearer hf_hosts"


def test_a_page_that_is_ones_own_again_finds_its_token() -> None:
    with pages.opened():
        assert constants.HF_HUB_DISABLE_IMPLICIT_TOKEN
    assert not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN


def test_what_the_host_may_see_of_the_hub_is_not_told_to_a_visitor(
    shared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers of the Hub are kept for a minute, apart for each token."""
    asked: list[Any] = []

    def info(self: HfApi, *_: Any, **__: Any) -> Any:
        asked.append(self.token)
        raise ModelError("asked", "")

    monkeypatch.setattr(HfApi, "model_info", info)
    monkeypatch.setattr(hub, "reachable", lambda: True)
    for who in (owner.HOST, ADA, ADA):
        with owner.acting(who), pytest.raises(UserError):
            hub.model("owner/secret", None)
    assert asked == ["hf_hosts", False, False]


def saw(environment: dict[str, str]) -> dict[str, Any]:
    """What a process in that environment finds of tokens."""
    code = (
        "import json, os\nfrom huggingface_hub import get_token\nfrom huggingface_hub.utils import build_hf_headers\n"
        "print(json.dumps([get_token(), build_hf_headers().get('authorization'), "
        "sorted(name for name, value in os.environ.items() if 'hf_' in value)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    found, header, names = json.loads(done.stdout)
    return {"token": found, "header": header, "variables": names}


@pytest.fixture
def signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The host has a token in the environment, another one saved, and further secrets."""
    hub_home = tmp_path / "hub"
    hub_home.mkdir()
    (hub_home / "token").write_text("hf_saved")
    monkeypatch.setenv("HF_HOME", str(hub_home))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "TUNESMITH_PASSWORD"):
        monkeypatch.setenv(name, "hf_hosts")


def test_the_processes_of_a_visitors_run_find_no_token_of_the_host(signed_in: None) -> None:
    run = made(ADA.name)
    environment = queue._environment("", queue._owner(run.folder))
    assert saw(environment) == {"token": None, "header": None, "variables": []}


def test_the_processes_of_the_hosts_run_find_it(signed_in: None) -> None:
    run = made("local")
    assert saw(queue._environment("", queue._owner(run.folder)))["token"] == "hf_hosts"
    environment = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    environment.pop("HUGGING_FACE_HUB_TOKEN")
    assert saw(environment)["token"] == "hf_saved"


def test_a_run_whose_owner_is_not_known_finds_none(signed_in: None) -> None:
    run = made("local")
    (run.folder / "run.json").unlink()
    assert saw(queue._environment("", queue._owner(run.folder)))["token"] is None


def test_children_of_a_shared_page_find_no_token(shared: None, signed_in: None) -> None:
    with owner.acting(ADA):
        assert saw(children.environment(None)) == {"token": None, "header": None, "variables": []}
        assert saw(access.environment()) == {"token": None, "header": None, "variables": []}


def test_the_processes_of_a_visitor_start_no_run_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor starts the next run in its own environment, in which the host's secrets are missing."""
    started: list[str] = []
    monkeypatch.setattr(queue, "_launch", lambda folder, device: started.append(folder.name))
    run = made("local")
    monkeypatch.setenv("TUNESMITH_VISITOR", "1")
    queue.start(run)
    assert started == []
    monkeypatch.delenv("TUNESMITH_VISITOR")
    queue.advance()
    assert started == [run.id]


def test_a_model_is_fetched_in_the_name_of_whoever_asked(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.bases import models
    from ui.screens import start

    seen: list[Any] = []

    def ensure(section: Model, report: Any) -> Path:
        seen.append(access.token())
        return Path("/nowhere")

    monkeypatch.setattr(models, "ensure", ensure)
    for who in (owner.HOST, ADA):
        with owner.acting(who):
            list(start._fetched(Model(id="gpt2"), None))
    assert seen == ["hf_hosts", False]


def test_a_run_is_created_for_its_visitor_from_what_is_theirs(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from ui.screens import start

    monkeypatch.setattr(queue, "start", lambda run: None)
    spec = runs.spec(Path("/nowhere"), "chat", "lora")
    with owner.acting(ADA), pytest.raises(UserError):
        start.started(spec)
    assert store.listed() == []


def test_limits_bind_visitors_and_not_the_host(shared: None) -> None:
    with owner.acting(ADA):
        assert limits.apply()
    with owner.acting(owner.HOST):
        assert not limits.apply()


def test_a_token_is_not_shown_when_a_visitor_is_printed() -> None:
    assert "hf_theirs" not in repr(Visitor("x", token="hf_theirs"))
    assert isinstance(gr.Request, type)
