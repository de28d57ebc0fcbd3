"""The objective text: documents in passages, parts of them that fit, bits per byte, general text beside and between."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from engine.bases.parts import READ
from engine.compute.reading import read, scores
from engine.data import example as examples_file
from engine.data import passages, table
from engine.data.example import Example
from engine.data.examples import build
from engine.data.prepare import prepare
from engine.errors import DataError
from engine.judging import verdict
from engine.judging.evidence import gather
from engine.planning.explain import explain
from engine.planning.jobs import open_job
from engine.runs.worker import main as work
from engine.specs.sections import Data
from engine.specs.spec import RunSpec
from engine.texts import general
from engine.texts.tokens import Tokens
from tests.engine.compute.test_script import alone
from tests.engine.tokenizer_folders import byte_level, wordpiece
from tests.fakes import models, runs

WORDS = "law clause party shall notice termination agreement service user data the of and to in".split()


def document(paragraphs: int, seed: int = 0) -> str:
    drawn = random.Random(seed)
    return "\n\n".join(
        " ".join(drawn.choices(WORDS, k=drawn.randint(5, 90))).capitalize() + "." for _ in range(paragraphs)
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "terms.txt"
    path.write_text(document(120), encoding="utf-8")
    return path


# Parts of at most so many tokens

TEXTS = [
    document(30),
    "日本語のテキスト😀😀" * 200,
    "a" * 3000,
    "\n\n\n" * 500,
    "x",
    "",
    "One sentence. " * 300 + "\n" + "word " * 400,
]


@pytest.mark.parametrize("most", [8, 33, 128])
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("kind", ["bytes", "word pieces"])
def test_a_text_is_read_whole_in_parts_that_fit(tmp_path: Path, kind: str, text: str, most: int) -> None:
    tokens = Tokens.load(byte_level(tmp_path, None) if kind == "bytes" else wordpiece(tmp_path))
    parts = tokens.divided(text, most)
    assert "".join(parts) == text
    assert all(tokens.encode_text(part, 10**6).full_length <= most for part in parts)


def test_parts_end_where_a_paragraph_a_line_or_a_sentence_does(tmp_path: Path) -> None:
    tokens = Tokens.load(byte_level(tmp_path, None))
    text = ("word " * 20 + "end.\n\n") * 10
    length = tokens.encode_text("word " * 20 + "end.\n\n", 10**6).full_length
    assert all(part.endswith("end.\n\n") for part in tokens.divided(text, length + length // 5))
    with pytest.raises(ValueError, match="no room"):
        tokens.divided(text, 0)


# Passages, and how they are held out


def test_paragraphs_make_passages_and_nothing_is_lost(file: Path) -> None:
    built = build(table.read(file), Data(source=str(file)), "text")
    assert max(len(made.text) for made in built.examples) <= passages.CHARACTERS
    assert "\n\n".join(made.text for made in built.examples) == file.read_text(encoding="utf-8")
    assert built.notices[-1].startswith("120 rows of running text: read in ")


def test_a_long_paragraph_is_parted_where_a_sentence_ends() -> None:
    text = "It is agreed by both. " * 400
    made, _ = passages.joined([Example(1, text=text)], {1: 0})
    assert "".join(part.text for part in made) == text
    assert all(part.text.endswith(". ") and len(part.text) <= passages.CHARACTERS for part in made)
    assert {part.row for part in made} == {1}


def test_passages_of_two_documents_are_not_joined() -> None:
    rows = [Example(number, text=f"Paragraph {number}.") for number in range(1, 5)]
    made, blocks = passages.joined(rows, {1: 0, 2: 0, 3: 1, 4: 1})
    assert [part.text for part in made] == ["Paragraph 1.\n\nParagraph 2.", "Paragraph 3.\n\nParagraph 4."]
    assert len(set(blocks)) == 2


def test_passages_are_held_out_in_blocks(tmp_path: Path) -> None:
    path = tmp_path / "book.md"
    path.write_text(document(1500), encoding="utf-8")
    found = prepare([Data(source=str(path))], "text", 1)
    splits = [example.split for example in found.examples]
    changes = sum(a != b for a, b in pairwise(splits))
    held = len(splits) - splits.count("train")
    assert held > 30 and changes < held  # alone, each held-out passage would make two
    assert found.counts()["test"] and found.counts()["validation"]


def test_texts_with_labels_are_read_without_them_and_conversations_are_refused(tmp_path: Path) -> None:
    labelled = tmp_path / "labelled.csv"
    labelled.write_text("text,label\n" + "".join(f"Text {n},{n % 2}\n" for n in range(40)), encoding="utf-8")
    found = prepare([Data(source=str(labelled))], "text", 1)
    assert {example.label for example in found.examples} == {""} and len(found.examples) == 40
    assert any("labels ('label') are not used" in notice for notice in found.notices)
    asked = tmp_path / "asked.csv"
    asked.write_text(
        "prompt,completion\n" + "".join(f"Question {n}?,Answer {n}.\n" for n in range(40)), encoding="utf-8"
    )
    with pytest.raises(DataError, match="no plain text"):
        prepare([Data(source=str(asked))], "text", 1)


# Bits per byte


def test_bits_per_byte_are_those_of_the_models_own_loss(tmp_path: Path) -> None:
    import torch

    base = models.tiny_decoder(tmp_path / "base")
    job = open_job(runs.folder(tmp_path / "run", runs.spec(base, "text", "full")), lambda text: None)
    model = job.objective.load(job)
    text = "Where is my card? It has not come, and I wait."
    ids = job.tokens.encode_text(text, 64).ids
    with torch.no_grad():
        nats = float(model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss) * (len(ids) - 1)
    behind_first = len(text.encode()) - len(job.tokens.decode(ids[:1]).encode())
    seen = read(job, model, [Example(1, text=text)], lambda done, total: None)[0]
    assert (seen.tokens, seen.bytes) == (len(ids) - 1, behind_first)
    assert seen.bits == pytest.approx(nats / math.log(2) / behind_first, rel=1e-4)
    whole = scores(
        job, model, [Example(1, text=text), Example(2, text=text)], general.meter(), lambda done, total: None
    )
    assert whole.metrics["bits_per_byte"] == pytest.approx(seen.bits, rel=1e-4)
    assert whole.metrics["general_bits_per_byte_low"] < whole.metrics["general_bits_per_byte"]


def test_a_text_of_one_token_is_scored_as_nothing_to_foresee(tmp_path: Path) -> None:
    base = models.tiny_decoder(tmp_path / "base")
    job = open_job(runs.folder(tmp_path / "run", runs.spec(base, "text", "full")), lambda text: None)
    found = scores(job, job.objective.load(job), [Example(1, text="a")], [], lambda done, total: None)
    assert found.rows[0].answer == "nothing to foresee" and found.metrics["bits_per_byte"] == 0.0


# General text


def test_passages_to_measure_by_are_never_among_those_to_read_again() -> None:
    learned = general.replayed(0.9, [Example(1, text="x" * 10_000_000)], 1)
    assert len(learned) > 100
    assert not {example.text for example in general.meter()} & {example.text for example in learned}


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_general_text_makes_up_the_share_that_was_asked_for(share: float) -> None:
    train = [Example(1, text="x" * 60_000)]
    mixed = sum(len(example.text) for example in general.replayed(share, train, 1))
    assert mixed / (mixed + 60_000) == pytest.approx(share, abs=0.04)
    assert general.replayed(share, train, 1) == general.replayed(share, train, 1)


# A run from file to verdict


def test_a_run_reads_a_document_and_says_what_it_came_to(file: Path, tmp_path: Path) -> None:
    base = models.tiny_decoder(tmp_path / "base")
    spec = RunSpec.parse(
        {
            **runs.spec(base, "text", "full", max_steps=30, max_tokens=48).as_dict(),
            "data": [{"source": str(file)}],
            "objective": {"name": "text", "replay": 0.2},
        }
    )
    found = prepare(spec.data, "text", spec.training.seed)
    planned = explain(spec, found)
    folder = runs.folder(tmp_path / "run", spec, found.examples)
    assert work(folder) == 0
    parts = examples_file.load(folder / READ)
    learned = [part for part in parts if part.split == "train"]
    assert "".join(part.text for part in learned if part.row) == "".join(
        row.text for row in found.examples if row.split == "train"
    )
    assert any(part.row == 0 for part in learned), "general text is mixed in"
    assert planned.rows["train"] == pytest.approx(len(learned), rel=0.15)
    assert "of what is read" in " ".join(planned.plan.reasons)

    told = verdict.judge(replace(gather(folder, "finished")))
    assert told.kinds[0] == "better" and told.headline.startswith("Bits per byte fell from ")
    assert told.measure == "bits_per_byte" and told.difference and told.difference.mean < 0
    assert any(sentence.startswith("Bits per byte of general text went from ") for sentence in told.sentences)
    _, theirs = alone(folder, base)
    ours = [event["loss"] for event in runs.events(folder) if event["type"] == "progress" and event.get("loss")]
    assert [theirs[0], theirs[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-3)
