"""What objectives that learn answers have in common: answers alone are learned, and held-out rows are answered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.data.example import Example
from engine.judging.scores import ScoredRow, Scores
from engine.methods.causal_objective import CausalObjective
from engine.methods.job import Job, Report
from engine.specs.sections import Evaluate
from engine.texts.tokens import Encoded, Tokens

if TYPE_CHECKING:
    from torch import nn

MOST_OPTIONS = 100
"""More possible answers than this make no sensible list in a prompt."""


ENCODE = '''
def encode(example):
    """Token ids, and labels with -100 everywhere but in the answers; of a text without any, all are learned."""
    if "messages" not in example:
        ids = tokenizer(example["text"], truncation=True, max_length=MAX_TOKENS)["input_ids"]
        return {"ids": ids, "labels": [-100, *ids[1:]]}
    messages, tools = example["messages"], example.get("tools")
    if "{% generation %}" in tokenizer.chat_template:
        out = tokenizer.apply_chat_template(messages, tools=tools, return_dict=True, return_assistant_tokens_mask=True)
        ids, learned = out["input_ids"], out["assistant_masks"]
    else:
        render = lambda upto, ask: tokenizer.apply_chat_template(
            messages[:upto], tools=tools, tokenize=False, add_generation_prompt=ask
        )
        answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        spans = [(len(render(i, True)), len(render(i + 1, False).rstrip("\\n"))) for i in answers]
        out = tokenizer(render(len(messages), False), add_special_tokens=False, return_offsets_mapping=True)
        ids = out["input_ids"]
        learned = [any(a < end and start < b for start, end in spans) for a, b in out["offset_mapping"]]
    labels = [token if flag else -100 for token, flag in zip(ids, learned)]
    return {"ids": ids[:MAX_TOKENS], "labels": labels[:MAX_TOKENS]}
'''


class AnswerObjective(CausalObjective):
    wants = "messages"
    answers_to_score = True
    main_metric = "exact_match"

    def encode(self, example: Example, tokens: Tokens, settings: Any, max_tokens: int) -> Encoded:
        if not example.messages:  # text that is read beside answers, every token but the first learned
            encoded = tokens.encode_text(example.text, max_tokens)
            return Encoded(encoded.ids, [place > 0 for place in range(len(encoded.ids))], encoded.full_length)
        return tokens.encode_chat(example.messages, max_tokens, tools=example.tools)

    def answerable(self, example: Example) -> bool:
        return bool(example.messages)

    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        labels = [token if learned else -100 for token, learned in zip(encoded.ids, encoded.learned, strict=True)]
        from engine.compute import tasks

        return {"input_ids": encoded.ids, "labels": labels, **tasks.noted(job, example)}

    def sample(self, job: Job, model: nn.Module, example: Example) -> str | None:
        from engine.compute.language import answers

        prompt = job.tokens.encode_prompt(example.prompt, tools=example.tools)
        return answers(job, model, [prompt], most_tokens=48, of_tasks=[example.source])[0]

    def score(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
        from engine.compute.language import row_losses

        prompts = [job.tokens.encode_prompt(row.prompt, tools=row.tools) for row in rows]
        scored = self._answered(job, model, rows, prompts, report)
        # The loss of the expected answers, whatever it is that is learned.
        losses = row_losses(job, model, rows, CausalObjective.losses(self, job))
        found = [
            ScoredRow(item.row, item.prompt, item.expected, item.answer, item.score, loss)
            for item, loss in zip(scored, losses.mean, strict=True)
        ]
        made = self._scores(job, rows, found, {"loss": losses.overall})
        return replace(made, tokens_per_second=losses.tokens_per_second)

    def baselines(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> dict[str, Scores]:
        """The base model with the possible answers listed in its prompt, where the data has few."""
        if not self.baseline_count(job.evaluation, job.examples["train"]):
            return {}
        options = sorted({row.answer.strip() for row in job.examples["train"] if row.messages})
        listed = "Answer with exactly one of these, and nothing else:\n" + "\n".join(options)
        prompts = []
        for row in rows:
            messages = [message for message in row.prompt if message["role"] != "system"]
            system = "\n\n".join([m["content"] for m in row.prompt if m["role"] == "system"] + [listed])
            prompts.append(job.tokens.encode_prompt([{"role": "system", "content": system}, *messages]))
        answered = self._answered(job, model, rows, prompts, report)
        return {"options in prompt": self._scores(job, rows, answered, {})}

    def baseline_count(self, evaluation: Evaluate, train: list[Example]) -> int:
        answered = [row.answer.strip() for row in train if row.messages]
        options = set(answered)
        few = bool(options) and len(options) <= MOST_OPTIONS and len(options) * 4 <= len(answered)
        sensible = few and max(map(len, options), default=0) <= 80
        return int(evaluation.options_in_prompt == "on" or (evaluation.options_in_prompt == "auto" and sensible))

    def _answered(
        self, job: Job, model: nn.Module, rows: list[Example], prompts: list[list[int]], report: Report
    ) -> list[ScoredRow]:
        from engine.compute.language import answers

        longest = max(len(job.tokens.encode_text(row.answer, 1_000_000).ids) for row in rows)
        most = min(longest + longest // 2 + 4, 512)
        given = answers(job, model, prompts, most, [row.source for row in rows], report)
        return [
            ScoredRow(row.row, _last_question(row), row.answer, answer, float(answer.strip() == row.answer.strip()))
            for row, answer in zip(rows, given, strict=True)
        ]

    def _scores(self, job: Job, rows: list[Example], scored: list[ScoredRow], further: dict[str, float]) -> Scores:
        from engine.compute import tasks
        from engine.compute.score import interval, word_overlap

        exact = [row.score for row in scored]
        overlap = [word_overlap(row.answer, row.expected) for row in scored]
        metrics = {**interval("exact_match", exact), **interval("word_f1", overlap), **further}
        metrics |= tasks.scores(job, rows, exact, "exact_match")
        return Scores(self.main_metric, metrics, scored)


def _last_question(example: Example) -> str:
    return next((str(m["content"]) for m in reversed(example.prompt) if m["role"] == "user"), "")
