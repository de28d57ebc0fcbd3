"""Batches, losses and answers of generating models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes import models, runs


@pytest.fixture(scope="module", params=["decoder", "biased", "gpt2"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A job and its untouched model."""
    from engine.planning.jobs import open_job

    make = {"decoder": models.tiny_decoder, "biased": models.tiny_biased_decoder, "gpt2": models.tiny_gpt2}[
        request.param
    ]
    place = tmp_path_factory.mktemp(request.param)
    spec = runs.spec(make(place / "model"), "chat", "lora")
    job = open_job(runs.folder(place / "run", spec), lambda text: None)
    return job, job.objective.load(job)


def rows(job: Any) -> list[dict[str, Any]]:
    return [job.objective.row(job, e, c) for e, c in zip(job.examples["train"], job.encoded["train"], strict=True)]


def test_padding_without_a_mask_changes_no_loss(opened: Any) -> None:
    import torch

    from engine.compute.language import NextTokenLosses, padded

    job, model = opened
    losses = NextTokenLosses()
    with torch.no_grad():
        together, places = losses(model, padded(rows(job), job.tokens.pad_id))
        for number, row in enumerate(rows(job)):
            alone, _ = losses(model, padded([row], job.tokens.pad_id))
            torch.testing.assert_close(together[places == number], alone, rtol=1e-4, atol=1e-5)


def test_rows_joined_in_one_sequence_do_not_see_each_other(opened: Any) -> None:
    import torch

    from engine.compute.language import NextTokenLosses, joined, padded

    job, model = opened
    losses = NextTokenLosses()
    with torch.no_grad():
        apart, places = losses(model, padded(rows(job), job.tokens.pad_id))
        packed, _ = losses(model, joined(rows(job)))
    in_order = torch.cat([apart[places == number] for number in range(len(rows(job)))])
    torch.testing.assert_close(packed, in_order, rtol=1e-4, atol=1e-5)


def test_the_short_way_to_the_loss_equals_the_models_own(opened: Any) -> None:
    import torch

    from engine.compute.language import NextTokenLosses, padded

    job, model = opened
    batch = padded(rows(job), job.tokens.pad_id)
    with torch.no_grad():
        short, _ = NextTokenLosses()(model, batch)
        mask = (
            torch.arange(batch["input_ids"].shape[1]) < torch.tensor([[len(r["input_ids"])] for r in rows(job)])
        ).long()
        own = model(input_ids=batch["input_ids"], attention_mask=mask, labels=batch["labels"]).loss
    assert short.mean().item() == pytest.approx(own.item(), rel=1e-5)


def test_a_model_that_scales_its_logits_is_computed_in_full(opened: Any) -> None:
    import torch

    from engine.compute.language import NextTokenLosses, padded

    job, model = opened
    batch = padded(rows(job), job.tokens.pad_id)
    forward = model.forward

    def scaled(*arguments: Any, **keywords: Any) -> Any:
        out = forward(*arguments, **keywords)
        out.logits = out.logits * 0.5
        return out

    model.forward = scaled
    try:
        with torch.no_grad():
            found, _ = NextTokenLosses()(model, batch)
            learned = batch["labels"][:, 1:] != -100
            logits = model(input_ids=batch["input_ids"]).logits[:, :-1][learned]
    finally:
        model.forward = forward
    expected = torch.nn.functional.cross_entropy(logits, batch["labels"][:, 1:][learned], reduction="none")
    torch.testing.assert_close(found, expected)


def test_sharing_what_all_prompts_begin_with_changes_no_answer(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.compute import generation, language

    job, model = opened
    system = {"role": "system", "content": "Name the intent."}
    prompts = [job.tokens.encode_prompt([system, *row.prompt]) for row in job.examples["train"]]
    assert generation._common_length(prompts) >= generation.LEAST_SHARED
    shared = language.answers(job, model, prompts, most_tokens=8)
    monkeypatch.setattr(generation, "LEAST_SHARED", 10**6)
    assert language.answers(job, model, prompts, most_tokens=8) == shared


def test_equal_prompts_keep_a_token_of_their_own() -> None:
    from engine.compute.generation import _common_length

    assert _common_length([list(range(30))] * 3) == 29
    assert _common_length([list(range(30))]) == 0
    assert _common_length([[1, 2], [1, 3]]) == 0


def test_answers_end_at_a_stop_token(opened: Any) -> None:
    from engine.compute.generation import until_stop

    assert until_stop([5, 6, 2, 7], {2}) == [5, 6, 2]
    assert until_stop([5, 6], {2}) == [5, 6]


def test_the_loss_of_a_row_does_not_depend_on_its_neighbours(opened: Any) -> None:
    from engine.compute.language import row_losses

    job, model = opened
    every = row_losses(job, model, job.examples["train"])
    one = row_losses(job, model, job.examples["train"][3:4])
    assert every.mean[3] == pytest.approx(one.mean[0], rel=1e-4)


def test_a_result_is_made_of_safetensors_and_nothing_that_can_run(opened: Any, tmp_path: Path) -> None:
    from engine.compute.model import apply_tuner

    job, _ = opened
    tuned = apply_tuner(job, job.objective.load(job))
    job.tuner.save(tuned, tmp_path / "out")
    assert {file.suffix for file in (tmp_path / "out").iterdir()} <= {".safetensors", ".json", ".md"}
