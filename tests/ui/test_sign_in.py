"""Who is asking: cookies, the password, recovery links, the host's link, signing in on a Space."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from engine import home
from tests.fakes import pages
from ui import entrance, owner, sharing, sign_in, tries
from ui.sharing import Page


@pytest.fixture
def shared() -> Iterator[Page]:
    with pages.opened() as page:
        yield page


@pytest.fixture
def locked() -> Iterator[Page]:
    with pages.opened(password="open sesame") as page:
        yield page


def enter(browser: TestClient, password: str, place: str = "/") -> Any:
    return browser.post("/tunesmith/enter", data={"password": password, "place": place})


# --- which kind of page


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_page_for_this_machine_alone_is_ones_own(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_PASSWORD", "x")
    assert sharing.decided(host, share=False) == Page()


@pytest.mark.parametrize(
    ("host", "share", "environment", "kind"),
    [
        ("0.0.0.0", False, {}, "shared"),
        ("192.168.1.7", False, {}, "shared"),
        ("127.0.0.1", True, {}, "shared"),
        ("127.0.0.1", False, {"TUNESMITH_HOSTS": "tunes.example"}, "shared"),
        ("0.0.0.0", False, {"SYSTEM": "spaces"}, "space"),
    ],
)
def test_a_page_that_others_can_reach_has_visitors(
    host: str, share: bool, environment: dict[str, str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert sharing.decided(host, share).kind == kind


def test_a_public_link_has_a_password_even_if_nobody_gave_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_is_terminal", lambda: False)
    page = sharing.decided("127.0.0.1", share=True)
    assert page.made and re.fullmatch(r"(\w{4}-){3}\w{4}", page.password or "")
    assert sharing.decided("127.0.0.1", share=True).password != page.password


def test_on_a_terminal_the_password_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_is_terminal", lambda: True)
    monkeypatch.setattr(sharing.getpass, "getpass", lambda prompt: "typed in")
    page = sharing.decided("127.0.0.1", share=True)
    assert (page.password, page.made) == ("typed in", False)
    monkeypatch.setattr(sharing.getpass, "getpass", lambda prompt: "")
    assert sharing.decided("127.0.0.1", share=True).made


def test_the_password_is_taken_out_of_the_environment_of_what_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_PASSWORD", "open sesame")
    assert sharing.decided("0.0.0.0", share=False).password == "open sesame"
    assert "TUNESMITH_PASSWORD" not in os.environ


def test_a_page_shows_none_of_its_secrets_when_it_is_printed() -> None:
    shown = repr(Page("shared", "open sesame", secret=b"s3cret", host_key="k3y"))
    assert not any(secret in shown for secret in ("open sesame", "s3cret", "k3y"))


def test_the_secret_of_a_home_is_for_its_owner_alone_and_stays() -> None:
    made = sharing.secret()
    path = home.home() / ".secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(made) >= 32 and sharing.secret() == made
    assert [entry.name for entry in home.home().iterdir()] == [".secret"]


# --- one's own page


def test_a_page_of_ones_own_asks_nobody_who_they_are() -> None:
    with pages.opened("own"):
        answer = pages.client().get("/tunesmith/who")
    assert answer.text == "local True"
    assert "set-cookie" not in answer.headers


# --- visitors


def test_each_browser_is_an_owner_of_its_own_and_stays_it(shared: Page) -> None:
    one, other = pages.client(), pages.client()
    first = one.get("/").text
    assert re.fullmatch(r"v-[0-9a-f]{24} False", first)
    assert one.get("/").text == one.get("/tunesmith/who").text == first
    assert other.get("/").text != first


def test_the_cookie_of_a_visitor_can_not_be_read_by_scripts_nor_sent_by_other_sites(shared: Page) -> None:
    cookie = pages.client().get("/").headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" not in cookie


def test_on_a_space_the_cookie_works_in_the_frame_of_the_hub_alone() -> None:
    with pages.opened("space"):
        cookie = pages.client().get("/").headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=None", "Secure", "Partitioned"))


@pytest.mark.parametrize("forge", ["local", "v-" + "0" * 24, "hf-" + "0" * 24, "../../etc"])
def test_a_forged_cookie_makes_nobody(shared: Page, forge: str) -> None:
    name = f"{shared.cookie}-visitor"
    other = Page("shared", secret=b"another secret")
    for value in (forge, f"{forge}.", f"{forge}.AAAA", other.signed("visitor", forge)):
        browser = pages.client()
        browser.cookies.set(name, value)
        assert browser.get("/tunesmith/who").status_code == 401
        assert forge not in browser.get("/").text


def test_a_signature_is_good_for_one_purpose(shared: Page) -> None:
    name = "v-" + "1" * 24
    browser = pages.client()
    browser.cookies.set(f"{shared.cookie}-visitor", shared.signed("recover", name))
    assert browser.get("/tunesmith/who").status_code == 401


def test_even_a_signed_name_that_is_no_visitors_is_refused(shared: Page) -> None:
    browser = pages.client()
    browser.cookies.set(f"{shared.cookie}-visitor", shared.signed("visitor", "local"))
    assert browser.get("/tunesmith/who").status_code == 401


def test_a_browser_without_cookies_is_told_what_to_do(shared: Page) -> None:
    answer = pages.client().get("/tunesmith/who")
    assert answer.status_code == 401
    assert "cookies" in answer.json()["fix"]


def test_pages_of_other_homes_on_this_machine_use_other_cookies() -> None:
    assert Page("shared", secret=b"a").cookie != Page("shared", secret=b"b").cookie


# --- the password


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/tunesmith/who",
        "/tunesmith/recover",
        "/gradio_api/info",
        "/gradio_api/queue/join",
        "/config",
        "/assets/x.js",
    ],
)
def test_everything_is_behind_the_password(locked: Page, path: str) -> None:
    browser = pages.client()
    assert browser.get(path).status_code == 401
    assert browser.post(path).status_code == 401


def test_the_password_page_is_labelled_and_loads_nothing(locked: Page) -> None:
    text = pages.client().get("/").text
    assert '<html lang="en">' in text and "<label for='password'>" in text and "autocomplete='current-password'" in text
    assert "<script" not in text and "src=" not in text and "http" not in text


def test_the_right_password_opens_the_place_that_was_asked_for(locked: Page) -> None:
    browser = pages.client()
    assert "value='/?run=20260101-000000-abcdefgh'" in browser.get("/?run=20260101-000000-abcdefgh").text
    answer = enter(browser, "open sesame", "/?run=20260101-000000-abcdefgh")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?run=20260101-000000-abcdefgh")
    assert browser.get("/").status_code == 200


def test_two_who_know_the_password_are_two_owners(locked: Page) -> None:
    names = set()
    for browser in (pages.client(), pages.client()):
        enter(browser, "open sesame")
        names.add(browser.get("/").text)
    assert len(names) == 2


@pytest.mark.parametrize(
    "place", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "x"]
)
def test_after_the_password_nobody_is_sent_elsewhere(locked: Page, place: str) -> None:
    assert enter(pages.client(), "open sesame", place).headers["location"] == "/"


def test_what_the_address_says_stays_text_on_the_password_page(locked: Page) -> None:
    text = pages.client().get("/?run='><script>alert(1)</script>").text
    assert "<script>" not in text


def test_a_wrong_password_is_told_and_lets_nobody_in(locked: Page) -> None:
    browser = pages.client()
    answer = enter(browser, "guess")
    assert answer.status_code == 401 and "That is not the password." in answer.text
    assert "guess" not in answer.text
    assert browser.get("/").status_code == 401


def test_wrong_passwords_are_slowed_and_then_even_the_right_one_waits(locked: Page) -> None:
    browser = pages.client()
    answers = [enter(browser, f"guess {number}") for number in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert "try again in" in answers[3].text and int(answers[3].headers["retry-after"]) >= 1
    assert enter(browser, "open sesame").status_code == 429


def test_an_overlong_form_is_refused(locked: Page) -> None:
    assert enter(pages.client(), "x" * 20_000).status_code == 413


def test_with_a_new_password_everybody_enters_anew() -> None:
    browser = pages.client()
    with pages.opened(password="first"):
        enter(browser, "first")
        assert browser.get("/").status_code == 200
    with pages.opened(password="second"):
        assert browser.get("/").status_code == 401


def test_a_pass_ends(locked: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = pages.client()
    enter(browser, "open sesame")
    now = time.time()
    monkeypatch.setattr(sign_in.time, "time", lambda: now + sign_in.ENTERED_S + 1)
    assert browser.get("/").status_code == 401


def test_another_site_can_not_send_passwords(locked: Page) -> None:
    answer = pages.client().post(
        "/tunesmith/enter", data={"password": "open sesame"}, headers={"origin": "https://evil.example"}
    )
    assert answer.status_code == 403


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_wait_of_an_address_grows_and_is_capped() -> None:
    counted, waits, clock = None, [], Clock()
    counted = tries.Tries(clock)
    for _ in range(40):
        counted.wrong("1.2.3.4")
        waits.append(counted.wait("1.2.3.4"))
        clock.now += waits[-1]
    assert waits[:5] == [0, 0, 1, 2, 4]
    assert waits[-1] == tries.LONGEST_S


def test_another_address_does_not_wait_for_somebodys_slips() -> None:
    counted = tries.Tries(Clock())
    for _ in range(6):
        counted.wrong("1.2.3.4")
    assert counted.wait("1.2.3.4") > 0 == counted.wait("5.6.7.8")


def test_many_addresses_together_are_slowed_for_all_but_never_for_long() -> None:
    counted = tries.Tries(Clock())
    for number in range(500):
        counted.wrong(f"10.0.{number // 250}.{number % 250}")
    assert 0 < counted.wait("5.6.7.8") <= tries.LONGEST_FOR_ALL_S


def test_what_is_remembered_of_wrong_tries_is_bounded_and_fades() -> None:
    clock = Clock()
    counted = tries.Tries(clock)
    for number in range(3000):
        counted.wrong(f"address {number}")
    assert len(counted._by_address) == tries.MOST_ADDRESSES
    clock.now += tries.FORGOTTEN_S + 1
    counted.wrong("address 2999")
    assert counted.wait("address 2999") == 0


def test_a_right_password_forgives_the_slips_before() -> None:
    counted = tries.Tries(Clock())
    counted.wrong("1.2.3.4")
    counted.wrong("1.2.3.4")
    counted.right("1.2.3.4")
    counted.wrong("1.2.3.4")
    assert counted.wait("1.2.3.4") == 0


# --- recovery links


def recovery(browser: TestClient) -> str:
    name = browser.get("/").text.split()[0]
    return f"/{sign_in.recovery_path(name)}"


def test_a_recovery_link_makes_another_browser_the_same_owner_once_it_agrees(shared: Page) -> None:
    mine, other = pages.client(), pages.client()
    before = other.get("/").text
    link = recovery(mine)
    asked = other.get(link)
    assert (asked.status_code, asked.headers["location"]) == (303, "/tunesmith/recover")
    assert other.get("/").text == before
    assert "seen by everybody who has the link" in other.get("/tunesmith/recover").text
    assert other.post("/tunesmith/recover").headers["location"] == "/"
    assert other.get("/").text == mine.get("/").text


def test_a_recovery_link_leaves_nothing_in_the_address_or_in_caches(shared: Page) -> None:
    link = recovery(pages.client())
    other = pages.client()
    asked = other.get(link)
    token = link.partition("=")[2]
    assert token not in asked.headers["location"] and asked.headers["cache-control"] == "no-store"
    assert asked.headers["referrer-policy"] == "same-origin"
    assert token not in other.get("/tunesmith/recover").text
    other.post("/tunesmith/recover")
    assert not any(token == value for value in other.cookies.values())


def test_a_recovery_link_does_not_stand_in_for_the_password(locked: Page) -> None:
    browser = pages.client()
    link = f"/?recover={locked.signed('recover', 'v-' + '1' * 24)}"
    assert browser.get(link).status_code == 303
    assert browser.get("/tunesmith/recover").status_code == browser.post("/tunesmith/recover").status_code == 401
    enter(browser, "open sesame", "/tunesmith/recover")
    assert browser.post("/tunesmith/recover").status_code == 303
    assert browser.get("/").text.startswith("v-1111")


@pytest.mark.parametrize("token", ["", "v-" + "1" * 24, "v-" + "1" * 24 + ".AAAA", "local.x"])
def test_a_forged_recovery_link_opens_nothing(shared: Page, token: str) -> None:
    assert pages.client().get(f"/?recover={token}").status_code == 403


def test_nobody_recovers_the_host(shared: Page) -> None:
    assert pages.client().get(f"/?recover={shared.signed('recover', 'local')}").status_code == 403


# --- the host


def test_the_hosts_link_makes_a_browser_the_host_without_the_password(locked: Page) -> None:
    browser = pages.client()
    answer = browser.get(f"/?host={pages.KEY}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert browser.get("/").text == "local True"


@pytest.mark.parametrize("key", ["", "x", pages.KEY[:-1], pages.KEY + "x"])
def test_a_wrong_host_key_opens_nothing(locked: Page, key: str) -> None:
    browser = pages.client()
    assert browser.get(f"/?host={key}").status_code == 403
    assert browser.get("/").status_code == 401


def test_the_hosts_link_of_an_earlier_start_is_worth_nothing(shared: Page) -> None:
    browser = pages.client()
    browser.cookies.set(f"{shared.cookie}-host", shared.signed("host", "an earlier key"))
    assert browser.get("/").text.endswith("False")


# --- signing in on a Space


class Session:
    """Stands where Gradio's session does, and holds what it would after signing in."""

    def __init__(self, app: ASGIApp, info: Any) -> None:
        self.app, self.info = app, info

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"] = {"oauth_info": self.info}
        await self.app(scope, receive, send)


def signed_in(subject: str = "5f0c", **changes: Any) -> dict[str, Any]:
    info = {"access_token": "hf_theirs", "expires_at": time.time() + 600, "userinfo": {"sub": subject}, "scope": "x"}
    return info | changes


def space(info: Any) -> TestClient:
    return pages.client(outer=[Middleware(Session, info=info)])


def test_whoever_signs_in_is_the_same_owner_in_every_browser() -> None:
    with pages.opened("space"):
        names = {space(signed_in()).get("/").text for _ in range(2)}
        other = space(signed_in("77aa")).get("/").text
    assert len(names) == 1 and re.fullmatch(r"hf-[0-9a-f]{24} False", names.pop()) and other not in names


@pytest.mark.parametrize(
    "info",
    [
        None,
        "x",
        {},
        signed_in(expires_at=1.0),
        signed_in(access_token=""),
        signed_in(userinfo={}),
        signed_in(userinfo=None),
    ],
)
def test_who_has_not_signed_in_or_whose_time_is_over_is_a_visitor_by_cookie(info: Any) -> None:
    with pages.opened("space"):
        assert space(info).get("/").text.startswith("v-")


def test_elsewhere_a_session_makes_nobody_an_owner(shared: Page) -> None:
    assert space(signed_in()).get("/").text.startswith("v-")


def test_a_session_is_signed_so_that_nobody_can_make_one_up() -> None:
    outer = [Middleware(SessionMiddleware, secret_key="the Space's own", same_site="none")]
    forger = TestClient(_session_writer(), base_url=pages.ADDRESS)
    forged = forger.get("/").cookies["session"]
    with pages.opened("space"):
        browser = pages.client(outer=outer)
        browser.cookies.set("session", forged)
        assert browser.get("/").text.startswith("v-")


def _session_writer() -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"]["oauth_info"] = signed_in()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return SessionMiddleware(app, secret_key="a guess", same_site="none")


@pytest.mark.parametrize(
    ("environment", "possible"),
    [
        ({}, False),
        ({"OAUTH_CLIENT_ID": "x"}, False),
        ({"SYSTEM": "spaces"}, False),
        ({"SYSTEM": "spaces", "OAUTH_CLIENT_ID": "x"}, True),
    ],
)
def test_signing_in_is_offered_only_where_it_signs_in_the_visitor(
    environment: dict[str, str], possible: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert sharing.can_sign_in() is possible


# --- whose token


def test_the_token_to_push_with_is_ones_own_or_for_the_host_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_hosts")
    theirs = owner.Visitor("hf-" + "0" * 24, token="hf_theirs")
    with pages.opened("own"):
        assert owner.hub_token() == owner.hub_token(pages.asked_by(None)) == "hf_hosts"
    with pages.opened("space"):
        assert owner.hub_token(pages.asked_by(theirs)) == "hf_theirs"
        assert owner.hub_token(pages.asked_by(owner.HOST)) == "hf_hosts"
        assert owner.hub_token(pages.asked_by(owner.Visitor("v-" + "0" * 24))) is None


def test_words_on_waiting_name_the_time() -> None:
    assert entrance.waiting(0.5).endswith("try again in 1 second.")
    assert entrance.waiting(299.0).endswith("try again in 5 minutes.")
