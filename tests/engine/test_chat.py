from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine import home
from engine.chat import Chats
from engine.errors import DataError, MachineError, ModelError, RunError
from engine.texts.tokens import TextStream, Tokens
from tests.fakes import models, runs

GENEROUS = 30.0


def ask(chats: Chats, order: str, run: str = "a", base: bool = False) -> str:
    return "".join(chats.stream(Path(run), [{"role": "user", "content": order}], base))


def gone(process: int) -> bool:
    try:
        psutil.Process(process).wait(GENEROUS)
    except psutil.NoSuchProcess:
        pass
    return not psutil.pid_exists(process)


# Children and places, with a child that does what it is told


@pytest.fixture
def make() -> Iterator[Callable[..., Chats]]:
    made: list[Chats] = []

    def start(**settings: Any) -> Chats:
        made.append(Chats(module="tests.fakes.child", **settings))
        return made[-1]

    yield start
    for chats in made:
        chats.close()


def test_an_answer_comes_piece_by_piece(make: Any) -> None:
    assert list(make().stream(Path("a"), [{"role": "user", "content": "words on its way"}])) == ["on", "its", "way"]


def test_questions_to_one_model_are_answered_by_one_process(make: Any) -> None:
    chats = make()
    assert ask(chats, "pid") == ask(chats, "pid")


def test_base_and_tuned_model_answer_side_by_side(make: Any) -> None:
    chats = make()
    tuned = chats.stream(Path("a"), [{"role": "user", "content": "count"}])
    base = chats.stream(Path("a"), [{"role": "user", "content": "count"}], base=True)
    assert [next(tuned), next(base), next(tuned), next(base)] == ["1", "1", "2", "2"]
    tuned.close()
    base.close()


def test_the_model_that_was_quiet_for_longest_makes_room(make: Any) -> None:
    chats = make()
    a, b = ask(chats, "pid", "a"), ask(chats, "pid", "b")
    assert ask(chats, "pid", "a") == a
    ask(chats, "pid", "c")
    assert gone(int(b))
    assert ask(chats, "pid", "a") == a


def test_a_model_that_answers_is_not_ended_for_another(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.chat.QUEUE_SECONDS", 0.1)
    chats = make(most=1)
    busy = chats.stream(Path("a"), [{"role": "user", "content": "count"}])
    next(busy)
    with pytest.raises(MachineError, match="most at once"):
        ask(chats, "pid", "b")
    busy.close()
    assert ask(chats, "echo fine", "b") == "fine"


def test_a_question_waits_for_a_place(make: Any) -> None:
    chats, answers = make(most=1), []
    busy = chats.stream(Path("a"), [{"role": "user", "content": "count"}])
    next(busy)
    waiting = threading.Thread(target=lambda: answers.append(ask(chats, "echo fine", "b")))
    waiting.start()
    busy.close()
    waiting.join(GENEROUS)
    assert answers == ["fine"]


def test_closing_the_iterator_stops_the_answer_and_keeps_the_model(make: Any) -> None:
    chats = make()
    process = ask(chats, "pid")
    numbers = chats.stream(Path("a"), [{"role": "user", "content": "count"}])
    next(numbers)
    numbers.close()
    assert ask(chats, "pid") == process


def test_a_model_that_nobody_asks_is_unloaded(make: Any) -> None:
    chats = make(idle_seconds=0.1)
    process = ask(chats, "pid")
    assert gone(int(process))
    assert ask(chats, "echo back again") == "back again"


@pytest.mark.parametrize(
    ("order", "error", "words"),
    [
        ("refuse", ModelError, "It is no model"),
        ("exit 3", MachineError, "exit code 3"),
        ("kill", MachineError, "memory"),
    ],
)
def test_every_failure_is_a_user_error(make: Any, order: str, error: type[Exception], words: str) -> None:
    chats = make()
    with pytest.raises(error, match=words):
        ask(chats, order)
    assert ask(chats, "echo fine") == "fine"


def test_a_model_that_hangs_is_ended(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.chat.LOAD_SECONDS", 0.1)
    with pytest.raises(MachineError, match="too long"):
        ask(make(), "sleep 60")


# The real child, with a tiny model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_decoder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def run_folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.folder(tmp_path_factory.mktemp("runs") / "run", runs.spec(tiny, "chat", "lora"))


@pytest.fixture(scope="module")
def chats(run_folder: Path) -> Iterator[Chats]:
    """With the base model loaded, by a child whose home is the session's: those of a test's own home end with it."""
    home.runs()
    chats = Chats()
    list(chats.stream(run_folder, QUESTION, base=True, max_new_tokens=1))
    yield chats
    chats.close()


QUESTION = [{"role": "user", "content": "Where is my card?"}]


def test_the_streamed_answer_is_the_one_that_the_model_generates(chats: Chats, tiny: Path, run_folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    tokens = Tokens.load(tiny)
    prompt = tokens.encode_prompt(QUESTION)
    model = AutoModelForCausalLM.from_pretrained(tiny)
    ids = model.generate(torch.tensor([prompt]), max_new_tokens=40, do_sample=False)[0, len(prompt) :].tolist()
    stream = TextStream(tokens)
    expected = "".join([stream.push(token) for token in ids if token not in tokens.stop_ids]) + stream.flush()
    answer = "".join(chats.stream(run_folder, QUESTION, base=True, max_new_tokens=40))
    assert answer == expected != ""


def test_an_answer_can_be_stopped_and_another_asked_for(chats: Chats, run_folder: Path) -> None:
    long = chats.stream(run_folder, QUESTION, base=True, max_new_tokens=400, temperature=2.0)
    next(long)
    long.close()
    first, again = ("".join(chats.stream(run_folder, QUESTION, base=True, max_new_tokens=8)) for _ in range(2))
    assert first == again


def test_a_conversation_longer_than_the_model_reads_is_refused(chats: Chats, run_folder: Path) -> None:
    with pytest.raises(DataError, match="reads at most 512"):
        list(chats.stream(run_folder, [{"role": "user", "content": "card " * 600}], base=True))


def test_a_run_without_result_has_no_tuned_model_to_talk_with(chats: Chats, run_folder: Path) -> None:
    with pytest.raises(RunError, match="no result yet"):
        list(chats.stream(run_folder, QUESTION))


def test_a_run_that_classifies_does_not_chat(chats: Chats, tmp_path: Path) -> None:
    home.runs()
    encoder = models.tiny_encoder(tmp_path / "encoder")
    folder = runs.folder(tmp_path / "run", runs.spec(encoder, "classify", "full"))
    with pytest.raises(RunError, match="can't chat"):
        list(chats.stream(folder, QUESTION, base=True))


# A classifier, asked for a text


def asked(folder: Path, text: str) -> Any:
    """What the child sends of a run's model with an untrained head."""
    from engine.compute.chat import Talk
    from engine.compute.result import open_result

    sent: list[Any] = []
    talk = Talk(lambda place, _: open_result(place, True))
    talk.handle({"run_folder": str(folder), "base": False, "text": text}, sent.append, lambda: False)
    (found,) = sent
    return found


def test_a_classifier_says_how_sure_it_is_of_every_label(tmp_path: Path) -> None:
    encoder = models.tiny_encoder(tmp_path / "encoder")
    folder = runs.folder(tmp_path / "run", runs.spec(encoder, "classify", "full"))
    found = asked(folder, "Where is my card?")
    chances = [chance for _, chance in found]
    assert len({label for label, _ in found}) == len(found) > 1
    assert chances == sorted(chances, reverse=True) and abs(sum(chances) - 1) < 1e-5
    assert found == asked(folder, "Where is my card?") != asked(folder, "Which rate do you use?")


def test_a_run_that_answers_chooses_no_labels(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="chooses no labels"):
        asked(runs.folder(tmp_path / "run", runs.spec(tiny, "chat", "full")), "card")


def test_labels_come_from_the_tuned_models_child_in_one_piece(make: Any) -> None:
    assert make().labels(Path("a"), "card") == [("card", 0.75), ("rate", 0.25)]
