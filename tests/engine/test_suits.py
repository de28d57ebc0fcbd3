"""Which objectives can learn from data, and what is said of the others at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import objectives
from engine.data import report, table
from engine.data.prepare import prepare
from engine.errors import UserError
from engine.methods.suits import ROWS, Suit, suits
from engine.specs.sections import Data

ANSWERS, LABELS = {"chat", "distill", "imitate", "imitate-service"}, {"classify", "distill-labels", "cloze"}
FILES = {
    "answers.csv": "question,answer\n" + "".join(f"What is {n}?,It is the number {n}.\n" for n in range(30)),
    "labels.csv": "text,label\n" + "".join(f"Text {n},{'ab'[n % 2]}\n" for n in range(30)),
    "several.csv": "text,labels\n" + "".join(f"Text {n},{('a', 'b', 'a;b')[n % 3]}\n" for n in range(30)),
    "numbers.csv": "text,rating\n" + "".join(f"Text {n},{n / 7:.3f}\n" for n in range(30)),
    "pairs.csv": "premise,hypothesis,label\n" + "".join(f"A {n},B {n},{'ab'[n % 2]}\n" for n in range(30)),
    "texts.csv": "text\n" + "".join(f"A long enough text of number {n}.\n" for n in range(30)),
    "preferences.jsonl": '{"prompt": "Hi?", "chosen": "Hello!", "rejected": "What."}\n' * 12,
    "gaps.csv": "text,labels\n" + "".join(f"Text {n},{('', 'a', 'a;b', 'b')[n % 4]}\n" for n in range(30)),
    "turned.csv": "text,label\n" + "".join(f"Text {n},a\n" for n in range(30)),
}
LEARN = {
    "answers.csv": ANSWERS,
    "labels.csv": ANSWERS | LABELS | {"text"},
    "several.csv": ANSWERS | {"classify", "text"},
    "numbers.csv": ANSWERS | {"classify", "text"},
    "pairs.csv": ANSWERS | {"classify", "distill-labels", "text"},
    "texts.csv": {"text"},
    "preferences.jsonl": set(),
    "gaps.csv": ANSWERS | {"classify", "text"},
    "turned.csv": ANSWERS | {"text"},
}


def entry(folder: Path, name: str) -> Data:
    (folder / name).write_text(FILES[name], encoding="utf-8")
    return Data(source=str(folder / name))


def found(folder: Path, name: str) -> list[Suit]:
    data = entry(folder, name)
    return suits(table.load(data), data)


@pytest.mark.parametrize("name", FILES)
def test_it_is_said_which_objectives_can_learn_from_it(name: str, tmp_path: Path) -> None:
    told = found(tmp_path, name)
    known = ANSWERS | LABELS | {"text"}
    assert {one.name for one in told if not one.missing and one.name in known} == LEARN[name]
    assert [one.name for one in told] == [one.name for one in objectives.all()]


@pytest.mark.parametrize("name", FILES)
def test_what_is_said_holds_when_a_run_is_prepared(name: str, tmp_path: Path) -> None:
    data = entry(tmp_path, name)
    for one in found(tmp_path, name):
        objective = objectives.get(one.name)
        kind: Any = "number" if "number" in one.how else objective.kind(objective.Settings())
        if not one.missing:
            prepared = prepare([data], objective.wants, 1, kind=kind)
            assert prepared.examples and bool(prepared.problems) == one.how.startswith("but for ")
        elif "one label a row" not in one.missing and "two texts" not in one.missing:  # these are read, in another way
            with pytest.raises(UserError) as caught:
                prepare([data], objective.wants, 1, kind=kind)
            assert one.missing in str(caught.value)


def test_numbers_need_a_kind_of_answer_and_what_is_missing_is_a_sentence(tmp_path: Path) -> None:
    numbers = {one.name: one for one in found(tmp_path, "numbers.csv")}
    assert numbers["classify"].how == "with the kind of answer 'number'"
    assert "are no classes" in numbers["cloze"].missing
    assert (
        "'labels' holds several labels" in next(o for o in found(tmp_path, "several.csv") if o.name == "cloze").missing
    )
    assert "one place for a text" in next(o for o in found(tmp_path, "pairs.csv") if o.name == "cloze").missing
    gaps = {one.name: one.how for one in found(tmp_path, "gaps.csv")}
    assert gaps["chat"] == "but for 8 rows: The row has no label, so that there is no answer" and gaps["classify"] == ""
    assert "preference pairs" in found(tmp_path, "preferences.jsonl")[0].missing


def test_of_a_large_file_only_the_first_rows_are_looked_at(tmp_path: Path) -> None:
    lines = [f"Text {n},{'ab'[n % 2]}" for n in range(ROWS)] + [f"Text {n},{n}" for n in range(ROWS)]
    (tmp_path / "large.csv").write_text("text,label\n" + "\n".join(lines), encoding="utf-8")
    data = Data(source=str(tmp_path / "large.csv"))
    assert all(not one.missing for one in suits(table.load(data), data) if one.name in LABELS)


def test_the_report_tells_it_with_and_without_an_objective(tmp_path: Path) -> None:
    told = report.check(entry(tmp_path, "texts.csv"), "messages")
    assert told["error"] and "text: Text" in "\n".join(report.lines(told))
    assert "not chat, distill, imitate, imitate-service" in "\n".join(report.lines(told))
