from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import objectives
from engine.data.example import Example
from engine.errors import ModelError
from engine.specs.spec import RunSpec
from engine.texts.preview import Previewer
from engine.texts.tokens import Tokens
from tests.engine.chat_templates import CHATML, GEMMA, SMOLLM2
from tests.engine.tokenizer_folders import byte_level, wordpiece

QUESTION = {"role": "user", "content": "Where is my card?"}
ANSWER = {"role": "assistant", "content": "On its way. 🎉"}
CHATS = [
    Example(1, messages=[QUESTION, ANSWER]),
    Example(2, messages=[QUESTION, ANSWER] * 30),
    Example(3, messages=[{**QUESTION, "content": "Where? " * 90}, ANSWER]),
]
HOSTILE = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "memory": "{{ 'A' * 2000000000 }}{{ 'B' * 2000000000 }}",
    "number": "{{ 10 ** (10 ** 9) }}",
}


@pytest.fixture(scope="module")
def previewer() -> Iterator[Previewer]:
    previewer = Previewer()
    yield previewer
    previewer.close()


@pytest.fixture
def impatient() -> Iterator[Previewer]:
    previewer = Previewer(seconds=3.0)
    yield previewer
    previewer.close()


def spec(objective: str = "chat", max_tokens: int = 256) -> RunSpec:
    training = {"max_tokens": max_tokens}
    return RunSpec.parse({"data": [{"source": "d"}], "objective": objective, "training": training} | _MODEL)


_MODEL: dict[str, Any] = {"model": {"id": "made-by-the-test"}}


def test_rows_show_text_and_learned_pieces(previewer: Previewer, tmp_path: Path) -> None:
    row = previewer.rows(byte_level(tmp_path, CHATML), spec(), CHATS[:1])[0]
    assert (
        row.text == "<|im_start|>user\nWhere is my card?<|im_end|>\n<|im_start|>assistant\nOn its way. 🎉<|im_end|>\n"
    )
    assert "".join(text for text, learned in row.pieces if learned) == "On its way. 🎉<|im_end|>"
    assert (row.row, row.example, row.problem, row.truncated) == (1, CHATS[0], None, False)


@pytest.mark.parametrize("objective", ["chat", "classify"])
def test_rows_have_the_tokens_that_the_worker_will_use(previewer: Previewer, tmp_path: Path, objective: str) -> None:
    texts = [Example(1, text="Where is my card? " * 20, label="a"), Example(2, text="", label="b")]
    examples, folder = (CHATS, byte_level(tmp_path, CHATML)) if objective == "chat" else (texts, wordpiece(tmp_path))
    run = spec(objective, max_tokens=40)
    method, tokens = objectives.get(objective), Tokens.load(folder)
    expected = [method.encode(example, tokens, run.objective_settings, 40) for example in examples]
    rows = previewer.rows(folder, run, examples)
    counts = previewer.lengths(folder, run, examples)
    assert [(row.tokens, row.learned, row.truncated) for row in rows] == [
        (len(encoded.ids), sum(encoded.learned), encoded.truncated) for encoded in expected
    ]
    assert [row.pieces for row in rows] == [tokens.pieces(encoded) for encoded in expected]
    assert counts.lengths == [len(encoded.ids) for encoded in expected]
    assert counts.learned == [sum(encoded.learned) for encoded in expected]


def test_cut_rows_and_rows_without_anything_learned_are_counted(previewer: Previewer, tmp_path: Path) -> None:
    counts = previewer.lengths(byte_level(tmp_path, CHATML), spec(max_tokens=64), CHATS)
    assert (counts.truncated, counts.unlearned) == (2, 1)
    assert counts.longest > 64 and counts.total == sum(counts.lengths) and max(counts.lengths) == 64


def test_a_row_whose_answer_is_cut_away_says_so(previewer: Previewer, tmp_path: Path) -> None:
    row = previewer.rows(byte_level(tmp_path, CHATML), spec(max_tokens=64), CHATS[2:])[0]
    assert row.truncated and "cut at 64" in (row.problem or "")


def test_a_row_that_the_template_refuses_has_its_problem_and_the_others_stand(
    previewer: Previewer, tmp_path: Path
) -> None:
    folder = byte_level(tmp_path, GEMMA)
    refused = Example(7, messages=[{"role": "system", "content": "Be brief."}, QUESTION, ANSWER])
    rows = previewer.rows(folder, spec(), [CHATS[0], refused])
    counts = previewer.lengths(folder, spec(), [CHATS[0], refused])
    assert rows[0].problem is None and "no system message" in (rows[1].problem or "")
    assert list(counts.problems) == [1] and counts.lengths[1] == 0 and counts.unlearned == 0


def test_a_model_without_template_is_noted(previewer: Previewer, tmp_path: Path) -> None:
    assert "no chat template" in (previewer.template_note(byte_level(tmp_path)) or "")


def test_a_folder_without_tokenizer_is_a_model_error(previewer: Previewer, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        previewer.rows(tmp_path, spec(), CHATS)


@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_template_is_stopped_and_the_page_lives_on(
    impatient: Previewer, tmp_path: Path, template: str
) -> None:
    good, bad = byte_level(tmp_path / "good", CHATML), byte_level(tmp_path / "bad", template)
    with pytest.raises(ModelError, match=r"chat template took|may have taken more memory"):
        impatient.rows(bad, spec(), CHATS[:1])
    assert impatient.rows(good, spec(), CHATS[:1])[0].problem is None


def test_lengths_are_counted_once(tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    previewer = Previewer()
    folder = byte_level(tmp_path / "model", CHATML)
    first = previewer.lengths(folder, spec(), CHATS)
    previewer.close()
    monkeypatch.setattr(previewer, "_ask", lambda *_: pytest.fail("counted again"))
    assert previewer.lengths(folder, spec(), CHATS) == first


@pytest.mark.parametrize("change", ["examples", "limit", "template", "cache file"])
def test_lengths_are_counted_again_when_something_changed(
    previewer: Previewer, tmp_path: Path, empty_cache: Path, change: str
) -> None:
    folder, run, examples = byte_level(tmp_path / "model", CHATML), spec(), CHATS
    first = previewer.lengths(folder, run, examples)
    match change:
        case "examples":
            examples = [*CHATS[:2], Example(3, messages=[QUESTION, {**ANSWER, "content": "No."}])]
        case "limit":
            run = spec(max_tokens=30)
        case "template":
            byte_level(folder, SMOLLM2)
        case "cache file":
            (kept,) = (empty_cache / "lengths").iterdir()
            kept.write_text('{"lengths": [1')
    again = previewer.lengths(folder, run, examples)
    assert (again == first) == (change == "cache file")


def test_lengths_of_many_rows_are_asked_for_in_parts(previewer: Previewer, tmp_path: Path, empty_cache: Path) -> None:
    examples = [Example(row, messages=[QUESTION, ANSWER]) for row in range(2500)]
    counts = previewer.lengths(byte_level(tmp_path / "model", CHATML), spec(), examples)
    assert len(counts.lengths) == 2500 and len(set(counts.lengths)) == 1


def test_no_rows_have_no_lengths(previewer: Previewer, tmp_path: Path) -> None:
    counts = previewer.lengths(byte_level(tmp_path / "model", CHATML), spec(), [])
    assert (counts.lengths, counts.longest, counts.total) == ([], 0, 0)


def test_the_child_starts_without_torch_and_within_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    code = "import sys, engine.compute.preview; sys.exit(bool({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert time.monotonic() - began < 10
