"""A service that writes what is learned: what it is sent, what happens when it fails, and that nothing is paid for twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import home
from engine.data.example import Example
from engine.errors import MachineError, SettingError, UserError
from engine.methods.job import Stopped
from engine.planning.jobs import open_job
from engine.runs import queue, store
from engine.runs.worker import STOPPED, USER_ERROR
from engine.runs.worker import main as work
from engine.specs.spec import RunSpec
from engine.teachers import asking, keys
from engine.teachers.asking import Asking, Prices
from engine.teachers.chat_service import Service
from engine.teachers.teacher_answers import FOLDER, Answer, Answers, answered, key
from tests.fakes import models, openai, runs
from tests.fakes.openai import KEY, OpenAI, Reply

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_decoder(tmp_path_factory.mktemp("base") / "student")


@pytest.fixture
def fake() -> Iterator[OpenAI]:
    with openai.service() as kept:
        yield kept


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(keys, "_taken", [])
    monkeypatch.setattr(keys, "_typed", {})


def spec(student: Path, fake: OpenAI, **settings: Any) -> RunSpec:
    objective = {"name": "imitate-service", "service": fake.url, "model": "large", "at_once": 1, **settings}
    return runs.spec(student, objective, "lora")


def asked_of(fake: OpenAI, **changes: Any) -> Service:
    given = {"most_tokens": 7, "temperature": None, "patience": 5.0, "private": True}
    return Service(fake.url, "large", KEY, **{**given, **changes})


def quiet(done: int, total: int) -> None:
    pass


def prompts(count: int) -> dict[str, Example]:
    rows = [_row(number) for number in range(count)]
    return {key(row): row for row in rows}


def _row(number: int, text: str = "own") -> Example:
    question = {"role": "user", "content": f"question {number}"}
    return Example(number + 1, messages=[question, {"role": "assistant", "content": text}])


def ended(folder: Path) -> dict[str, Any]:
    return next(event for event in reversed(runs.events(folder)) if event["type"] in ("failed", "finished"))


# Many questions


def test_all_are_asked_several_at_once_and_each_once(fake: OpenAI, tmp_path: Path) -> None:
    answers, wanted = Answers(tmp_path, {}), prompts(20)
    Asking(asked_of(fake), Prices(), answers, at_once=4).ask(wanted, print, quiet)
    assert fake.answered == Counter({f"question {number}": 1 for number in range(20)})
    assert {answers.get(one) for one in wanted} == {Answer(f"Re: question {number}") for number in range(20)}
    again = Answers(tmp_path, {})
    assert len(again) == 20 and again.spent == 0.0


def test_a_busy_service_is_asked_again_after_what_it_says(fake: OpenAI, tmp_path: Path) -> None:
    fake.reply = lambda number, prompt: Reply(429, b"{}", {"Retry-After": "0.3"}) if number in (1, 2) else Reply()
    began = time.monotonic()
    Asking(asked_of(fake), Prices(), Answers(tmp_path, {}), at_once=1).ask(prompts(3), print, quiet)
    assert time.monotonic() - began > 0.6
    assert set(fake.answered.values()) == {1} and len(fake.received) == 5


def test_a_service_that_stays_busy_ends_it_and_what_is_answered_is_kept(fake: OpenAI, tmp_path: Path) -> None:
    fake.reply = lambda number, prompt: Reply() if number < 2 else Reply(503, b"oops")
    with pytest.raises(MachineError, match=r"status 503.*6 tries.*2 answers are kept") as found:
        Asking(asked_of(fake), Prices(), Answers(tmp_path, {}), at_once=1).ask(prompts(4), print, quiet)
    assert "not asked again" in found.value.fix
    fake.reply = lambda number, prompt: Reply()
    answers = Answers(tmp_path, {})
    Asking(asked_of(fake), Prices(), answers).ask(
        {one: row for one, row in prompts(4).items() if answers.get(one) is None}, print, quiet
    )
    assert set(fake.answered.values()) == {1} and len(fake.answered) == 4


def test_garbage_is_asked_again_counted_and_told(fake: OpenAI, tmp_path: Path) -> None:
    fake.reply = lambda number, prompt: Reply(body=b"[]") if prompt == "question 1" or number == 0 else Reply()
    told: list[str] = []
    answers, wanted = Answers(tmp_path, {}), prompts(3)
    Asking(asked_of(fake), Prices(), answers, at_once=1).ask(wanted, told.append, quiet)
    assert told == ["127.0.0.1 gave what is no answer: 4 × no choices."]
    assert [answers.get(one) is None for one in wanted] == [False, True, False]


def test_no_question_goes_beyond_what_may_be_spent(fake: OpenAI, tmp_path: Path) -> None:
    """An answer costs 10 x 1 + 5 x 10 = 60 millionths of a dollar; one that might cost more than is left is not asked."""
    fake.usage = {"prompt_tokens": 10, "completion_tokens": 5}
    most = asking.most_asked(_row(0).prompt) + 70
    prices = Prices(1.0, 10.0, 200e-6)
    answers = Answers(tmp_path, {})
    with pytest.raises(MachineError, match=r"might go beyond the \$0\.00.*8 of|not answered yet") as found:
        Asking(asked_of(fake), prices, answers, at_once=4).ask(prompts(20), print, quiet)
    assert 0 < len(fake.received) <= (200 - most) // 60 + 1
    assert answers.spent == pytest.approx(60e-6 * len(fake.received)) and answers.spent <= 200e-6
    assert "most_spent" in found.value.fix
    assert Answers(tmp_path, {}).spent == pytest.approx(answers.spent)


def test_a_service_that_tells_no_usage_counts_at_its_most(fake: OpenAI, tmp_path: Path) -> None:
    fake.usage = None
    answers = Answers(tmp_path, {})
    Asking(asked_of(fake), Prices(1.0, 10.0, 1.0), answers).ask(prompts(2), print, quiet)
    assert answers.spent == pytest.approx(2 * (asking.most_asked(_row(0).prompt) + 70) / 1e6)


def test_a_try_that_came_to_nothing_counts_where_it_may_be_paid(fake: OpenAI, tmp_path: Path) -> None:
    first = [Reply(429, b"{}"), Reply(drip=0.05), Reply(body=b"[]")]
    fake.reply = lambda number, prompt: first[number] if number < 3 else Reply()
    answers = Answers(tmp_path, {})
    Asking(asked_of(fake, patience=0.3), Prices(1.0, 10.0, 1.0), answers, at_once=1).ask(prompts(1), print, quiet)
    most = (asking.most_asked(_row(0).prompt) + 70) / 1e6
    assert answers.spent == pytest.approx(2 * most + 60e-6)  # 429 is free; the others tell no usage


def test_a_wish_to_stop_ends_it_with_what_is_on_its_way(fake: OpenAI, tmp_path: Path) -> None:
    def report(done: int, total: int) -> None:
        if done >= 3:
            raise Stopped

    answers = Answers(tmp_path, {})
    with pytest.raises(Stopped):
        Asking(asked_of(fake), Prices(), answers, at_once=2).ask(prompts(30), print, report)
    assert 3 <= len(answers) < 30 and len(fake.received) == len(answers)


# What is kept


def test_a_question_that_was_on_its_way_when_all_ended_counts_as_paid(tmp_path: Path) -> None:
    first = Answers(tmp_path, {"a": 1})
    assert first.reserve("x", 0.25, limit=0.3) and not first.reserve("y", 0.1, limit=0.3)
    second = Answers(tmp_path, {"a": 1})
    assert second.spent == 0.25
    assert second.reserve("x", 0.25)
    second.keep("x", Answer("yes"), 0.125)
    assert second.spent == pytest.approx(0.375) and Answers(tmp_path, {"a": 1}).spent == pytest.approx(0.375)
    assert Answers(tmp_path, {"a": 2}).get("x") is None


def test_a_line_that_was_cut_off_harms_no_other(tmp_path: Path) -> None:
    first = Answers(tmp_path, {})
    first.keep("x", Answer("one"))
    file = next((tmp_path / FOLDER).iterdir())
    with open(file, "ab") as out:
        out.write(b'{"row": "y", "answ')
    second = Answers(tmp_path, {})
    second.keep("z", Answer("three\u2028 \ud800", whole=False))
    third = Answers(tmp_path, {})
    assert third.get("x") == Answer("one") and third.get("y") is None
    found = third.get("z")
    assert found is not None and not found.whole and found.text.startswith("three\u2028")


def test_a_row_is_known_by_its_prompt_alone() -> None:
    assert key(_row(1)) == key(_row(1, "another answer")) != key(_row(2))
    later = {"role": "user", "content": "thanks"}
    row = replace(_row(1), messages=[*_row(1).messages, later])
    assert answered(row, "new").messages == [row.messages[0], {"role": "assistant", "content": "new"}, later]
    assert row.messages[1]["content"] == "own"


# Runs


def test_a_run_learns_what_the_service_answers(student: Path, fake: OpenAI, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv(keys.VARIABLE, KEY)
    wanted = spec(student, fake, price_asked=1.0, price_answered=10.0, most_spent=1.0, score_teacher=True)
    folder = runs.folder(tmp_path / "run", wanted)
    assert work(folder) == 0
    rows = runs.examples("messages")
    assert Counter(fake.asked) == Counter(row.messages[0]["content"] for row in rows if row.split != "validation")
    told = [event["text"] for event in runs.events(folder) if event["type"] == "notice"]
    assert any("costs about $" in text and "$1.00" in text for text in told)
    assert any(text.startswith("$0.0006 are spent") for text in told)
    written = [json.loads(line) for line in (folder / "read.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["messages"][-1]["content"] for row in written if row["split"] == "train"] == [
        f"Re: {row.messages[0]['content']}" for row in rows if row.split == "train"
    ]
    own = {row.row: row.answer for row in rows}
    held = [row for row in written if row["split"] != "train"]
    assert held and all(row["messages"][-1]["content"] == own[row["row"]] for row in held)
    scored = json.loads((folder / "scores" / "before, teacher.json").read_text(encoding="utf-8"))
    assert [row["answer"] for row in scored["rows"]] == [f"Re: {row.messages[0]['content']}" for row in rows[10:]]
    assert KEY not in "".join(
        file.read_text(encoding="utf-8", errors="replace") for file in folder.rglob("*") if file.is_file()
    )
    assert keys.VARIABLE not in os.environ  # nothing that the worker starts has it


def test_a_wrong_key_fails_in_words_that_hold_none(
    student: Path, fake: OpenAI, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv(keys.VARIABLE, "sk-wrong-wrong-wrong")
    folder = runs.folder(tmp_path / "run", spec(student, fake))
    assert work(folder) == USER_ERROR
    failed = ended(folder)
    assert "does not take the key" in failed["problem"] and keys.VARIABLE in failed["fix"]
    assert "sk-wrong" not in (folder / "events.jsonl").read_text(encoding="utf-8")


def test_a_run_that_failed_goes_on_where_it_was(student: Path, fake: OpenAI, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv(keys.VARIABLE, KEY)
    fake.reply = lambda number, prompt: Reply() if number < 3 else Reply(429, b"{}", {"Retry-After": "0"})
    folder = runs.folder(tmp_path / "run", spec(student, fake))
    assert work(folder) == USER_ERROR
    assert "status 429" in ended(folder)["problem"] and len(fake.answered) == 3
    fake.reply = lambda number, prompt: Reply()
    monkeypatch.setenv(keys.VARIABLE, KEY)
    assert work(folder) == 0
    assert len(fake.answered) == 8 and set(fake.answered.values()) == {1}


def test_a_run_that_is_stopped_while_answers_are_written_goes_on(
    student: Path, fake: OpenAI, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv(keys.VARIABLE, KEY)
    folder = runs.folder(tmp_path / "run", spec(student, fake))

    def reply(number: int, prompt: str) -> Reply:
        if number == 2:
            (folder / "stop").touch()
        return Reply()

    fake.reply = reply
    assert work(folder) == STOPPED and len(fake.answered) < 8
    (folder / "stop").unlink()
    monkeypatch.setenv(keys.VARIABLE, KEY)
    open_job(folder, print)
    assert len(fake.answered) == 8 and set(fake.answered.values()) == {1}


def test_a_killed_worker_has_nothing_paid_twice(student: Path, fake: OpenAI, tmp_path: Path, monkeypatch: Any) -> None:
    prices = {"price_asked": 1.0, "price_answered": 10.0, "most_spent": 1.0}
    folder = runs.folder(tmp_path / "run", spec(student, fake, **prices))
    held = threading.Event()
    fake.reply = lambda number, prompt: Reply(held=held) if number == 4 else Reply()
    child = subprocess.Popen(
        [sys.executable, "-m", "engine.runs.worker", str(folder)],
        cwd=CHECKOUT,
        env={**os.environ, keys.VARIABLE: KEY},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while len(fake.received) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert len(fake.received) == 5 and len(fake.answered) == 4
    fake.reply = lambda number, prompt: Reply()
    monkeypatch.setenv(keys.VARIABLE, KEY)
    keys.take(os.environ)
    job = open_job(folder, print)
    assert len(fake.received) == 9  # the one on its way is asked again, and counts as paid
    held.set()
    assert all(row.answer.startswith("Re: ") for row in job.examples["train"])
    lines = [json.loads(line) for line in next((folder / FOLDER).iterdir()).read_text(encoding="utf-8").splitlines()]
    most = next(line["most"] for line in lines if line.get("ask") == key(job.examples["train"][4]))
    spent = Answers(folder, job.objective.teacher_of(job)).spent
    assert spent == pytest.approx(8 * 60e-6 + most)


def test_rows_without_an_answer_end_the_run_or_keep_the_datas(
    student: Path, fake: OpenAI, tmp_path: Path, monkeypatch: Any
) -> None:
    first = runs.examples("messages")[0]
    monkeypatch.setenv(keys.VARIABLE, KEY)
    fake.reply = lambda number, prompt: Reply(body=b"{}") if prompt == first.messages[0]["content"] else Reply()
    folder = runs.folder(tmp_path / "stop", spec(student, fake))
    with pytest.raises(UserError, match="To 1 row of 8"):
        open_job(folder, print)
    told: list[str] = []
    kept = runs.folder(tmp_path / "data", spec(student, fake, unanswered="data"))
    job = open_job(kept, told.append)
    assert job.examples["train"][0].answer == first.answer and job.examples["train"][1].answer.startswith("Re: ")
    assert any("1 row of 8 keep the data's own" in text for text in told)


def test_runs_of_one_owner_share_answers_and_others_do_not(
    student: Path, fake: OpenAI, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv(keys.VARIABLE, KEY)
    made = []
    for name, owner in (("a", "local"), ("b", "local"), ("c", "v-somebody")):
        folder = runs.folder(home.runs() / f"20260101-000000-aaaaaaa{name}", spec(student, fake))
        (folder / "run.json").write_text(json.dumps({"owner": owner}), encoding="utf-8")
        open_job(folder, print)
        made.append(len(fake.received))
    assert made == [8, 8, 16]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"model": " "}, "objective.model"),
        ({"price_asked": 1.0}, "objective.price_answered"),
        ({"service": "https://example.com/v1"}, "objective.most_spent"),
        ({"service": "http://example.com/v1"}, "objective.service"),
        ({"service": "https://me:secret@example.com/v1"}, "objective.service"),
    ],
)
def test_settings_that_can_not_be_are_refused_before_anything_is_asked(
    settings: dict[str, Any], problem: str, student: Path, fake: OpenAI, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=problem):
        open_job(runs.folder(tmp_path / "run", spec(student, fake, **settings)), print)
    assert not fake.received


def test_rows_with_tools_are_refused(student: Path, fake: OpenAI, tmp_path: Path) -> None:
    rows = runs.examples("messages")
    rows[2] = replace(rows[2], tools=[{"type": "function", "function": {"name": "x", "parameters": {}}}])
    with pytest.raises(UserError, match=r"1 row has tools \(the first is row 3\)"):
        open_job(runs.folder(tmp_path / "run", spec(student, fake), rows), print)


def test_a_run_that_does_not_fit_is_refused_before_anything_is_paid(
    student: Path, fake: OpenAI, tmp_path: Path
) -> None:
    wanted = spec(student, fake)
    wanted = replace(wanted, training=wanted.training.model_copy(update={"max_tokens": 100_000}))
    rows = [
        replace(row, messages=[{**m, "content": m["content"] * 80} for m in row.messages])
        for row in runs.examples("messages")
    ]
    with pytest.raises(SettingError, match="reads at most"):
        open_job(runs.folder(tmp_path / "run", wanted, rows), print)
    assert not fake.received


# Keys


def test_a_key_of_openai_is_sent_to_openai_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-theirs-12345")
    assert keys.of("https://api.openai.com/v1") == "sk-theirs-12345"
    assert keys.of("https://elsewhere.example/v1") is None
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.example/v1/")
    assert keys.of("https://elsewhere.example/v1") == "sk-theirs-12345"
    assert keys.of("https://elsewhere.example/v2") is None
    monkeypatch.setenv("TUNESMITH_VISITOR", "1")
    assert keys.of("https://api.openai.com/v1") is None
    monkeypatch.setenv(keys.VARIABLE, "own")
    assert keys.of("https://anywhere.example/") == "own"


def test_a_typed_key_reaches_the_worker_of_its_run_alone(
    student: Path, fake: OpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.data.prepare import Prepared

    seen = tmp_path / "seen"
    shown = f"import os, sys; open({str(seen)!r}, 'a').write(os.environ.get({keys.VARIABLE!r}, 'none') + chr(10))"
    monkeypatch.setenv("TUNESMITH_WORKER", json.dumps([sys.executable, "-c", shown]))
    prepared = Prepared(runs.examples("messages"), [], [], [])
    made = [store.create(spec(student, fake), prepared) for _ in range(2)]
    keys.keep(made[0].folder, f" {KEY} ")
    for run in made:
        queue.start(run)
    deadline = time.monotonic() + 60
    while (not seen.exists() or len(seen.read_text().splitlines()) < 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert seen.read_text().splitlines() == [KEY, "none"]
    deadline = time.monotonic() + 60
    while any(store.get(run.id).state in store.ACTIVE for run in made) and time.monotonic() < deadline:
        time.sleep(0.05)
    written = [file for file in home.home().rglob("*") if file.is_file()]
    assert all(KEY.encode() not in file.read_bytes() for file in written)


def test_a_run_whose_key_was_typed_elsewhere_waits_for_the_page(
    student: Path, fake: OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.data.prepare import Prepared

    started: list[str] = []
    monkeypatch.setattr(queue, "_launch", lambda folder, device: started.append(folder.name))
    run = store.create(spec(student, fake), Prepared(runs.examples("messages"), [], [], []))
    keys.keep(run.folder, KEY)
    with monkeypatch.context() as held:
        held.setattr(queue, "advance", lambda apart=False: None)
        queue.start(run)
    keys.forget(run.id)
    queue.advance(apart=True)
    assert not started
    queue.advance()
    assert started == [run.id]


@pytest.mark.parametrize("typed", ["two words", "schlüssel", "x" * 600, "a\nb"])
def test_what_can_be_no_key_is_refused(typed: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="key of the service"):
        keys.keep(tmp_path, typed)
    keys.keep(tmp_path, "  ")
    assert not (tmp_path / keys.MARK).exists()


def test_a_visitors_service_in_a_private_network_is_refused_when_the_run_is_made(student: Path, fake: OpenAI) -> None:
    from engine.data.prepare import Prepared

    prepared = Prepared(runs.examples("messages"), [], [], [])
    with pytest.raises(SettingError, match=r"objective\.service.*private network"):
        store.create(spec(student, fake), prepared, "v-" + "a" * 24)
    store.create(spec(student, fake), prepared)
