"""A model's chat template (Jinja): conversations in, text out, and which of its characters are answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jinja2

from engine.errors import DataError, ModelError, UserError
from engine.texts.sandbox import CLOSE, OPEN, Refusal, compiled

Message = Mapping[str, Any]
Tools = list[dict[str, Any]] | None
Span = tuple[int, int]

_HAS_MARKERS = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
_REASONING = ("reasoning_content", "thinking", "reasoning")
_ANSWER = "Certainly."
_PROBE: list[Message] = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": _ANSWER}]

PLAIN = """\
{%- if tools %}{{ raise_exception('the plain chat template has no form for tools') }}{% endif %}
{%- for message in messages %}
{%- if message['tool_calls'] %}{{ raise_exception('the plain chat template has no form for tools') }}{% endif %}
{%- if message['role'] == 'assistant' %}
{{- 'Assistant:' }}{% generation %}{{ ' ' + message['content'] + eos_token }}{% endgeneration %}{{ '\\n' }}
{%- elif message['role'] == 'system' %}
{{- message['content'] + '\\n\\n' }}
{%- else %}
{{- message['role'] | capitalize + ': ' + message['content'] + '\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""
"""For base models, which have no template of their own: 'User: …' and 'Assistant: …' lines. Needs an eos_token."""

CHATML = """\
{%- if tools %}{{ raise_exception('the plain chat template has no form for tools') }}{% endif %}
{%- for message in messages %}
{%- if message['tool_calls'] %}{{ raise_exception('the plain chat template has no form for tools') }}{% endif %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' %}
{%- generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}
{%- else %}
{{- message['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
"""For base models that know the tokens of ChatML."""


@dataclass(frozen=True)
class Rendered:
    """`answers` are the spans of characters that a model learns: what it says, and the mark that ends its turn."""

    text: str
    answers: list[Span]


class ChatTemplate:
    """source: Jinja. variables: what templates expect besides messages (bos_token, eos_token …).

    specials: the tokenizer's added tokens, in whose midst the mark that ends a turn is looked for.
    """

    def __init__(self, source: str, variables: Mapping[str, Any], specials: Sequence[str]) -> None:
        self.source = source
        self.variables = dict(variables)
        self.specials = sorted(specials, key=len, reverse=True)

    @property
    def has_markers(self) -> bool:
        """Whether the template itself says what is learned, with `{% generation %}`."""
        return bool(_HAS_MARKERS.search(self.source))

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False, tools: Tools = None) -> str:
        """The conversation as text. Raises DataError where the template refuses it, ModelError where it breaks."""
        return self._run(compiled(self.source, False), messages, add_generation_prompt, tools)

    def answers(self, messages: Sequence[Message], tools: Tools = None) -> Rendered:
        """The conversation with the spans of its answers. Raises as `render`, and ModelError if they can't be told."""
        if self.has_markers:
            marked = self._marked(messages, tools)
            if marked is not None:
                return marked
        return self.answers_by_prefixes(messages, tools)

    def answers_by_prefixes(self, messages: Sequence[Message], tools: Tools = None) -> Rendered:
        """An answer is what comes after the text of the conversation before it, up to its end-of-turn mark."""
        text = self.render(messages, tools=tools)
        spans: list[Span] = []
        for index, message in enumerate(messages):
            if message.get("role") != "assistant":
                continue
            begin = self._begin(text, messages[: index + 1], tools, spans[-1][1] if spans else 0)
            spans.append((begin, self._end(text, messages[: index + 1], tools, begin, index + 1 == len(messages))))
        return Rendered(text, spans)

    @cached_property
    def end_of_turn(self) -> str | None:
        """The token that closes an answer ("<|im_end|>"), or None if the template sets none."""
        try:
            text = self.render(_PROBE)
        except UserError:
            return None
        place = text.rfind(_ANSWER)
        after = text[place + len(_ANSWER) :].lstrip() if place >= 0 else ""
        return next((token for token in self.specials if after.startswith(token)), None)

    @cached_property
    def opening(self) -> tuple[str, str]:
        """What stands before an answer when the model is asked for one, and how much of it in a stored conversation."""
        try:
            question, stored = self.render(_PROBE[:1]), self.render(_PROBE)
            asked = self.render(_PROBE[:1], add_generation_prompt=True)
        except UserError:
            return "", ""
        if not (asked.startswith(question) and stored.startswith(question)):
            return "", ""
        shared = _common_prefix(asked[len(question) :], stored[len(question) :])
        return asked[len(question) :], shared

    def _marked(self, messages: Sequence[Message], tools: Tools) -> Rendered | None:
        """By `{% generation %}` blocks. None where marking them changes the text (a filter around a block)."""
        marked = self._run(compiled(self.source, True), messages, False, tools)
        text, spans, begin = [], [], 0
        length = 0
        for part in re.split(f"([{OPEN}{CLOSE}])", marked):
            if part == OPEN:
                begin = length
            elif part == CLOSE:
                spans.append((begin, length))
            else:
                text.append(part)
                length += len(part)
        rendered = Rendered("".join(text), [span for span in spans if span[1] > span[0]])
        return rendered if rendered.text == self.render(messages, tools=tools) else None

    def _begin(self, text: str, turn: Sequence[Message], tools: Tools, after: int) -> int:
        """Where the last message of `turn` starts in `text`."""
        try:
            prompt = self.render(turn[:-1], add_generation_prompt=True, tools=tools)
        except UserError:  # Many templates refuse a conversation without a question.
            prompt = None
        if prompt is not None and text.startswith(prompt):
            return len(prompt)
        _, shared = self.opening
        content = re.escape(_content(turn[-1]))
        found = re.compile(re.escape(shared) + r"(?=\s*" + content + ")").search(text, after) if shared else None
        if found is None:
            raise _untold(len(turn))
        return found.end()

    def _end(self, text: str, turn: Sequence[Message], tools: Tools, begin: int, is_last: bool) -> int:
        """Where the last message of `turn` ends in `text`, its end-of-turn mark included, a newline after it not."""
        until = text if is_last else self.render(turn, tools=tools)
        if text.startswith(until) and len(until) > begin:
            return max(begin, len(until.rstrip("\n")))
        # Some templates write an answer differently once something follows it (Qwen3 drops its thoughts).
        content, mark = _content(turn[-1]), self.end_of_turn
        if mark is None:
            raise _untold(len(turn))
        place = text.find(content, begin) + len(content) if mark in content else begin
        end = text.find(mark, place)
        if end < 0:
            raise _untold(len(turn))
        return end + len(mark)

    def _run(
        self,
        template: jinja2.Template,
        messages: Sequence[Message],
        add_generation_prompt: bool,
        tools: Tools,
    ) -> str:
        try:
            return template.render(
                messages=[_normal(message) for message in messages],
                tools=tools,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self.variables,
            )
        except Refusal as refusal:
            raise self._refused(messages, tools, str(refusal)) from None
        except MemoryError:
            raise
        except jinja2.exceptions.SecurityError as error:
            problem = f"This model's chat template does what templates may not: {error}."
            raise ModelError(problem, "Choose another model.") from None
        except Exception as error:  # A template is a program of its own: whatever it raises is its refusal.
            raise DataError(
                f"This model's chat template can't write the conversation: {type(error).__name__}: {error}.",
                "Check that each message has a role and a content that this model knows.",
            ) from None

    def _refused(self, messages: Sequence[Message], tools: Tools, reason: str) -> DataError:
        others = [message for message in messages if message.get("role") != "system"]
        if others and len(others) < len(messages):
            try:
                self._run(compiled(self.source, False), others, False, tools)
            except UserError:
                pass
            else:
                return DataError(
                    f"This model's chat template takes no system message (it says: {reason}).",
                    "Remove the system message, put its text into the first question, or choose another model.",
                )
        return DataError(
            f"This model's chat template refuses the conversation: {reason}.",
            "Check the order of the roles: most models want user and assistant in turn, beginning with user.",
        )


def _untold(message: int) -> ModelError:
    return ModelError(
        f"This model's chat template rewrites the answer in message {message}: what is learned of it can't be told.",
        "Choose another model, or one whose template marks answers with {% generation %}.",
    )


def _normal(message: Message) -> dict[str, Any]:
    """Without empty keys, and with its reasoning under the names that templates read."""
    kept = {name: value for name, value in message.items() if value is not None}
    reasoning = next((kept[name] for name in _REASONING if name in kept), None)
    return kept if reasoning is None else {"thinking": reasoning, **kept, "reasoning_content": reasoning}


def _content(message: Message) -> str:
    return str(message.get("content") or "").strip()


def _common_prefix(one: str, other: str) -> str:
    while not other.startswith(one):
        one = one[:-1]
    return one
