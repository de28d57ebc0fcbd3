"""Turns of a conversation as one shape: {"role", "content"}, checked for order and emptiness."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from engine.data import columns

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter", "customer"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "bot", "model", "ai", "agent"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "function_response", "ipython"), "tool"),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
}
"""What data sets call the speakers. "call" is an assistant's turn that calls a tool."""

EMPTY, ORDER, ROLE = "empty turn", "order", "role"
"""Kinds of problems that a remedy can do something about."""

_USED = {"role", "content", "from", "value", "tool_calls", "tool_call_id", "function_call"}


class BadRow(Exception):
    """Why a row can't be used, and what to do."""

    def __init__(self, problem: str, fix: str, kind: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix
        self.kind = kind


@dataclass
class Seen:
    """What was met on the way and is said once for all rows, with how often."""

    calls: int = 0
    unused: dict[str, int] = field(default_factory=dict)
    open_ended: int = 0
    converted: dict[str, int] = field(default_factory=dict)
    joined: dict[str, int] = field(default_factory=dict)
    first_of: dict[str, int] = field(default_factory=dict)


def read(value: Any, name: str, seen: Seen) -> list[dict[str, Any]]:
    """The turns of a column's value, in one shape. Raises BadRow."""
    items = columns.turns(value)
    if items is None:
        raise BadRow(f'The column "{name}" holds no list of turns.', "Fill it with turns, each with a role and a text.")
    return [_turn(item, number, seen) for number, item in enumerate(items, start=1)]


def check(messages: list[dict[str, Any]], seen: Seen) -> None:
    """Refuse what no chat template can render as meant. Raises BadRow that names the turn."""
    roles = [message["role"] for message in messages]
    if "user" not in roles:
        raise BadRow("The conversation has no turn of a user.", "Add the user's message, or leave the row out.")
    if "assistant" not in roles:
        raise BadRow(
            "The conversation has no answer of the assistant.", "Add the answer to learn, or leave the row out."
        )
    before = "start"
    for number, message in enumerate(messages, start=1):
        role = message["role"]
        if not message["content"].strip():
            raise BadRow(f"Turn {number} ({role}) is empty.", "Fill it, or leave the row out.", EMPTY)
        if role not in _FOLLOWS[before]:
            problem = f"Turn {number} is out of order: {role} after {before}."
            raise BadRow(problem, "Let user and assistant take turns.", ORDER)
        before = role
    if before != "assistant":
        seen.open_ended += 1


_FOLLOWS = {
    "start": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}
"""Which roles may come after which."""


def tools(value: Any, name: str) -> list[dict[str, Any]] | None:
    """Tool descriptions as chat templates take them: [{"type": "function", "function": {...}}]. Raises BadRow."""
    if value is None or value == "" or value == []:
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise BadRow(f'The tools in "{name}" are not valid JSON.', "Mend them, or leave the row out.") from None
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadRow(f'The tools in "{name}" are no list of objects.', "Describe each tool as a JSON object.")
    return [item if "function" in item else {"type": "function", "function": item} for item in value] or None


def _turn(item: Any, number: int, seen: Seen) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise BadRow(f"Turn {number} is no object with a role and a text.", "Write it like the others.")
    given = item.get("role", item.get("from"))
    role = ROLES.get(str(given).strip().casefold()) if given is not None else None
    if role is None:
        told = "has no role" if given is None else f"has the unknown role {given!r}"
        raise BadRow(f"Turn {number} {told}.", "Known roles: system, user, assistant, tool.", ROLE)
    content = _content(item.get("content", item.get("value")), number)
    calls = item.get("tool_calls") or ([item["function_call"]] if isinstance(item.get("function_call"), dict) else [])
    if role == "call":
        role, content = "assistant", _tagged(content)
        seen.calls += 1
    elif calls:
        if not isinstance(calls, list):
            raise BadRow(f"The tool calls of turn {number} are no list.", "Write them as a list of objects.")
        content = "\n".join([content] * bool(content) + [_tagged(_call(call, number)) for call in calls])
        seen.calls += 1
    for key in item.keys() - _USED:
        if item[key] is not None:
            seen.unused[key] = seen.unused.get(key, 0) + 1
    return {"role": role, "content": content}


def _content(value: Any, number: int) -> str:
    """Text, also one that is given in parts."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = [part for part in value if isinstance(part, dict) and part.get("type", "text") == "text"]
        texts = [text for part in parts if isinstance(text := part.get("text"), str)]
        if len(texts) == len(value):
            return "".join(texts)
        raise BadRow(f"Turn {number} holds more than text (pictures or sound).", "Only texts can be learned.")
    raise BadRow(f"The text of turn {number} is {type(value).__name__}, not text.", "Write it in quotes.")


def _tagged(call: str) -> str:
    """A tool call as models are commonly trained to write it (Hermes, Qwen): JSON in tags."""
    return call if "<tool_call>" in call else f"<tool_call>\n{call.strip()}\n</tool_call>" if call.strip() else ""


def _call(call: Any, number: int) -> str:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or "name" not in function:
        raise BadRow(f"A tool call of turn {number} names no function.", "Give it a name and arguments.")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            raise BadRow(f"The arguments of a tool call of turn {number} are not valid JSON.", "Mend them.") from None
    return json.dumps({"name": function["name"], "arguments": arguments}, ensure_ascii=False)
