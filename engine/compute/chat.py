"""The child that answers for one run: loads its model at the first question and keeps it until nobody asks.

Run by `engine.chat` as `python -m engine.compute.chat`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from engine.children import Record, serve
from engine.compute.precision import autocast
from engine.compute.result import open_result
from engine.compute.tasks import tell
from engine.data.example import Example
from engine.errors import DataError, MachineError, RunError
from engine.methods.job import Job
from engine.texts.tokens import TextStream

Opener = Callable[[Path, bool], tuple[Job, nn.Module]]


class Talk:
    """Answers requests from one model; `opener` loads it."""

    def __init__(self, opener: Opener = open_result) -> None:
        self._opener = opener
        self._opened: tuple[Job, nn.Module] | None = None

    def handle(self, request: Record, send: Callable[[Any], None], cancelled: Callable[[], bool]) -> None:
        """Send the answer's text piece by piece; of a classifier all labels with their chances at once."""
        if self._opened is None:
            job, model = self._opener(Path(request["run_folder"]), request["base"])
            torch.set_num_threads(job.plan.threads)
            self._opened = job, model.eval()
        job, model = self._opened
        task = int(request.get("task", 0))
        tell(job, model, [task])
        if "text" in request:
            if "class scores" not in job.objective.gives:
                raise RunError(f"Run {job.folder.name} answers; it chooses no labels.", "Talk to it.")
            before, second = str(request.get("before", "")), str(request.get("second", ""))
            asked = Example(1, source=task, text=str(request["text"]), second=second, before=before)
            marks = job.objective.marks_words(job.objective_settings)
            return send(job.objective.marks(job, model, asked) if marks else job.objective.chances(job, model, asked))
        if "answers" not in job.objective.gives:
            does = "chooses labels" if "class scores" in job.objective.gives else "guesses hidden words"
            raise RunError(
                f"Run {job.folder.name} {does}; it can't chat.",
                "Chat with a run that learned to answer.",
            )
        prompt = job.tokens.encode_prompt(request["messages"])
        most = job.facts.context - job.tuner.virtual_tokens(job.tuner_settings)
        room = most - len(prompt)
        if room < 1:
            raise DataError(
                f"The conversation has {len(prompt)} tokens; this model reads at most {most}.",
                "Start a new conversation, or shorten the message.",
            )
        if cancelled():
            return
        config = _generation(job, min(request["max_new_tokens"], room), request["temperature"])
        _generate(job, model, prompt, config, _Streamer(job, send, cancelled))


def _generation(job: Job, max_new_tokens: int, temperature: float) -> GenerationConfig:
    drawn: dict[str, Any] = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(job.tokens.stop_ids) or None,
        pad_token_id=job.tokens.pad_id,
        bos_token_id=job.tokens.bos_id,
        **drawn,
    )


def _generate(job: Job, model: nn.Module, prompt: list[int], config: GenerationConfig, streamer: _Streamer) -> None:
    ids = torch.tensor([prompt], device=next(model.parameters()).device)
    try:
        with torch.inference_mode(), autocast(job.plan):
            model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=config,
                streamer=streamer,
                stopping_criteria=StoppingCriteriaList([streamer]),
            )
    except torch.OutOfMemoryError:
        raise MachineError(
            "The graphics card has too little memory left for this conversation.",
            "Start a new conversation, or wait until the running training has finished.",
        ) from None


class _Streamer(StoppingCriteria):
    """Sends text as tokens come, and stops the generation once nobody waits for it."""

    def __init__(self, job: Job, send: Callable[[Any], None], cancelled: Callable[[], bool]) -> None:
        self._stream = TextStream(job.tokens)
        self._stops = job.tokens.stop_ids
        self._send = send
        self._cancelled = cancelled
        self._saw_prompt = False

    def put(self, ids: torch.Tensor) -> None:
        """ids: first the whole prompt, (1, tokens), then each new token, (1,)."""
        if self._saw_prompt and not self._cancelled():
            for token in ids.flatten().tolist():
                self._say("" if token in self._stops else self._stream.push(token))
        self._saw_prompt = True

    def end(self) -> None:
        self._say(self._stream.flush())

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        """Whether each row, (1,), is done."""
        return torch.full((input_ids.shape[0],), self._cancelled(), dtype=torch.bool, device=input_ids.device)

    def _say(self, text: str) -> None:
        if text and not self._cancelled():
            self._send(text)


if __name__ == "__main__":
    serve(Talk().handle)
