"""Puts `{% generation %}` markers into chat templates that lack them, so that other trainers learn the same tokens.

Only for templates that write a whole turn in one expression, as ChatML's do:

    {{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}

The result is kept only if trial conversations prove that text and learned spans are those of the original.
"""

from __future__ import annotations

import ast
import re
from typing import Any

import jinja2

from engine.errors import UserError
from engine.texts.templates import ChatTemplate, Message

Piece = tuple[str, str]
"""Kind and source text of a piece of a template, as Jinja's lexer tells them."""

_CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
_TOOL: Message = {"role": "tool", "content": "rain"}
_TURNS: list[Message] = [
    {"role": "user", "content": "What is two and two?"},
    {"role": "assistant", "content": "It is four."},
    {"role": "user", "content": "And three more?\nTell me."},
    {"role": "assistant", "content": "That makes seven.\n\nAnything else?"},
]
_TRIALS: list[list[Message]] = [
    _TURNS[:2],
    _TURNS,
    [{"role": "system", "content": "Be brief."}, *_TURNS],
    [{**_TURNS[0]}, {**_TURNS[1], "reasoning_content": "Two twos."}, *_TURNS[2:]],
    [_TURNS[0], {"role": "assistant", "content": "", "tool_calls": [_CALL]}, _TOOL, _TURNS[3]],
    [{**_TURNS[0], "content": "  spaces  "}, {**_TURNS[1], "content": "  spaces \n"}],
]


def with_markers(template: ChatTemplate) -> str | None:
    """The source of an equal template with markers, or None where that can't be proven."""
    if template.has_markers or template.end_of_turn is None:
        return None
    marked = _marked(template.source, template.end_of_turn, template.variables.get("eos_token"))
    if marked is None:
        return None
    try:
        candidate = ChatTemplate(marked, template.variables, template.specials)
        proven = [_equal(template, candidate, trial) for trial in _TRIALS]
    except UserError:
        return None
    return marked if proven[0] is True and all(result is not False for result in proven) else None


def _equal(template: ChatTemplate, candidate: ChatTemplate, trial: list[Message]) -> bool | None:
    """None where the template refuses the trial."""
    try:
        expected = template.answers_by_prefixes(trial)
    except UserError:
        return None
    questions = trial[:-1]
    same_prompt = candidate.render(questions, add_generation_prompt=True) == template.render(
        questions, add_generation_prompt=True
    )
    return candidate.answers(trial) == expected and same_prompt


def _marked(source: str, end_of_turn: str, eos_token: Any) -> str | None:
    loop = re.search(r"for\s+(\w+)\s+in\s+\w*messages", source)
    if loop is None:
        return None
    try:
        pieces = [(kind, text) for _, kind, text in _lexer().lex(source)]
    except jinja2.TemplateSyntaxError:
        return None
    written: list[str] = []
    found = False
    index = 0
    while index < len(pieces):
        kind, text = pieces[index]
        if kind != "variable_begin":
            written.append(text)
            index += 1
            continue
        end = next(place for place in range(index, len(pieces)) if pieces[place][0] == "variable_end")
        original = "".join(piece[1] for piece in pieces[index : end + 1])
        split = _split(pieces[index + 1 : end], end_of_turn, eos_token)
        if split is None:
            written.append(original)
        else:
            found = True
            written.append(_branch(loop.group(1), original, split, pieces[index][1], pieces[end][1]))
        index = end + 1
    return "".join(written) if found else None


def _lexer() -> jinja2.Environment:
    return jinja2.Environment(trim_blocks=True, lstrip_blocks=True)


def _split(pieces: list[Piece], end_of_turn: str, eos_token: Any) -> tuple[str, str, str] | None:
    """The expression cut into what stands before the content, content with end-of-turn mark, and what follows."""
    operands = _operands(pieces)
    if operands is None:
        return None
    content = next((n for n, operand in enumerate(operands) if _reads_content(operand)), None)
    if content is None:
        return None
    for place in range(content + 1, len(operands)):
        rest = _rest_after_mark(operands[place], end_of_turn, eos_token)
        if rest is not None:
            learned = " + ".join([*map(_source, operands[content:place]), _literal(end_of_turn)])
            after = [_literal(rest)] if rest else []
            return (
                " + ".join(map(_source, operands[:content])),
                learned,
                " + ".join([*after, *map(_source, operands[place + 1 :])]),
            )
    return None


def _operands(pieces: list[Piece]) -> list[list[Piece]] | None:
    """Cut at each `+` or `~` outside of brackets. None where the expression is more than such a sum."""
    operands: list[list[Piece]] = [[]]
    depth = 0
    for kind, text in pieces:
        if kind == "operator" and text in "([{":
            depth += 1
        elif kind == "operator" and text in ")]}":
            depth -= 1
        if depth == 0 and kind == "name" and text in ("if", "else", "and", "or", "not", "in", "is"):
            return None
        if depth == 0 and kind == "operator" and text in "+~":
            operands.append([])
        else:
            operands[-1].append((kind, text))
    return operands


def _reads_content(operand: list[Piece]) -> bool:
    return any(text.strip("\"'") == "content" for kind, text in operand if kind in ("name", "string"))


def _rest_after_mark(operand: list[Piece], end_of_turn: str, eos_token: Any) -> str | None:
    """What an operand writes after the end-of-turn mark that it begins with; None if it doesn't."""
    solid = [piece for piece in operand if piece[0] != "whitespace"]
    if len(solid) != 1:
        return None
    kind, text = solid[0]
    if kind == "name" and text == "eos_token" and eos_token == end_of_turn:
        return ""
    if kind != "string":
        return None
    value = _value(text)
    return value[len(end_of_turn) :] if value is not None and value.startswith(end_of_turn) else None


def _value(literal: str) -> str | None:
    try:
        return str(ast.literal_eval(literal.replace("\r", "\\r").replace("\n", "\\n")))
    except (ValueError, SyntaxError):
        return None


def _branch(message: str, original: str, split: tuple[str, str, str], begin: str, end: str) -> str:
    """The turn with markers if it is the model's, else as it was."""
    head, learned, tail = split
    # Empty expressions at both ends keep Jinja from trimming white space around the new block tags.
    return (
        f"{begin} '' }}}}{{% if {message}['role'] == 'assistant' %}}"
        + (f"{{{{ {head} }}}}" if head else "")
        + f"{{% generation %}}{{{{ {learned} }}}}{{% endgeneration %}}"
        + (f"{{{{ {tail} }}}}" if tail else "")
        + f"{{% else %}}{_undashed(original, begin, end)}{{% endif %}}{{{{ '' {end}"
    )


def _undashed(original: str, begin: str, end: str) -> str:
    return "{{" + original[len(begin) : len(original) - len(end)] + "}}"


def _source(operand: list[Piece]) -> str:
    return "".join(text for _, text in operand).strip()


def _literal(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"
