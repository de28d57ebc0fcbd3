"""Labels scored by their words: by hand, against whole models, over several templates."""

from __future__ import annotations

import json
from math import log
from pathlib import Path
from typing import Any

import pytest

from engine.data.example import Example
from engine.errors import ModelError, RunError
from engine.planning.jobs import open_job
from engine.specs.spec import RunSpec
from tests.fakes import models, runs

MODELS = {
    "decoder": models.tiny_decoder,
    "biased-decoder": models.tiny_biased_decoder,
    "masked-encoder": models.tiny_masked_encoder,
}
WORDS = "card arrival = card\nexchange rate = rate of x\ntransfer fee = the fee"
ROWS = [Example(1, text="Where?", label="card arrival"), Example(2, text="Is the rate good?", label="exchange rate")]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("tiny")
    return {name: make(place / name) for name, make in MODELS.items()}


def job_of(place: Path, model: Path, **settings: Any) -> Any:
    record = runs.spec(model, "cloze", "lora").as_dict()
    spec = RunSpec.parse({**record, "objective": {"name": "cloze", "label_words": WORDS, **settings}})
    return open_job(runs.folder(place / "run", spec), lambda text: None)


@pytest.mark.parametrize("normalised", [True, False])
def test_a_word_of_several_tokens_scores_the_mean_or_the_sum_of_their_log_probabilities(normalised: bool) -> None:
    import torch

    from engine.compute.label_scores import label_scores
    from engine.texts.label_words import slot

    # What comes next, by the token before: after 0 as in the first line, after 2 all alike.
    chances = torch.tensor([[0.1, 0.2, 0.5, 0.2], [0.7, 0.1, 0.1, 0.1], [0.25] * 4, [0.4, 0.2, 0.2, 0.2]])
    asked: list[Any] = []

    def ask(ids: Any, mask: Any, places: Any) -> Any:
        asked.append(ids.tolist())
        return chances.log()[ids.gather(1, places)]

    rows = {
        "ids": torch.tensor([[0, 3], [1, 0]]),
        "mask": torch.tensor([[1, 0], [1, 1]]),
        "slots": torch.tensor([1, 2]),
    }
    words = slot([(1,), (2, 3)], None)
    found = label_scores(ask, rows, (words.fillings, words.targets), normalised)
    assert asked == [[[0, 2, 3], [1, 0, 2]]]
    both = [log(0.2), (log(0.5) + log(0.25)) / (2 if normalised else 1)]
    torch.testing.assert_close(found, torch.tensor([both, both]))


@pytest.mark.parametrize("kind", MODELS)
def test_losses_are_those_of_the_whole_model_asked_label_by_label(
    kind: str, tiny: dict[str, Path], tmp_path: Path
) -> None:
    import torch
    import transformers

    job = job_of(tmp_path, tiny[kind])
    objective, masked = job.objective, kind == "masked-encoder"
    made = [objective.encode(row, job.tokens, job.objective_settings, 64) for row in ROWS]
    batch = objective.batch(job, [objective.row(job, e, c) for e, c in zip(ROWS, made, strict=True)])
    losses, _ = objective.losses(job)(objective.load(job), batch)

    loader = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
    model = loader.from_pretrained(tiny[kind]).eval()
    expected = []
    for row in ROWS:
        scores = []
        for label in job.labels:
            encoded = objective.encode(
                Example(row.row, text=row.text, label=label), job.tokens, job.objective_settings, 64
            )
            ids = torch.tensor([encoded.ids])
            word = torch.tensor([encoded.learned]).nonzero()[:, 1]
            asked = torch.where(torch.tensor([encoded.learned]), job.tokens.mask_id, ids) if masked else ids
            logs = model(input_ids=asked).logits[0, word if masked else word - 1].log_softmax(-1)
            scores.append(logs.gather(1, ids[0, word][:, None]).mean())
        expected.append(-torch.stack(scores).log_softmax(-1)[job.labels.index(row.label)])
    torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["decoder", "masked-encoder"])
def test_gradients_of_several_readings_are_those_of_all_at_once(
    kind: str, tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from engine.compute import label_scores, together
    from engine.texts import label_words

    monkeypatch.setattr(label_words, "BESIDE", 1)
    job = job_of(tmp_path, tiny[kind])
    made = [job.objective.encode(row, job.tokens, job.objective_settings, 64) for row in ROWS]
    batch = job.objective.batch(job, [job.objective.row(job, e, c) for e, c in zip(ROWS, made, strict=True)])
    model = job.objective.load(job).requires_grad_(True)
    seen = []
    for again in (True, False):
        if not again:
            for module in (label_scores, together):
                monkeypatch.setattr(module, "checkpoint", lambda call, *given, use_reentrant: call(*given))
        model.zero_grad()
        job.objective.losses(job)(model, batch)[0].sum().backward()
        seen.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert seen[0].keys() == seen[1].keys() and any(float(grad.abs().max()) > 0 for grad in seen[1].values())
    for name, grad in seen[1].items():
        torch.testing.assert_close(seen[0][name], grad)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("tuner", ["lora", "prompt", "prefix"])
@pytest.mark.parametrize("kind", ["decoder", "biased-decoder"])
def test_words_beside_a_row_score_and_learn_as_they_do_one_by_one(
    kind: str, tuner: str, attention: str, tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from engine.compute import together
    from engine.compute.model import apply_tuner

    job = job_of(tmp_path, tiny[kind])
    record = {**runs.spec(tiny[kind], "cloze", tuner).as_dict(), "objective": {"name": "cloze", "label_words": WORDS}}
    job = open_job(runs.folder(tmp_path / "tuned", RunSpec.parse(record)), lambda text: None)
    made = [job.objective.encode(row, job.tokens, job.objective_settings, 64) for row in ROWS]
    batch = job.objective.batch(job, [job.objective.row(job, e, c) for e, c in zip(ROWS, made, strict=True)])
    assert len(set(batch["slots"].tolist())) > 1
    model = apply_tuner(job, job.objective.load(job)).eval()
    if attention == "eager" and tuner != "prefix":  # which brings attention of its own
        model.set_attn_implementation("eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(len(name)))
    asked: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda module, given, out: asked.append(given[0].shape[1]))
    seen = []
    for beside in (True, False):
        losses = job.objective.losses_of(job)
        losses.scores(model, batch)  # finds out what the model can
        assert losses._together is True
        losses._together = beside
        model.zero_grad()
        asked.clear()
        found = losses.scores(model, batch)
        assert len(asked) == (1 if beside else 2)
        found.pow(2).sum().backward()
        grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        seen.append((found.detach(), grads))
    torch.testing.assert_close(seen[0][0], seen[1][0], rtol=1e-4, atol=1e-4)
    assert seen[0][1].keys() == seen[1][1].keys()
    for name, grad in seen[1][1].items():
        torch.testing.assert_close(seen[0][1][name], grad, rtol=1e-3, atol=1e-3)

    # A model that looks at all there is says something else of words beside each other, and is asked one by one.
    monkeypatch.setattr(together, "seen", lambda slots, length, fillings: seen_by_all(slots, length, fillings))
    losses = job.objective.losses_of(job)
    losses.scores(model, batch)
    assert losses._together is False


def seen_by_all(slots: Any, length: int, fillings: Any) -> Any:
    import torch

    size = length + sum(map(len, fillings))
    return torch.ones(size, size).tril().bool().expand(len(slots), 1, size, size)


def test_words_too_many_for_one_sequence_are_read_in_several() -> None:
    from engine.texts.label_words import BESIDE, beside, grouped

    many = [(n,) * 7 for n in range(20)]
    groups = grouped(many)
    assert [number for group in groups for number in group] == list(range(20))
    assert all(sum(len(many[n]) for n in group) <= BESIDE for group in groups) and len(groups) == 3
    assert beside(many) == 63 and beside(many[:1]) == 0
    assert grouped([(1,) * 100, (2,)]) == [[0], [1]]


def scored(place: Path, model: Path, template: str) -> Any:
    job = job_of(place, model, template=template)
    return job, job.objective.load(job)


@pytest.mark.parametrize("kind", ["decoder", "masked-encoder"])
def test_several_templates_judge_by_the_mean_of_their_log_chances(
    kind: str, tiny: dict[str, Path], tmp_path: Path
) -> None:
    import torch

    one, two = "{text} A {label}", "B: {text} is {label}."
    found = []
    for number, template in enumerate((one, two, f"{one}\n---\n{two}")):
        job, model = scored(tmp_path / str(number), tiny[kind], template)
        chances = dict(job.objective.chances(job, model, Example(1, text="Where is my card?")))
        found.append(torch.tensor([chances[label] for label in job.labels]))
    expected = (0.5 * (found[0].log() + found[1].log())).softmax(-1)
    torch.testing.assert_close(found[2], expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found[0], found[1])


def test_a_row_is_scored_with_its_likeliest_label_and_the_loss_of_the_right_one(
    tiny: dict[str, Path], tmp_path: Path
) -> None:
    job, model = scored(tmp_path, tiny["decoder"], "{text}\nCategory: {label}")
    rows = [*ROWS, Example(3, text="Where?", label="never seen")]
    scores = job.objective.score(job, model, rows, lambda done, total: None)
    for row, found in zip(rows, scores.rows, strict=True):
        chances = job.objective.chances(job, model, row)
        assert found.answer == chances[0][0] and abs(sum(chance for _, chance in chances) - 1) < 1e-5
        likely = dict(chances).get(row.label, chances[-1][1])
        assert found.loss == pytest.approx(-log(likely), abs=1e-4) and found.score == float(found.answer == row.label)
    assert scores.main == "accuracy" and {"accuracy_low", "macro_f1", "loss"} <= scores.metrics.keys()


@pytest.mark.parametrize("kind", ["decoder", "masked-encoder"])
def test_the_result_says_by_which_words_and_templates_it_judges(
    kind: str, tiny: dict[str, Path], tmp_path: Path
) -> None:
    from engine.compute.model import apply_tuner
    from engine.compute.result import save_result

    job = job_of(tmp_path, tiny[kind], template="{text} is {label}.")
    folder = save_result(job, apply_tuner(job, job.objective.load(job)))
    about = json.loads((folder / "cloze.json").read_text(encoding="utf-8"))
    assert about["labels"] == job.labels and about["words"] == ["card", "rate of x", "the fee"]
    assert about["templates"] == [["{text} is", "." if kind == "masked-encoder" else ""]]
    assert (folder / "language_head.safetensors").exists() is (kind == "masked-encoder")


@pytest.mark.parametrize(
    ("kind", "tuner", "form"),
    [
        ("decoder", "lora", "adapter"),
        ("decoder", "full", "whole"),
        ("masked-encoder", "lora", "adapter"),
        ("masked-encoder", "full", "whole"),
    ],
)
def test_the_cards_code_judges_as_the_run_does(
    kind: str, tuner: str, form: Any, tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    import torch

    from engine.compute.result import open_result, save_result
    from engine.scripts import snippets
    from tests import test_matrix

    record = runs.spec(tiny[kind], "cloze", tuner).as_dict()
    objective = {"name": "cloze", "label_words": WORDS, "template": "{text} A {label}\n---\nB: {text} is {label}."}
    trainer = test_matrix.trained(runs.folder(tmp_path / "run", RunSpec.parse({**record, "objective": objective})))
    folder = save_result(trainer.job, trainer.model)
    job, model = open_result(trainer.job.folder)
    ours = dict(job.objective.chances(job, model, Example(1, text="Where is my card?")))
    source = snippets.Source(str(folder), form, str(tiny[kind]), on_hub=False)
    code = snippets.cloze(source, json.loads((folder / "cloze.json").read_text(encoding="utf-8")))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repo, name: str(Path(repo) / name))
    found: dict[str, Any] = {"__name__": "card"}
    exec(f"{code.load}\n{code.ask}".replace("Write a text here.", "Where is my card?"), found)
    theirs = torch.softmax(found["total"][0] / 2, -1)
    torch.testing.assert_close(theirs, torch.tensor([ours[label] for label in job.labels]), rtol=1e-4, atol=1e-6)


def test_a_head_that_is_not_whole_is_no_head(tiny: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny["masked-encoder"], tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["cls.predictions.transform.LayerNorm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    job = job_of(tmp_path, folder)
    with pytest.raises(ModelError, match="lacks a part of its masked-language head"):
        job.objective.load(job)


def test_a_run_that_fills_a_slot_says_labels_and_does_not_chat(tiny: dict[str, Path], tmp_path: Path) -> None:
    from engine.compute.chat import Talk
    from engine.compute.result import open_result

    job = job_of(tmp_path, tiny["decoder"])
    talk, sent = Talk(lambda place, _: open_result(place, True)), []
    request = {"run_folder": str(job.folder), "base": False}
    talk.handle({**request, "text": "Where is my card?"}, sent.append, lambda: False)
    assert {label for label, _ in sent[0]} == set(job.labels)
    with pytest.raises(RunError, match="can't chat"):
        talk.handle({**request, "messages": []}, sent.append, lambda: False)
