"""Words proposed for labels: which rows are read, what the model says of them, and that each label gets another word."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.data.example import Example
from engine.data.prepare import Prepared
from engine.errors import DataError, SettingError
from engine.planning.jobs import open_job
from engine.specs.spec import RunSpec
from engine.texts import label_words
from engine.word_choice import Proposal, asked, proposed
from tests.fakes import models, runs


def spec_of(base: Path, objective: str = "cloze", **settings: Any) -> RunSpec:
    values = runs.spec(base, objective, "lora").as_dict()
    return RunSpec.parse({**values, "objective": {"name": objective, **settings}})


def test_a_few_rows_of_every_label_are_read_and_always_the_same() -> None:
    rows = [Example(number, text=f"t{number}", label="ab"[number % 2]) for number in range(1, 60)]
    rows += [Example(100, "test", text="held out", label="c")]
    drawn = asked(rows, 3)
    assert [row.label for row in drawn] == ["a"] * 16 + ["b"] * 16 and drawn == asked(rows, 3) != asked(rows, 4)
    many = [Example(number, text="t", label=str(number % 100)) for number in range(1000)]
    assert len(asked(many, 1)) == 200


@pytest.mark.parametrize("count", [1, 121])
def test_too_few_or_too_many_labels_are_refused(count: int) -> None:
    with pytest.raises(DataError, match=rf"2 to 120 labels; these rows have {count}"):
        asked([Example(number, text="t", label=str(number)) for number in range(count)], 1)


@pytest.mark.parametrize("kind", ["decoder", "masked"])
def test_words_are_those_that_the_whole_model_finds_likelier_with_a_labels_rows(kind: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    from engine.compute.model import untrained
    from engine.compute.word_choice import candidates, mean_logs, proposals

    base = (models.tiny_decoder if kind == "decoder" else models.tiny_masked_encoder)(tmp_path / "base")
    spec = spec_of(base, template="{text} It is {label}.\n---\n{text}\nTopic: {label}")
    job = open_job(runs.folder(tmp_path / "run", spec), lambda text: None, to_train=False)
    rows = job.examples["train"]
    means = mean_logs(job, untrained(job), rows)

    loader = AutoModelForCausalLM if kind == "decoder" else AutoModelForMaskedLM
    whole = loader.from_pretrained(base).eval()
    begin, end = job.tokens.frame
    logs = []
    for row in (row for row in rows if row.label == job.labels[0]):
        for left, right in ((f"{row.text} It is", "."), (f"{row.text}\nTopic:", "")):
            ids = [*begin, *job.tokens.encode_bare(left)[0]]
            at = len(ids) - 1
            if kind == "masked":
                after = job.tokens.encode_bare("." + right)[0][1:] if right else []
                ids, at = [*ids, job.tokens.mask_id, *after, *end], at + 1
            with torch.no_grad():
                logs.append(whole(input_ids=torch.tensor([ids])).logits[0, at].log_softmax(-1))
    torch.testing.assert_close(means[0], torch.stack(logs).mean(dim=0), rtol=1e-4, atol=1e-4)

    found = [Proposal(**one) for one in proposals(job, candidates(job, means))]
    assert [one.label for one in found] == job.labels and len({one.word for one in found}) == len(found)
    for number, one in enumerate(found):
        for template in spec.objective_settings.templates(kind == "masked"):
            (token,) = label_words.word_ids(job.tokens, template, one.word)
        others = [own for own in range(len(found)) if own != number]
        assert one.nats == pytest.approx(float(means[number, token] - means[others, token].mean()), abs=1e-4)
        assert one.word not in one.others
    assert max(one.nats for one in found) > 0


def test_a_child_proposes_words_that_the_setting_takes(tmp_path: Path) -> None:
    base = models.tiny_decoder(tmp_path / "base")
    spec = spec_of(base, label_words="no such label = wrong")
    found = proposed(spec, Prepared(runs.examples("labelled"), [], [], []))
    assert {one.label for one in found} == set(runs.INTENTS)
    words = label_words.written({one.label: one.word for one in found})
    settled = spec_of(base, label_words=words)
    job = open_job(runs.folder(tmp_path / "run", settled), lambda text: None, to_train=False)
    assert job.objective_settings.readings == 1 and job.objective.remarks(job.objective_settings) == []
    assert all(one.times == pytest.approx(2.718281828**one.nats) for one in found)


def test_objectives_without_label_words_and_models_that_cant_are_refused(tmp_path: Path) -> None:
    rows = Prepared(runs.examples("labelled"), [], [], [])
    with pytest.raises(SettingError, match="has no label words"):
        proposed(spec_of(models.tiny_decoder(tmp_path / "d"), "classify"), rows)
    with pytest.raises(SettingError, match="needs a head that guesses masked words"):
        proposed(spec_of(models.tiny_encoder(tmp_path / "e")), rows)


def named(*labels: str) -> Any:
    return SimpleNamespace(labels=list(labels))


def test_no_two_labels_get_forms_of_one_word_nor_a_beginning_of_one_where_there_are_others() -> None:
    from engine.compute.word_choice import Candidate, proposals

    listed = [
        [Candidate(1, "Cards", 5.0), Candidate(2, "Pok", 4.0), Candidate(3, "money", 1.0), Candidate(8, "Money", 0.9)],
        [Candidate(4, "card", 4.5), Candidate(2, "Pok", 4.2), Candidate(5, "bank", 2.0), Candidate(6, "Banks", 1.5)],
    ]
    first, second = proposals(named("a", "b"), listed, begun={2})
    assert (first["word"], second["word"]) == ("Cards", "bank")
    assert first["others"] == ["money"] and second["others"] == []
    (only,) = proposals(named("a"), [[Candidate(2, "Pok", 4.0)]], begun={2})
    assert only["word"] == "Pok", "better than none"


@pytest.mark.parametrize("kind", ["decoder", "masked"])
def test_a_beginning_of_a_word_is_known_by_what_the_model_expects_after_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from engine.compute.word_choice import begun

    base = (models.tiny_decoder if kind == "decoder" else models.tiny_masked_encoder)(tmp_path / "base")
    job = open_job(runs.folder(tmp_path / "run", spec_of(base)), lambda text: None, to_train=False)
    vocabulary = job.tokens.vocabulary
    *some, goes_on = [id for text, id in vocabulary.items() if text.isalpha() and text.isascii()][:4]
    seen: list[Any] = []

    def expecting(token: int) -> Any:
        """What a model says that expects this token everywhere."""

        def ask(ids: torch.Tensor, mask: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
            seen.append((ids, places))
            return torch.full((len(ids), 1, job.facts.vocabulary), -50.0).index_fill(2, torch.tensor([token]), 50.0)

        return SimpleNamespace(asking=lambda model, inputs: ask)

    model = torch.nn.Linear(1, 1)
    for expected, found in ((goes_on, set(some)), (job.tokens.eos_id or job.tokens.mask_id, set())):
        monkeypatch.setattr(type(job.objective), "losses_of", lambda self, job, to=expected: expecting(to))
        assert begun(job, model, some) == found
    ids, places = seen[0]
    read = [row[place] for row, (place,) in zip(ids.tolist(), places.tolist(), strict=True)]
    assert read == (some if kind == "decoder" else [job.tokens.mask_id] * 3)
