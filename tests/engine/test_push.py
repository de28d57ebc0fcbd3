"""Pushing to a Hub that verifies what it receives: whole, resumed, refused, and with the token nowhere on the disk."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from engine import home
from engine.__main__ import main
from engine.errors import RunError, SettingError
from engine.publishing import push, refusals
from engine.runs import store
from tests.fakes.finished import pretended, settled
from tests.fakes.hub import FakeHub
from tests.fakes.hub_uploads import Account, Failure, Reply, Repository, Uploads
from tests.fakes.living import until

TOKEN = "hf_secretSecretsecret"
READER = "hf_readerReaderreader"


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "hub", {TOKEN: Account("ada", ("bank",)), READER: Account("ada", role="read")})


@pytest.fixture
def hub(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub({}, uploads=uploads) as served:
        # Pushers are processes of their own, which read these at their start.
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        yield served
    assert uploads.wrong == []


def pushed(run: store.Run, token: str | None = TOKEN, **request: Any) -> dict[str, Any]:
    """Push to the end; the state then."""
    push.begin(run, push.Request(**{"repo": "ada/helper", **request}), token)
    return ended(run)


def ended(run: store.Run) -> dict[str, Any]:
    def state() -> dict[str, Any] | None:
        found = push.status(run)
        return found if found and found["state"] != push.RUNNING else None

    found = until(state)
    assert found is not None
    for child in push._children:
        child.wait(timeout=20)
    return found


def test_a_push_arrives_whole_and_private(hub: FakeHub, uploads: Uploads) -> None:
    run = pretended()
    state = pushed(run)
    assert state["state"] == push.DONE and state["url"] == f"{hub.url}/ada/helper", state
    repository = uploads.repositories["ada/helper"]
    assert repository.private and state["private"]
    weights = run.folder / "model" / "adapter_model.safetensors"
    assert repository.files["adapter_model.safetensors"] == weights.read_bytes()
    assert {"README.md", "spec.yaml", "scores.json", "adapter_config.json", "tokenizer.json"} <= repository.files.keys()
    assert state["files_done"] == state["files_total"] == len(repository.files)
    assert state["bytes_done"] == state["bytes_total"] == sum(map(len, repository.files.values()))


def test_public_is_public(hub: FakeHub, uploads: Uploads) -> None:
    assert pushed(pretended(), private=False)["private"] is False
    assert not uploads.repositories["ada/helper"].private


def test_nothing_private_goes_along(hub: FakeHub, uploads: Uploads) -> None:
    run = pretended(owner="v-0123456789abcdef01234567")
    pushed(run)
    files = uploads.repositories["ada/helper"].files
    assert not {"examples.jsonl", "worker.log", "events.jsonl", "train.py", "run.json"} & files.keys()
    everything = b"\n".join(files.values()).decode(errors="replace")
    for secret in (str(home.home()), str(Path.home()), "v-0123456789abcdef01234567", TOKEN, "Where is my card?"):
        assert secret not in everything
    assert yaml.safe_load(files["spec.yaml"])["data"][0]["source"] == "customers.csv"


def test_the_adapter_names_a_base_model_that_others_can_load(hub: FakeHub, uploads: Uploads) -> None:
    pushed(pretended())
    config = json.loads(uploads.repositories["ada/helper"].files["adapter_config.json"])
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_a_name_alone_goes_under_ones_own_account(hub: FakeHub, uploads: Uploads) -> None:
    assert pushed(pretended(), repo="helper")["repo"] == "ada/helper"


def test_an_organisation_of_ones_own_takes_it(hub: FakeHub, uploads: Uploads) -> None:
    assert pushed(pretended(), repo="bank/helper")["state"] == push.DONE


def test_a_push_that_broke_half_way_goes_on_without_sending_a_file_twice(hub: FakeHub, uploads: Uploads) -> None:
    run = pretended()
    uploads.failures.append(Failure("PUT /lfs/", Reply(501), after=1))
    state = pushed(run)
    assert state["state"] == push.FAILED and "501" in state["problem"] and "not sent again" in state["fix"]
    assert len(uploads.received) == 1 and not uploads.repositories["ada/helper"].files
    uploads.failures.clear()
    push.go_on(run, TOKEN)
    assert ended(run)["state"] == push.DONE
    assert len(uploads.received) == len(set(uploads.received)) == 2


def test_a_passing_error_of_the_hub_is_passed_over(hub: FakeHub, uploads: Uploads) -> None:
    uploads.failures.append(Failure("PUT /lfs/", Reply(500), times=1))
    assert pushed(pretended())["state"] == push.DONE


def test_a_pusher_that_was_killed_is_noticed_and_goes_on(hub: FakeHub, uploads: Uploads) -> None:
    run = pretended()
    uploads.seconds_an_object = 1.0
    push.begin(run, push.Request("ada/helper"), TOKEN)
    until(lambda: len(uploads.received) == 1)
    psutil.Process(json.loads((run.folder / "push" / "pusher.json").read_text())["pid"]).kill()
    push._children[-1].wait()
    state = push.status(run)
    assert state and state["state"] == push.FAILED and "ended unexpectedly" in state["problem"]
    time.sleep(1.2)  # the object on its way arrives, or doesn't
    before = list(uploads.received)
    push.go_on(run, TOKEN)
    assert ended(run)["state"] == push.DONE
    assert not set(before) & set(uploads.received[len(before) :])


def test_a_push_without_a_token_waits_and_goes_on_with_one(hub: FakeHub, uploads: Uploads) -> None:
    run = pretended()
    push.begin(run, push.Request("ada/helper"), None)
    assert (push.status(run) or {})["state"] == push.WAITING
    assert [found.id for found in push.waiting("local")] == [run.id] and not push.waiting("somebody")
    push.go_on(run, TOKEN)
    assert ended(run)["state"] == push.DONE and not push.waiting("local")


def test_a_stopped_push_says_so_and_goes_on(hub: FakeHub, uploads: Uploads) -> None:
    run = pretended()
    uploads.seconds_an_object = 2.0
    push.begin(run, push.Request("ada/helper"), TOKEN)
    until(lambda: (push.status(run) or {}).get("bytes_total"))
    push.stop(run)
    assert (push.status(run) or {})["problem"] == "Stopped, as you asked."
    uploads.seconds_an_object = 0.0
    push.go_on(run, TOKEN)
    assert ended(run)["state"] == push.DONE


def test_too_many_requests_are_waited_for(hub: FakeHub, uploads: Uploads) -> None:
    uploads.failures.append(Failure("POST /api/repos/create", Reply(429, headers={"Retry-After": "1"}), times=1))
    run = pretended()
    push.begin(run, push.Request("ada/helper"), TOKEN)
    until(lambda: "Waiting 1 s" in (push.status(run) or {}).get("doing", ""))
    assert ended(run)["state"] == push.DONE


FULL = Reply(403, {"error": "Private repository storage limit reached"}, {"X-Error-Message": "storage limit reached"})


@pytest.mark.parametrize(
    ("token", "repo", "failure", "words", "needs"),
    [
        ("hf_nobodyNobody", "ada/x", None, "does not know this token", "token"),
        (READER, "ada/x", None, "may read, but not write", "token"),
        (TOKEN, "bob/x", None, "bob is another account, or an organisation", "token"),
        (TOKEN, "ada/x", Failure("POST /api/models/.*/commit", FULL), "no room left", None),
        (TOKEN, "ada/x", Failure("POST /api/repos/create", Reply(402)), "no room left", None),
        (TOKEN, "ada/x", Failure("PUT /lfs/", Reply(413)), "no room left", None),
        (TOKEN, "ada/x", Failure("PUT /lfs/", Reply(507)), "no room left", None),
        (TOKEN, "ada/x", Failure("POST /api/models/.*/preupload", Reply(403)), "may not write to ada/x", "token"),
        (TOKEN, "ada/x", Failure("POST /api/models/.*/commit", Reply(412)), "an error of its own (412)", None),
    ],
)
def test_what_the_hub_refuses_is_told_in_words(
    hub: FakeHub, uploads: Uploads, token: str, repo: str, failure: Failure | None, words: str, needs: str | None
) -> None:
    uploads.failures += [failure] if failure else []
    run = pretended()
    state = pushed(run, token, repo=repo)
    assert state["state"] == push.FAILED and words in state["problem"], state
    assert state["fix"] and state["needs"] == needs
    assert token not in json.dumps(state)


def test_a_repository_that_was_there_is_left_alone_until_one_says_so(hub: FakeHub, uploads: Uploads) -> None:
    uploads.repositories["ada/helper"] = Repository(True, {"README.md": b"mine", "model.safetensors": b"old"})
    (uploads.place / "ada" / "helper").mkdir(parents=True)
    (uploads.place / "ada" / "helper" / "model.safetensors").write_bytes(b"old")
    run = pretended()
    state = pushed(run)
    assert state["needs"] == "update" and "did not make it" in state["problem"]
    assert uploads.repositories["ada/helper"].files["README.md"] == b"mine"
    push.go_on(run, TOKEN, update=True)
    assert ended(run)["state"] == push.DONE
    assert "model.safetensors" not in uploads.repositories["ada/helper"].files, (
        "old weights would be loaded in its place"
    )


def test_what_was_to_be_private_never_goes_to_a_public_repository(hub: FakeHub, uploads: Uploads) -> None:
    uploads.repositories["ada/helper"] = Repository(private=False)
    (uploads.place / "ada" / "helper").mkdir(parents=True)
    state = pushed(pretended(), update=True)
    assert state["state"] == push.FAILED and "public, but you asked for private" in state["problem"]
    assert not uploads.received


def test_without_a_network_it_fails_fast_and_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    began = time.monotonic()
    state = pushed(pretended())
    assert state["problem"] == "The Hub can't be reached." and time.monotonic() - began < 20


def test_the_token_reaches_no_file_and_no_argument(hub: FakeHub, uploads: Uploads, tmp_path: Path) -> None:
    run = pretended()
    uploads.seconds_an_object = 0.5
    push.begin(run, push.Request("ada/helper"), TOKEN)
    child = psutil.Process(push._children[-1].pid)
    assert TOKEN not in " ".join(child.cmdline())
    uploads.failures.append(Failure(".* /api/models/.*/commit", Reply(418, {"error": f"no {TOKEN}"})))
    state = ended(run)
    assert state["state"] == push.FAILED and TOKEN not in json.dumps(state)
    places = [tmp_path / "home", Path(os.environ["HF_HOME"]), home.cache() / "logs"]
    for file in (file for place in places for file in place.rglob("*") if file.is_file()):
        assert TOKEN.encode() not in file.read_bytes(), file


def test_the_machines_own_tokens_stay_out_of_a_push(
    hub: FakeHub, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", READER)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-host")
    run = pretended(owner="v-0123456789abcdef01234567")
    uploads.seconds_an_object = 1.0
    push.begin(run, push.Request("ada/helper"), TOKEN)
    seen = psutil.Process(push._children[-1].pid).environ()
    assert READER not in seen.values() and "OPENAI_API_KEY" not in seen
    assert ended(run)["state"] == push.DONE


def test_a_push_that_is_on_is_not_begun_twice(hub: FakeHub, uploads: Uploads) -> None:
    run = pretended()
    uploads.seconds_an_object = 1.0
    push.begin(run, push.Request("ada/helper"), TOKEN)
    with pytest.raises(RunError, match="being pushed already"):
        push.begin(run, push.Request("ada/other"), TOKEN)
    assert ended(run)["repo"] == "ada/helper"


def test_a_run_can_be_pushed_again_as_soon_as_it_is_done(hub: FakeHub, uploads: Uploads) -> None:
    run = pretended()
    for repo in ("ada/one", "ada/two", "ada/one"):
        push.begin(run, push.Request(repo, update=True), TOKEN)
        until(lambda: (push.status(run) or {})["state"] != push.RUNNING)
        assert (push.status(run) or {})["state"] == push.DONE
    assert len(uploads.received) == 2 and uploads.repositories.keys() == {"ada/one", "ada/two"}
    ended(run)


def test_a_run_without_a_result_is_not_pushed() -> None:
    run = pretended()
    (run.folder / "events.jsonl").unlink()
    with pytest.raises(RunError, match="no result yet"):
        push.begin(settled(run, "failed"), push.Request("ada/helper"), TOKEN)


@pytest.mark.parametrize(
    "repo",
    ["", "/", "ada/", "/x", "a/b/c", "ada/ü", "ada/x y", "ada/.x", "ada/x-", "ada/a--b", "a..b", "ada/x.git", "x" * 97],
)
def test_a_name_that_the_hub_would_refuse_is_refused_before(repo: str) -> None:
    with pytest.raises(SettingError):
        push.check_name(repo)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Bank helper, 2nd try!", "bank-helper-2nd-try"),
        ("äöü", "tuned-model"),
        ("a..b--c.", "a-b-c"),
        ("x.git", "x-git"),
    ],
)
def test_a_runs_name_suggests_a_repository_that_the_hub_takes(name: str, slug: str) -> None:
    assert push.suggested_name(name) == slug
    push.check_name(push.suggested_name(name))


def test_words_of_a_library_lose_their_tokens() -> None:
    told = push.redacted(f"GET with Bearer abc123 and {TOKEN}, other-Token", "other-Token")
    assert "abc123" not in told and TOKEN not in told and "other-Token" not in told


def test_on_a_space_a_refusal_names_the_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "ada/space")
    answer = type("Response", (), {"status_code": 403, "headers": {}})()
    error = type("Error", (Exception,), {"response": answer})("no")
    found = refusals.refused(error, "bob/x", "ada")
    assert found and "contribute-repos" in found.fix


def test_the_command_pushes_and_ends_with_0(
    hub: FakeHub, uploads: Uploads, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    code = main(["push", pretended().id, "--repo", "ada/helper", "--private"])
    out, err = capsys.readouterr()
    assert code == 0 and out == f"Pushed (private): {hub.url}/ada/helper\n" and "Starting." in err


def test_the_command_without_a_token_ends_with_2_and_the_push_waits(capsys: pytest.CaptureFixture[str]) -> None:
    run = pretended()
    code = main(["push", run.id, "--repo", "ada/helper"])
    assert code == 2 and "HF_TOKEN" in capsys.readouterr().err
    assert (push.status(run) or {})["state"] == push.WAITING


def test_the_command_tells_what_the_hub_refused(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", READER)
    code = main(["push", pretended().id, "--repo", "ada/helper"])
    _, err = capsys.readouterr()
    assert code == 2 and "may read, but not write" in err and "Traceback" not in err
