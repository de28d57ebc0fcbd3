"""What is known to be open in a Gradio app unless one closes it, line by line, and the test that holds it closed.

| line | test |
| --- | --- |
| every handler is a public endpoint | test_every_handler_that_does_something_passes_the_door, test_every_route_passes_the_door |
| the browser keeps inputs (`run_history`) | test_the_browser_keeps_no_history_of_inputs |
| a returned path becomes a public file; `allowed_paths` | test_no_handler_gives_out_a_file, test_files_of_the_machine_are_not_served |
| uploads are readable by their address | test_an_upload_is_for_whoever_uploaded_it; test_screens: ..._leaves_the_place_where_others_could_read_it |
| preflight of a foreign origin | test_a_foreign_page_gets_no_answer_whatever_a_preflight_says |
| cross-origin multipart upload | test_a_foreign_page_can_not_upload |
| a foreign Host (DNS rebinding) | test_a_name_that_leads_here_from_elsewhere_is_refused; test_security: test_a_foreign_host_name_is_refused |
| no CSP, no frame headers | test_every_answer_says_who_may_frame_it_and_what_it_loads |
| 300 wrong passwords in a second | test_sign_in: test_wrong_passwords_are_slowed_and_then_even_the_right_one_waits |
| `show_error` sends exception texts | test_an_error_sends_nothing_of_itself |
| `/monitoring` answers | test_what_the_page_has_no_use_for_is_closed |
| XSS by HTML, Markdown, Dataframe | test_only_our_own_html_is_drawn_as_html, test_names_of_files_and_rows_stay_text |
| no limit on uploads, queue, rate | test_uploads_and_the_queue_have_limits; test_limits |
| `gr.LoginButton` signs everybody in as the host | test_nobody_is_signed_in_as_the_host |
| `load_dataset` reads local files | test_security: test_only_the_owners_files_can_be_named_as_data; test_api: test_data_outside_the_owners_folder... |
| templates that don't end | engine/test_preview: test_a_hostile_template_is_stopped_and_the_page_lives_on |
| tokens in `training_args.bin`, argv | test_no_secret_stands_on_a_command_line, test_no_code_of_models_runs_and_no_arguments_are_pickled |
| `trust_remote_code` prompts | test_no_code_of_models_runs_and_no_arguments_are_pickled |
| tar and zip bombs, tar paths | test_no_tar_is_unpacked; engine/data/test_table: test_an_archive_that_swells_is_refused |
| sessions, streams, events of others | test_another_visitors_session_can_not_be_read, ..._joined, ..._cancelled, ..._event_can_not_be_read |
"""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.data.prepare import Prepared
from engine.errors import DataError
from engine.runs import queue, store
from tests.browser.server import CHECKOUT, PageServer
from tests.fakes import pages, runs
from ui import routes, sessions, words
from ui.sessions import Bound

PRODUCT = [*sorted((CHECKOUT / "engine").rglob("*.py")), *sorted((CHECKOUT / "ui").rglob("*.py")), CHECKOUT / "app.py"]
API = "/gradio_api"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """A page with visitors: it listens on all addresses."""
    place = tmp_path_factory.mktemp("shared")
    (place / "home").mkdir()
    started = PageServer(place / "home", "--host", "0.0.0.0")
    started.start()
    yield started
    started.kill()


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    place = tmp_path_factory.mktemp("own")
    (place / "home").mkdir()
    started = PageServer(place / "home")
    started.start()
    yield started
    started.kill()


@pytest.fixture
def browsers(server: PageServer) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Two visitors."""
    with httpx.Client(base_url=server.url, timeout=30) as ada, httpx.Client(base_url=server.url, timeout=30) as bob:
        for browser in (ada, bob):
            assert browser.get("/").status_code == 200
        yield ada, bob


@pytest.fixture(scope="module")
def config(server: PageServer) -> dict[str, Any]:
    """What the page is made of, as Gradio tells every visitor."""
    with httpx.Client(base_url=server.url, timeout=30) as browser:
        browser.get("/")
        return dict(browser.get("/config").json())


# --- handlers and routes


@pytest.fixture(scope="module")
def handlers() -> dict[str, str]:
    """Every handler of the page by its name, with how it is wrapped; in a process of its own."""
    import subprocess
    import sys

    code = (
        "import inspect, json\nfrom ui import shell\n"
        "found = [[fn.fn.__module__ + '.' + fn.fn.__qualname__, 'asked_by' in inspect.signature(fn.fn).parameters, "
        "inspect.getsource(fn.fn) if fn.fn.__name__ == '<lambda>' else ''] "
        "for fn in shell.build().fns.values() if fn.fn]\nprint(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    found = json.loads(done.stdout.splitlines()[-1])
    return {f"{number} {name}": "door" if wrapped else source for number, (name, wrapped, source) in enumerate(found)}


def test_every_handler_that_does_something_passes_the_door(handlers: dict[str, str]) -> None:
    """What is not wrapped is a lambda that takes nothing and gives a constant."""
    bare = {name: source for name, source in handlers.items() if source != "door"}
    assert len(handlers) > 20
    assert all("<lambda>" in name and "lambda:" in source for name, source in bare.items()), bare
    assert len(bare) <= 4, bare


def test_every_route_passes_the_door() -> None:
    endpoints = [getattr(route, "endpoint", None) for route in routes.routes()]
    names = {getattr(endpoint, "__qualname__", "static") for endpoint in endpoints if endpoint is not None}
    assert names == {"guarded.<locals>.answer"}


def test_a_handler_can_not_be_called_past_the_door_by_its_number(
    server: PageServer, browsers: tuple[httpx.Client, httpx.Client], config: dict[str, Any]
) -> None:
    """`/queue/join` takes any handler's number, the hidden ones' too: each acts for whoever asks."""
    ada, bob = browsers
    theirs = added(ada)
    number = next(one["id"] for one in config["dependencies"] if one["api_name"] == "check")
    told = called(bob, number, [theirs, "chat"])
    assert told["success"] is False and "not there any more" in json.dumps(told)
    assert called(ada, number, [theirs, "chat"])["success"] is True


def added(browser: httpx.Client) -> str:
    """Hand over rows by the published call; where they lie."""
    event = browser.post(f"{API}/call/add", json={"data": ["text,label\na,b\nc,d\n"]}).json()["event_id"]
    answer = browser.get(f"{API}/call/add/{event}").text
    return str(json.loads(answer.partition("data: ")[2].splitlines()[0])[0]["source"])


def called(browser: httpx.Client, number: int, data: list[Any], session: str = "") -> dict[str, Any]:
    """What a handler answers through the queue."""
    session = session or f"session-{id(browser)}"
    body = {"fn_index": number, "data": data, "session_hash": session}
    assert browser.post(f"{API}/queue/join", json=body).status_code == 200
    with browser.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as answer:
        for line in answer.iter_lines():
            record = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if record.get("msg") == "process_completed":
                return dict(record)
    raise AssertionError("The stream ended without an answer.")


# --- sessions


def test_another_visitors_session_can_not_be_read(browsers: tuple[httpx.Client, httpx.Client]) -> None:
    ada, bob = browsers
    body = {"fn_index": 0, "data": [], "session_hash": "adas-session-1"}
    ada.post(f"{API}/queue/join", json=body)
    for path in (f"{API}/queue/data?session_hash=adas-session-1", f"{API}/heartbeat/adas-session-1"):
        assert bob.get(path).status_code == 404


@pytest.mark.parametrize("path", ["queue/join", "run/predict", "api/predict", "call/add", "cancel", "reset"])
def test_another_visitors_session_can_not_be_joined(browsers: tuple[httpx.Client, httpx.Client], path: str) -> None:
    ada, bob = browsers
    ada.post(f"{API}/queue/join", json={"fn_index": 0, "data": [], "session_hash": "adas-session-2"})
    body = {"fn_index": 0, "data": [], "session_hash": "adas-session-2", "event_id": "x"}
    assert bob.post(f"{API}/{path}", json=body).status_code == 404
    text = json.dumps(body)
    assert bob.post(f"{API}/{path}", content=text, headers={"content-type": "text/plain"}).status_code == 404


def test_another_visitors_event_can_not_be_read_or_cancelled(browsers: tuple[httpx.Client, httpx.Client]) -> None:
    ada, bob = browsers
    event = ada.post(f"{API}/call/add", json={"data": ["text,label\na,b\nc,d\n"]}).json()["event_id"]
    assert bob.get(f"{API}/call/add/{event}").status_code == 404
    cancel = {"session_hash": "bobs-session", "fn_index": 0, "event_id": event}
    assert bob.post(f"{API}/cancel", json=cancel).status_code == 404
    assert "complete" in ada.get(f"{API}/call/add/{event}").text


def test_without_a_visitor_nothing_of_gradio_is_reached(server: PageServer) -> None:
    with httpx.Client(base_url=server.url) as nobody:
        for path in ("info", "queue/status", "queue/data?session_hash=x", "heartbeat/x", "app_id"):
            assert nobody.get(f"{API}/{path}").status_code == 401
        assert nobody.post(f"{API}/upload", files={"files": ("a.csv", b"a")}).status_code == 401


def test_what_belongs_to_whom_is_remembered_within_bounds() -> None:
    bound = Bound(most=3)
    assert bound.take("ada", "x") and bound.take("ada", "x") and not bound.take("bob", "x")
    for name in "abc":
        bound.take("bob", name)
    assert len(bound._owners) == 3 and not bound.is_of("ada", "x")


def test_a_page_of_ones_own_asks_gradio_as_it_always_did(own_server: PageServer) -> None:
    with httpx.Client(base_url=own_server.url) as browser:
        assert browser.get(f"{API}/info").status_code == 200


# --- files


def test_an_upload_is_for_whoever_uploaded_it(browsers: tuple[httpx.Client, httpx.Client]) -> None:
    ada, bob = browsers
    path = ada.post(f"{API}/upload", files={"files": ("secret.csv", b"text,label\nmine,x\n")}).json()[0]
    assert ada.get(f"{API}/file={path}").text == "text,label\nmine,x\n"
    for way in (f"{API}/file={path}", f"{API}/file/{path}", f"{API}/file=//{path}"):
        assert bob.get(way).status_code == 404


def test_equal_files_of_two_visitors_are_two_uploads(browsers: tuple[httpx.Client, httpx.Client]) -> None:
    """What becomes of the one, which is moved to its owner's folder, is nothing to the other."""
    files = {"files": ("rows.csv", b"text,label\nequal,x\n")}
    paths = [browser.post(f"{API}/upload", files=files).json()[0] for browser in browsers]
    assert paths[0] != paths[1] and {Path(path).name for path in paths} == {"rows.csv"}
    for browser, path in zip(browsers, paths, strict=True):
        assert browser.get(f"{API}/file={path}").text == "text,label\nequal,x\n"
    assert browsers[0].get(f"{API}/file={paths[1]}").status_code == 404


@pytest.mark.parametrize("name", ["/etc/passwd", "app.py", "README.md", "../etc/passwd", "https://example.com/x"])
def test_files_of_the_machine_are_not_served(server: PageServer, own_server: PageServer, name: str) -> None:
    with httpx.Client(base_url=server.url) as browser, httpx.Client(base_url=own_server.url) as owner:
        browser.get("/")
        assert browser.get(f"{API}/file={name}").status_code == 404
        if not name.startswith("https"):
            assert owner.get(f"{API}/file={name}").status_code in (403, 404)


def test_no_handler_gives_out_a_file(config: dict[str, Any]) -> None:
    """A File output is copied to where everybody can fetch it; what there is of them takes uploads and is cleared."""
    kinds = {one["id"]: one["type"] for one in config["components"]}
    given = {kinds[number] for one in config["dependencies"] for number in one["outputs"] if number in kinds}
    assert not given & {"downloadbutton", "image", "audio", "video", "gallery", "fileexplorer"}
    text = "".join(path.read_text(encoding="utf-8") for path in PRODUCT)
    assert "allowed_paths" not in text


# --- foreign pages and names


FOREIGN = {"origin": "https://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}


def test_a_foreign_page_can_not_upload(server: PageServer, own_server: PageServer) -> None:
    for address in (server.url, own_server.url):
        with httpx.Client(base_url=address) as browser:
            browser.get("/")
            answer = browser.post(f"{API}/upload", files={"files": ("a.csv", b"a")}, headers=FOREIGN)
            assert answer.status_code == 403


def test_a_foreign_page_gets_no_answer_whatever_a_preflight_says(own_server: PageServer, server: PageServer) -> None:
    for address in (server.url, own_server.url):
        with httpx.Client(base_url=address) as browser:
            browser.get("/")
            asks = {**FOREIGN, "access-control-request-method": "POST"}
            browser.options(f"{API}/queue/join", headers=asks)
            assert browser.post(f"{API}/queue/join", json={}, headers=FOREIGN).status_code == 403
            assert browser.get("/tunesmith/runs", headers=FOREIGN).status_code == 403


@pytest.mark.parametrize("path", ["/", "/config", f"{API}/info", "/tunesmith/runs"])
def test_a_name_that_leads_here_from_elsewhere_is_refused(
    server: PageServer, own_server: PageServer, path: str
) -> None:
    for address in (server.url, own_server.url):
        assert httpx.get(address + path, headers={"host": "rebound.example:80"}).status_code == 403


@pytest.mark.parametrize("path", ["/", "/config", f"{API}/info", "/tunesmith/runs", "/no/such/page"])
def test_every_answer_says_who_may_frame_it_and_what_it_loads(own_server: PageServer, path: str) -> None:
    answer = httpx.get(own_server.url + path)
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'self'" in policy and "default-src 'self'" in policy and "object-src 'none'" in policy
    assert "form-action 'self'" in policy  # sanitised Markdown keeps forms
    assert "img-src 'self' data: blob:" in policy  # and remote images
    assert answer.headers["x-content-type-options"] == "nosniff"


# --- what Gradio does by default


def test_the_browser_keeps_no_history_of_inputs(config: dict[str, Any]) -> None:
    assert not config.get("run_history")


@pytest.mark.parametrize(
    "path",
    ["/monitoring", "/monitoring/summary", "/gradio_api/proxy=https://x.hf.space/", "/gradio_api/deep_link?session_hash=x",
     "/gradio_api/dev/reload", "/gradio_api/runs", "/gradio_api/run-history/buckets", "/gradio_api/vibe-code"],
)  # fmt: skip
def test_what_the_page_has_no_use_for_is_closed(server: PageServer, own_server: PageServer, path: str) -> None:
    for address in (server.url, own_server.url):
        with httpx.Client(base_url=address) as browser:
            browser.get("/")
            assert browser.get(path).status_code == 404


def test_an_error_sends_nothing_of_itself(browsers: tuple[httpx.Client, httpx.Client], config: dict[str, Any]) -> None:
    assert not config.get("show_error")
    ada, _ = browsers
    number = next(one["id"] for one in config["dependencies"] if one["api_name"] == "events")
    told = json.dumps(called(ada, number, ["20260101-000000-abcdefgh", {"secret": "hf_token"}], "error-session"))
    assert "Traceback" not in told and "hf_token" not in told and str(CHECKOUT) not in told


def test_uploads_and_the_queue_have_limits() -> None:
    calls = {
        ast.unparse(node.func): {word.arg for word in node.keywords}
        for node in ast.walk(ast.parse((CHECKOUT / "app.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }
    assert "max_size" in calls["page.queue"] and "max_file_size" in calls["page.launch"]


def test_a_call_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_BODY_BYTES", 1000)
    with pages.opened():
        browser = pages.client()
        browser.get("/")
        assert browser.post(f"{API}/queue/join", content=b"x" * 900).status_code == 200
        assert browser.post(f"{API}/queue/join", content=b"x" * 1100).status_code == 413


def test_nobody_is_signed_in_as_the_host(config: dict[str, Any], server: PageServer) -> None:
    assert "Sign in" not in json.dumps(config["components"])
    with httpx.Client(base_url=server.url) as browser:
        browser.get("/")
        assert browser.get("/login/huggingface").status_code == 404


# --- what is drawn


def test_only_our_own_html_is_drawn_as_html(config: dict[str, Any]) -> None:
    kinds = {one["type"] for one in config["components"]}
    assert not kinds & {"dataframe"}
    for one in config["components"]:
        if one["type"] == "chatbot":
            assert one["props"]["render_markdown"] is False
        if one["type"] == "markdown":
            assert one["props"].get("sanitize_html") is not False


def test_names_of_files_and_rows_stay_text() -> None:
    evil = "<img src=x onerror=alert(1)>"
    for drawn in (words.failure(DataError(evil, evil)), words.heading(evil, evil), words.waiting(evil)):
        assert "<img" not in drawn and html.escape(evil) in drawn


def test_scripts_put_nothing_in_as_markup() -> None:
    for path in sorted((CHECKOUT / "ui" / "static").glob("*.js")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\.(innerHTML|outerHTML)\s*=|insertAdjacentHTML|document\.write|\beval\(", text), (
            path.name
        )


# --- processes, archives, models


def test_no_secret_stands_on_a_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_hosts")
    seen: list[Any] = []

    class Started:
        pid = 1

        def __init__(self, command: list[str], **options: Any) -> None:
            seen.append(command)

        def poll(self) -> int:
            return 0

        def wait(self, timeout: float | None = None) -> int:
            return 0

        def kill(self) -> None:
            pass

    monkeypatch.setattr(queue.subprocess, "Popen", Started)
    run = store.create(runs.spec(Path("/nowhere"), "chat", "lora"), Prepared(runs.examples("messages"), [], [], []))
    queue._launch(run.folder, "")
    assert seen and "hf_hosts" not in str(seen)
    stored = "".join(path.read_text(errors="replace") for path in run.folder.iterdir() if path.is_file())
    assert "hf_hosts" not in stored


def test_no_code_of_models_runs_and_no_arguments_are_pickled() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in PRODUCT)
    assert not re.search(r"trust_remote_code\s*=\s*True", text)
    # The one place that saves arguments is switched off by saving the parts ourselves.
    assert not re.search(r"\bhub_token\s*=\s*(?!None)[\"'a-z]", text.replace("def hub_token", ""))
    assert not re.search(r"\bpickle\b.*\bload|torch\.load\((?![^)]*weights_only=True)", text)


def test_no_tar_is_unpacked() -> None:
    for path in PRODUCT:
        names = {
            alias.name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert "tarfile" not in names and "pickle" not in names, path
