"""Turns of conversations, edited where they stand: in lists, in JSON text, under `role` or `from`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from engine.data import columns
from engine.data.conversations import ROLES

_FURTHER = {
    **dict.fromkeys(("me", "client", "person", "student", "visitor", "caller", "question", "q"), "user"),
    **dict.fromkeys(("chatbot", "llm", "support", "operator", "tutor", "teacher", "answer", "a"), "assistant"),
    **dict.fromkeys(("assistant_response", "claude", "llama", "mistral", "gemini", "copilot"), "assistant"),
    **dict.fromkeys(("sys", "system_prompt"), "system"),
}
"""Names of speakers that are no usual ones, so that a person has to ask for them to be understood."""


def edited(row: dict[str, Any], names: list[str], edit: Callable[[list[Any]], list[Any]]) -> dict[str, Any]:
    """The row with the turns in its columns `names` edited; turns in JSON text stay JSON text."""
    new = dict(row)
    for name in names:
        value = row.get(name)
        turns = columns.turns(value)
        if turns and isinstance(turns[0], dict):
            changed = edit(turns)
            if changed != turns:
                new[name] = json.dumps(changed, ensure_ascii=False) if isinstance(value, str) else changed
    return new


def in_order(turns: list[Any]) -> list[Any]:
    """Known speakers, taking turns: equal ones joined, and nothing but a system message before the first question."""
    ordered: list[Any] = []
    for turn in turns:
        turn = _with_role(turn)
        role = _role(turn)
        if role == "assistant" and not any(_role(before) == "user" for before in ordered):
            continue
        if ordered and role is not None and role == _role(ordered[-1]) and _joinable(turn) and _joinable(ordered[-1]):
            ordered[-1] = _with_text(ordered[-1], "\n\n".join(filter(None, (_text(ordered[-1]), _text(turn)))))
        else:
            ordered.append(turn)
    return ordered


def without_empty(turns: list[Any]) -> list[Any]:
    """Without turns that say nothing. A question goes with its empty answer; the rest is put in order."""
    kept: list[Any] = []
    for turn in turns:
        if not _empty(turn):
            kept.append(turn)
        elif _role(turn) == "assistant" and kept and _role(kept[-1]) == "user":
            kept.pop()
    return in_order(kept) if len(kept) != len(turns) else turns


def with_answer(row: dict[str, Any], name: str, answer: str) -> dict[str, Any]:
    """The row with another answer in its column: a text, the first of several, or the last turn of the assistant."""
    value = row.get(name)
    turns = columns.turns(value)
    if turns and isinstance(turns[0], dict):
        return edited(row, [name], lambda turns: _answered(turns, answer))
    if isinstance(value, list):
        return {**row, name: [answer, *value[1:]]}
    return {**row, name: answer}


def texts_edited(value: Any, edit: Callable[[str], str]) -> Any:
    """A cell with all texts in it edited, those in turns, lists and JSON text, too."""
    if isinstance(value, str):
        inner = columns.turns(value)
        if inner is None:
            return edit(value)
        changed = texts_edited(inner, edit)
        return value if changed == inner else json.dumps(changed, ensure_ascii=False)
    if isinstance(value, list):
        return [texts_edited(item, edit) for item in value]
    if isinstance(value, dict):
        return {key: texts_edited(item, edit) for key, item in value.items()}
    return value


def shown(value: Any) -> str:
    """A cell as a person reads it: turns as lines that begin with the speaker."""
    turns = columns.turns(value)
    if turns and all(isinstance(turn, dict) and (_spoken(turn) is not None) for turn in turns):
        return "\n".join(f"{_spoken(turn)}: {_text(turn)}" for turn in turns)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _answered(turns: list[Any], answer: str) -> list[Any]:
    last = max((index for index, turn in enumerate(turns) if _role(turn) == "assistant"), default=None)
    return [_with_text(turn, answer) if index == last else turn for index, turn in enumerate(turns)]


def _spoken(turn: Any) -> Any:
    return turn.get("role", turn.get("from")) if isinstance(turn, dict) else None


def _role(turn: Any) -> str | None:
    return ROLES.get(str(_spoken(turn)).strip().casefold())


def _with_role(turn: Any) -> Any:
    """A turn whose speaker has an unusual name, with the usual one."""
    role = _FURTHER.get(str(_spoken(turn)).strip().casefold())
    if role is None or _role(turn) is not None:
        return turn
    return {**turn, "role" if "role" in turn else "from": role}


def _text(turn: Any) -> str:
    value = turn.get("content", turn.get("value"))
    if isinstance(value, list):
        return "".join(part["text"] for part in value if isinstance(part, dict) and isinstance(part.get("text"), str))
    return value if isinstance(value, str) else ""


def _with_text(turn: Any, text: str) -> Any:
    return {**turn, "content" if "content" in turn else "value": text}


def _joinable(turn: Any) -> bool:
    return (
        _role(turn) in ("user", "assistant", "system") and not turn.get("tool_calls") and not turn.get("function_call")
    )


def _empty(turn: Any) -> bool:
    return isinstance(turn, dict) and _joinable(turn) and not _text(turn).strip()
